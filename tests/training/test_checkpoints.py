"""A run that is killed in any window between two writes ends, resumed, with the weights of an unbroken one."""

import os
import signal
import sys

import pytest
import safetensors.numpy
import safetensors.torch
import torch
from safetensors.torch import load_file

from tests.training.tiny import FORGET, RETAIN, tiny_model, tiny_trainer
from unilogit.errors import InputError
from unilogit.files import atomic_folder, read_json, write_json
from unilogit.training.checkpoints import MARK, last_whole_checkpoint
from unilogit.training.stopping import Monitor

BESIDE_UNSEEN_PEOPLE = Monitor(FORGET, RETAIN, RETAIN[:4])
CASES = {
    "stops early": {"method": "grad_diff", "pause_forgotten": False, "retain_recovery": 0.0, "learning_rate": 1e-2},
    "runs to its end": {},
    "goes too far": {
        "method": "gradient_ascent",
        "pause_forgotten": False,
        "retain_recovery": 1.0,
        "learning_rate": 1e-2,
    },
    "adapters": {"lora_rank": 2, "method": "npo", "learning_rate": 3e-3},
}


def unlearn(folder, case):
    """Train a tiny model and save it, as a caller does; nothing if that was done."""
    torch.set_num_threads(1)
    if (folder / "model").exists():
        return
    knobs = {"epochs": 3, "batch_size": 4} | CASES[case]
    monitor = Monitor(FORGET, RETAIN) if case in ("runs to its end", "adapters") else BESIDE_UNSEEN_PEOPLE
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    task = tiny_trainer(tiny_model(**sizes), folder / "checkpoints", {"monitor": monitor}, **knobs)
    history = task.run()
    write_json(folder / "history.json", [entry for entry in history if "train_runtime" not in entry])
    with atomic_folder(folder / "model") as unfinished:
        task.model.save_pretrained(unfinished)


def announce(module, name, place):
    """Have a function that writes a file past Python say so, as `open` does; `place` is that of the file's name."""
    write = getattr(module, name)

    def announced(*arguments, **options):
        sys.audit("open", str(arguments[place]), "wb", os.O_WRONLY)
        return write(*arguments, **options)

    setattr(module, name, announced)


class Killer:
    """Counts what the process is about to do to files under a folder; kills it before number `at`.

    A file that is to be written is opened first, every other time: it is then there, and empty.
    """

    def __init__(self, folder, at):
        self.folder, self.at, self.count = str(folder), at, 0

    def __call__(self, event, arguments):
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if not (writes or event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate")):
            return
        if not str(arguments[0]).startswith(self.folder):
            return
        for is_open in (False, True) if writes else (False,):
            self.count += 1
            if self.count == self.at:
                self.at = None
                if is_open:
                    os.close(os.open(arguments[0], os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
                os.kill(os.getpid(), signal.SIGKILL)


def in_a_process(folder, case, kill_at=None):
    """Unlearn in a process of its own, which begins as a copy of this one.

    Returns:
        (its exit status, how many windows it has come past).
    """
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        status = 1
        try:
            killer = Killer(folder, kill_at)
            announce(torch, "save", 1)
            announce(safetensors.torch, "serialize_file", 1)
            announce(safetensors.numpy, "serialize_file", 1)
            sys.addaudithook(killer)
            unlearn(folder, case)
            os.write(writing, str(killer.count).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        count = pipe.read()
    return os.waitpid(child, 0)[1], int(count or 0)


@pytest.fixture(scope="module", params=CASES)
def unbroken(request, tmp_path_factory):
    """(case, how many windows there are, folder) of a run that nobody kills."""
    folder = tmp_path_factory.mktemp("unbroken")
    status, windows = in_a_process(folder, request.param)
    assert status == 0
    newest = max(int(path.name.split("-")[1]) for path in (folder / "checkpoints").glob("checkpoint-*"))
    assert newest == {"stops early": 2}.get(request.param, 6)
    return request.param, windows, folder


def check(unbroken, window, tmp_path):
    case, _, expected = unbroken
    status, _ = in_a_process(tmp_path, case, kill_at=window)
    assert status == signal.SIGKILL, window
    assert in_a_process(tmp_path, case)[0] == 0, window
    resumed, unbroken = (load_file(folder / "model" / "model.safetensors") for folder in (tmp_path, expected))
    assert resumed.keys() == unbroken.keys()
    assert all(torch.equal(resumed[name], unbroken[name]) for name in unbroken), window
    assert read_json(tmp_path / "history.json") == read_json(expected / "history.json"), window


def test_a_kill_midway_or_in_the_last_window_changes_nothing(unbroken, tmp_path):
    windows = unbroken[1]
    assert windows > 30
    for window in {windows // 2, windows}:
        check(unbroken, window, tmp_path / str(window))


@pytest.mark.slow
def test_a_kill_in_any_window_changes_nothing(unbroken, tmp_path):
    for window in range(1, unbroken[1] + 1):
        check(unbroken, window, tmp_path / str(window))


def test_what_was_not_written_to_its_end_is_removed(tmp_path):
    for step, mark in [(8, False), (10, True), (100, False), (20, True), (30, False)]:
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").touch()
        if mark:
            write_json(folder / MARK, {"run": "this"})
    assert last_whole_checkpoint(tmp_path, "this") == tmp_path / "checkpoint-20"
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-8", "checkpoint-10", "checkpoint-20"}
    with pytest.raises(InputError, match="checkpoint-20: is of a run with another configuration, seed or records"):
        last_whole_checkpoint(tmp_path, "other")
    assert last_whole_checkpoint(tmp_path / "none", "this") is None


@pytest.mark.parametrize(
    ("change", "is_another_run"),
    [
        ({"learning_rate": 1e-3}, True),
        ({"epochs": 3}, True),
        ({"arguments": {"seed": 2}}, True),
        ({"arguments": {"retain": RETAIN[:-1]}}, True),
        ({"accumulation": 2, "gradient_checkpointing": True, "bf16": True}, False),
    ],
    ids=str,
)
def test_another_run_does_not_go_on_from_these_checkpoints(change, is_another_run, tmp_path):
    tiny_trainer(tiny_model(), tmp_path).run()
    task = tiny_trainer(tiny_model(), tmp_path, **change)
    if is_another_run:
        with pytest.raises(InputError, match="is of a run with another configuration, seed or records; remove"):
            task.run()
    else:
        assert task.run()[-1]["step"] == 4


@pytest.mark.parametrize(("minutes", "kept"), [(0, 2), (60, 0)])
def test_checkpoints_are_kept_by_time(minutes, kept, tmp_path):
    task = tiny_trainer(tiny_model(), tmp_path, {"monitor": Monitor(FORGET, RETAIN)}, checkpoint_minutes=minutes)
    task.run()
    assert len(list(tmp_path.glob(f"checkpoint-*/{MARK}"))) == kept
