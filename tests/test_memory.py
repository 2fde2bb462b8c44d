"""What a process may have: the machine's memory, or its container's where that is less."""

import ctypes
import gc
import os
import subprocess
import sys

import psutil
import pytest
import torch

from unilogit import memory
from unilogit.memory import free_memory, give_back, total_memory

CPU = torch.device("cpu")


def test_without_a_limit_it_is_the_machines(monkeypatch):
    monkeypatch.setattr(memory, "_groups", lambda: iter(()))
    assert total_memory(CPU) == psutil.virtual_memory().total
    assert free_memory(CPU) == pytest.approx(psutil.virtual_memory().available, rel=0.2)


def test_a_group_of_processes_limits_it(monkeypatch):
    monkeypatch.setattr(memory, "_groups", lambda: iter([(1 << 40, 0), (1 << 30, 1 << 29)]))
    assert (total_memory(CPU), free_memory(CPU)) == (1 << 30, 1 << 29)
    monkeypatch.setattr(memory, "_groups", lambda: iter([(100, 120)]))
    assert free_memory(CPU) == 0


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_limits_of_a_group_and_of_those_above_it_are_read(tmp_path):
    own = tmp_path / "cgroup"
    own.write_text("0::/outer/inner\n")
    system = tmp_path / "sys"
    write(system / "outer/inner", memory__max="max\n", memory__current="50\n", memory__stat="inactive_file 0\n")
    write(system / "outer", memory__max="1000\n", memory__current="700\n", memory__stat="anon 1\ninactive_file 300\n")
    assert list(memory._groups(system, own)) == [(1000, 400)]


def test_limits_of_the_first_version_are_read(tmp_path):
    own = tmp_path / "cgroup"
    own.write_text("9:cpu:/a\n4:memory:/job\n")
    stat = "inactive_file 1\ntotal_inactive_file 10\n"
    files = {"memory__limit_in_bytes": "500\n", "memory__usage_in_bytes": "210\n", "memory__stat": stat}
    write(tmp_path / "sys/memory/job", **files)
    assert list(memory._groups(tmp_path / "sys", own)) == [(500, 200)]


def test_without_groups_there_is_no_limit(tmp_path):
    assert not list(memory._groups(tmp_path, tmp_path / "none"))


has_trim = hasattr(ctypes.CDLL(None) if os.name == "posix" else None, "malloc_trim")


@pytest.mark.skipif(not has_trim, reason="not the C library of GNU")
def test_what_is_not_used_any_more_is_given_back_to_the_system():
    class Knot:
        """Refers to itself, as a trainer does."""

        def __init__(self):
            self.itself, self.held = self, [bytearray(1 << 16) for _ in range(3000)]

    gc.disable()
    try:
        knot = Knot()
        last = bytearray(1 << 16)  # the heap cannot end before it
        del knot
        taken = psutil.Process().memory_info().rss
        give_back()
        assert taken - psutil.Process().memory_info().rss > 150e6
        assert last
    finally:
        gc.enable()


@pytest.mark.slow
@pytest.mark.skipif(not has_trim, reason="not the C library of GNU")
def test_after_training_a_process_holds_little_more_than_before(tmp_path):
    code = f"from tests.unlearning_memory import report; report({str(tmp_path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, peak, afterwards, weights = (float(word) for word in done.stdout.split()[-4:])
    assert peak - before > 5 * weights
    assert afterwards - before < weights
