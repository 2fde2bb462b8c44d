"""A bar on a terminal, whole lines on a pipe: seen from outside, by what a process writes to standard error."""

import os
import pty
import re
import subprocess
import sys
import termios

import pytest

WORK = """
import sys, time
from unilogit.progress import ProgressBar
line_seconds, seconds, title = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None
with ProgressBar(8, title, "step", line_seconds=line_seconds) as bar:
    for step in range(8):
        time.sleep(seconds)
        bar.update(1, {"loss": 1 / (step + 1)})
"""
LOAD = """
import sys
from transformers import LlamaConfig, LlamaForCausalLM
from unilogit.progress import transformers_progress
folder, title = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
sizes = {"vocab_size": 8, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
with transformers_progress(title):
    LlamaForCausalLM(LlamaConfig(**sizes)).save_pretrained(folder)
    model = LlamaForCausalLM.from_pretrained(folder)
print(sum(1 for _ in model.parameters()))
"""


def on_pipe(program, *arguments, **environment):
    """Standard error as it was written, and standard output."""
    found = subprocess.run(
        [sys.executable, "-c", program, *arguments], env=os.environ | environment, capture_output=True, check=True
    )
    return found.stderr.decode(), found.stdout.decode()


def on_terminal(program, *arguments):
    """What a terminal would show."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], stderr=theirs, stdout=subprocess.DEVNULL)
    os.close(theirs)
    written = b""
    try:
        while part := os.read(ours, 4096):
            written += part
    except OSError:  # Linux says so when the other side is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    return written.decode()


def test_a_pipe_gets_one_line_when_the_work_takes_less_than_a_line_s_time():
    written, _ = on_pipe(WORK, "60", "0", "unlearn")
    assert written == "unlearn: 8/8 steps, ended after 00:00, loss 0.125\n"


def test_a_pipe_gets_whole_lines_no_more_often_than_asked():
    written, _ = on_pipe(WORK, "0.35", "0.1", "unlearn")  # a line after steps 4 and 8 if sleeping were exact
    *between, last = written.splitlines()
    assert "\r" not in written
    assert last.startswith("unlearn: 8/8 steps, ended after ")
    assert 1 <= len(between) <= 2
    for line in between:
        done, loss = re.fullmatch(
            r"unlearn: (\d)/8 steps, \d\d:\d\d elapsed, about \d\d:\d\d left, loss (\S+)", line
        ).groups()
        assert float(loss) == pytest.approx(1 / int(done), rel=1e-2)


def test_a_terminal_gets_a_bar():
    written = on_terminal(WORK, "0", "0.15", "unlearn")
    assert written.count("\n") == 1
    assert written.count("\r") > 2
    assert "unlearn: 100%" in written
    assert "8/8" in written
    assert "loss=0.125" in written


@pytest.mark.parametrize("run", [lambda *arguments: on_pipe(*arguments)[0], on_terminal])
def test_without_a_title_nothing_is_written(run):
    assert run(WORK, "0", "0") == ""


def test_only_the_first_of_several_processes_writes():
    assert on_pipe(WORK, "60", "0", "unlearn", RANK="1")[0] == ""
    assert on_pipe(WORK, "60", "0", "unlearn", RANK="0")[0].count("\n") == 1


def test_work_that_fails_still_says_how_far_it_came():
    program = (
        "from unilogit.progress import track\n"
        "try:\n"
        "    for item in track('abc', 'read', 'letter'):\n"
        "        if item == 'c':\n"
        "            raise KeyError\n"
        "except KeyError:\n"
        "    pass\n"
    )
    assert on_pipe(program)[0] == "read: 2/3 letters, ended after 00:00\n"


def test_an_earlier_call_s_part_counts_as_done_but_not_as_this_call_s_speed():
    program = (
        "import time\n"
        "from unilogit.progress import ProgressBar\n"
        "bar = ProgressBar(103, 'train', 'step', done=101, line_seconds=0)\n"
        "time.sleep(2)\n"
        "bar.update()\n"
    )
    [line] = on_pipe(program)[0].splitlines()
    assert re.fullmatch(r"train: 102/103 steps, 00:0[23] elapsed, about 00:0[23] left", line)


@pytest.mark.slow
def test_loading_and_saving_weights_write_lines_too(tmp_path):
    written, tensors = on_pipe(LOAD, str(tmp_path), "load model")
    assert written == f"load model: 1/1 tensors, ended after 00:00\nload model: {tensors.strip()}/{tensors.strip()}" + (
        " tensors, ended after 00:00\n"
    )
    assert on_pipe(LOAD, str(tmp_path))[0] == ""
