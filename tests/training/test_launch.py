"""How many processes train, and what becomes of them: seen from outside, with programs that write what they see."""

import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from unilogit.errors import InputError
from unilogit.training.launch import LaunchPlan, count_parameters, gpu_memory, launch, plan_launch

GB = 10**9
PLAN = {"processes": "auto", "sharding": "auto", "batch_size": 8, "accumulation": 1}
TWO = LaunchPlan(2, False, "")
LAUNCH = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with it ignored
from unilogit.training.launch import LaunchPlan, launch
launch(LaunchPlan(2, False, ""), sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("parameters", "gpus", "knobs", "expected"),
    [
        (10**9, [], {}, (1, False)),
        (10**9, [], {"processes": 2}, (2, False)),
        (10**9, [80 * GB], {}, (1, False)),
        (10**9, [80 * GB] * 4, {}, (4, False)),
        (10**9, [80 * GB] * 4, {"processes": 2}, (2, False)),
        (10**9, [80 * GB] * 4, {"sharding": "fsdp"}, (4, True)),
        (10**9, [80 * GB] * 3, {}, (2, False)),  # three cannot share a batch of 8
        (10**9, [80 * GB] * 8, {"accumulation": 4}, (2, False)),
        (8 * 10**9, [80 * GB] * 8, {}, (8, True)),
        (8 * 10**9, [80 * GB] * 8, {"sharding": "none"}, (8, False)),
        (8 * 10**9, [80 * GB] * 8, {"bytes_per_parameter": 4}, (8, False)),
        (8 * 10**9, [80 * GB], {}, (1, False)),
        (4 * 10**9, [80 * GB] * 2, {}, (2, False)),  # exactly four fifths of a GPU
        (4 * 10**9 + 1, [80 * GB] * 2, {}, (2, True)),
        (3 * 10**9, [80 * GB, 40 * GB], {}, (2, True)),  # the smallest GPU counts
    ],
)
def test_a_plan(parameters, gpus, knobs, expected):
    plan = plan_launch(parameters, gpus, **PLAN | knobs)
    assert (plan.processes, plan.fsdp) == expected


@pytest.mark.parametrize(
    ("gpus", "knobs", "reason"),
    [
        ([], {}, "one process on the CPU"),
        (
            [80 * GB] * 8,
            {},
            "8 processes, 8 of 8 GPUs, sharing the weights (FSDP): "
            "training needs 128 GB beside activations and a GPU has 80 GB",
        ),
        (
            [80 * GB] * 3,
            {"bytes_per_parameter": 4},
            "2 processes, 2 of 3 GPUs (no more can share unlearn.batch_size 8 with unlearn.accumulation 1 evenly), "
            "each with all weights: training needs 32 GB beside activations and a GPU has 80 GB",
        ),
        (
            [80 * GB],
            {},
            "one process, 1 of 1 GPUs: training needs 128 GB beside activations and a GPU has 80 GB; that is too "
            "little, so expect it to run out: set unlearn.lora_rank, or use more or larger GPUs",
        ),
    ],
)
def test_a_plan_says_why(gpus, knobs, reason):
    assert plan_launch(8 * 10**9, gpus, **PLAN | knobs).reason == reason


@pytest.mark.parametrize(
    ("gpus", "knobs", "named"),
    [
        ([], {"processes": 3}, ("unlearn.processes 3", "unlearn.batch_size is 8", "multiple of 3")),
        ([GB] * 4, {"processes": 4, "accumulation": 4}, ("unlearn.accumulation 4", "multiple of 16")),
        ([GB] * 2, {"processes": 4}, ("unlearn.processes is 4", "2 GPUs")),
        ([], {"sharding": "fsdp", "processes": 2}, ("unlearn.sharding", "needs GPUs")),
        ([GB], {"sharding": "fsdp"}, ("unlearn.sharding", "one process")),
    ],
)
def test_a_plan_that_cannot_be_names_the_knobs(gpus, knobs, named):
    with pytest.raises(InputError) as caught:
        plan_launch(10**6, gpus, **PLAN | knobs)
    [problem] = caught.value.problems
    assert all(part in problem for part in named)


@given(
    parameters=st.integers(1, 10**12),
    gpus=st.lists(st.integers(10**9, 2 * 10**11), max_size=16),
    micro_batch=st.integers(1, 64),
    accumulation=st.integers(1, 8),
)
def test_what_is_decided_alone_always_works(parameters, gpus, micro_batch, accumulation):
    plan = plan_launch(parameters, gpus, "auto", "auto", micro_batch * accumulation, accumulation)
    assert micro_batch % plan.processes == 0
    assert 1 <= plan.processes <= max(1, len(gpus))
    assert not any(micro_batch % more == 0 for more in range(plan.processes + 1, len(gpus) + 1))
    if plan.processes > 1:
        assert plan.fsdp == (parameters * 16 > 0.8 * min(gpus[: plan.processes]))
    else:
        assert not plan.fsdp


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_counted_without_weights(tmp_path, tied):
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=100, tie_word_embeddings=tied, **sizes)
    config.save_pretrained(tmp_path)
    # by hand: embeddings, (attention, feed-forward, two norms) of each layer, the last norm, a head of its own
    by_hand = 100 * 32 + 2 * (4 * 32 * 32 + 3 * 32 * 48 + 2 * 32) + 32 + (0 if tied else 100 * 32)
    assert count_parameters(str(tmp_path)) == by_hand
    assert by_hand == sum(parameter.numel() for parameter in LlamaForCausalLM(config).parameters())


def test_no_model_is_named(tmp_path):
    with pytest.raises(InputError, match=str(tmp_path)):
        count_parameters(str(tmp_path))


def test_every_gpu_has_memory():
    assert len(gpu_memory()) == torch.cuda.device_count()
    assert all(memory > GB for memory in gpu_memory())


def script(folder, text):
    path = folder / "script.py"
    path.write_text(text)
    return str(path)


MEET = """
import json, os, sys
from pathlib import Path
import torch
from accelerate import PartialState
from unilogit.training.launch import is_launched
state = PartialState(cpu=not torch.cuda.is_available())
rank = torch.tensor([state.process_index + 1], device=state.device)
torch.distributed.all_reduce(rank)
facts = [state.num_processes, int(rank), is_launched(), os.environ["OMP_NUM_THREADS"]]
Path(sys.argv[1], f"{state.process_index}.json").write_text(json.dumps(facts))
state.destroy_process_group()
"""


def test_processes_meet_and_share_the_cores(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    launch(TWO, [script(tmp_path, MEET), str(tmp_path)])
    threads = str(max(1, len(os.sched_getaffinity(0)) // 2))
    for rank in range(2):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == [2, 1 + 2, True, threads]


def test_what_the_user_set_is_kept_and_sharding_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    text = (
        "import json, os, sys\n"
        "names = ('OMP_NUM_THREADS', 'ACCELERATE_USE_FSDP', 'FSDP_VERSION')\n"
        "open(sys.argv[1] + os.environ['RANK'], 'w').write(json.dumps([os.environ.get(name) for name in names]))\n"
    )
    for fsdp, told in ((True, ["7", "true", "2"]), (False, ["7", None, None])):
        launch(LaunchPlan(2, fsdp, ""), [script(tmp_path, text), f"{tmp_path}/rank"])
        assert [json.loads((tmp_path / f"rank{rank}").read_text()) for rank in range(2)] == [told, told]


def test_input_errors_of_the_processes_are_raised_once_each(tmp_path, capsys):
    text = "import sys\nsys.stderr.write('reading\\nerror: knob a: no ü\\nerror: knob b: no\\n')\nsys.exit(2)\n"
    with pytest.raises(InputError) as caught:
        launch(TWO, [script(tmp_path, text)])
    assert caught.value.problems == ["knob a: no ü", "knob b: no"]
    assert "reading\nerror: knob a: no ü\n" in capsys.readouterr().err


def test_one_failure_ends_all_and_is_told(tmp_path):
    text = "import os, time\nif os.environ['RANK'] == '1':\n    raise KeyError('lost')\ntime.sleep(600)\n"
    with pytest.raises(RuntimeError, match=r"(?s)failed in 2 processes.*KeyError: 'lost'.*process 1 ended"):
        launch(TWO, [script(tmp_path, text)])


SLEEP = """
import os, pathlib, signal, sys, time
def note(number, frame):
    pathlib.Path(f"{sys.argv[1]}/signal{os.environ['RANK']}").write_text(str(number))
    sys.exit(1)
signal.signal(signal.SIGTERM, note)
signal.signal(signal.SIGINT, note)
pathlib.Path(f"{sys.argv[1]}/{os.environ['RANK']}.part").write_text(f"{os.getpid()} {os.getppid()}")
os.rename(f"{sys.argv[1]}/{os.environ['RANK']}.part", f"{sys.argv[1]}/pids{os.environ['RANK']}")
time.sleep(600)
"""


@pytest.fixture
def asleep(tmp_path):
    """A launcher with two processes that sleep: the launcher, their ids, their supervisor's."""
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCH, script(tmp_path, SLEEP), str(tmp_path)])
    files = [tmp_path / f"pids{rank}" for rank in range(2)]
    wait_until(lambda: all(file.exists() for file in files))
    pids = [[int(pid) for pid in file.read_text().split()] for file in files]
    yield launcher, [pid for pid, _ in pids], pids[0][1]
    launcher.kill()
    launcher.wait()


def wait_until(condition):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.1)
    raise TimeoutError


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("victim", ["launcher", "supervisor"])
def test_no_process_outlives_a_killed_launcher(asleep, victim):
    launcher, workers, supervisor = asleep
    assert not any(gone(pid) for pid in [*workers, supervisor])
    os.kill({"launcher": launcher.pid, "supervisor": supervisor}[victim], signal.SIGKILL)
    wait_until(lambda: all(gone(pid) for pid in [*workers, supervisor]))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_handed_on_and_then_take_effect(asleep, tmp_path, number):
    launcher, workers, supervisor = asleep
    launcher.send_signal(number)
    assert launcher.wait(60) == -number
    assert all(gone(pid) for pid in [*workers, supervisor])
    assert [(tmp_path / f"signal{rank}").read_text() for rank in range(2)] == [str(int(number))] * 2


def test_on_a_terminal_the_processes_see_one(tmp_path):
    text = "import os, sys\nprint(sys.stderr.isatty(), os.get_terminal_size(2).columns, file=sys.stderr)\n"
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 101))
    process = subprocess.Popen([sys.executable, "-c", LAUNCH, script(tmp_path, text)], stderr=theirs)
    os.close(theirs)
    assert process.wait(120) == 0
    assert os.read(ours, 4096).decode().split() == ["True", "101"] * 2
    os.close(ours)
