"""Files are whole or absent, whatever happens in between, and digests name their content."""

import hashlib
import json
import math
import os
import shutil
import signal
import stat
import subprocess
import sys

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from tests.children import processes
from unilogit.errors import InputError
from unilogit.files import (
    atomic_folder,
    atomic_path,
    join_digests,
    private_folder,
    read_json,
    sha256_file,
    sha256_json,
    sha256_weights,
    weight_digests,
    write_json,
    write_parquet,
    write_text,
)

OLD = {"a": "old a", "b": "old b", "inner/c": "old c"}
NEW = {"a": "new a", "inner/d": "new d"}


def fill(folder, contents):
    for name, text in contents.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("before", [None, "old"])
def test_a_file_appears_when_it_is_whole(tmp_path, before):
    target = tmp_path / "deep" / "file.txt"
    if before:
        write_text(target, before)
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == target.suffix
        assert temporary.name.startswith(".")
        temporary.write_text("new")
        assert (target.read_text() if target.exists() else None) == before
    assert contents(tmp_path) == {"deep/file.txt": "new"}


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_file_and_the_old_folder(tmp_path, failure):
    write_text(tmp_path / "file", "old")
    (tmp_path / "folder").mkdir()
    fill(tmp_path / "folder", OLD)
    before = contents(tmp_path)

    def break_off(manager, target):
        with manager(target) as temporary:
            (temporary / "a" if temporary.is_dir() else temporary).write_text("half")
            raise failure

    for manager, name in ((atomic_path, "file"), (atomic_folder, "folder")):
        with pytest.raises(failure):
            break_off(manager, tmp_path / name)
    assert contents(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_folder_replaces_the_old_one_whole(tmp_path):
    target = tmp_path / "deep" / "folder"
    for new in (OLD, NEW):
        with atomic_folder(target) as temporary:
            fill(temporary, new)
        assert contents(tmp_path) == {f"deep/folder/{name}": text for name, text in new.items()}
        assert [path.name for path in target.parent.iterdir()] == ["folder"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o700


def test_a_folder_does_not_take_the_place_of_a_file(tmp_path):
    write_text(tmp_path / "target", "kept")
    with pytest.raises(NotADirectoryError), atomic_folder(tmp_path / "target"):
        pass
    assert contents(tmp_path) == {"target": "kept"}


KILLED = """
import os, signal, sys
from unilogit.files import {manager}
with {manager}(sys.argv[1]) as temporary:
    place = temporary / "a" if temporary.is_dir() else temporary
    stream = open(place, "w")
    stream.write("half" * 10_000)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("manager", ["atomic_path", "atomic_folder"])
def test_a_process_killed_while_it_writes_leaves_the_old(tmp_path, manager):
    target = tmp_path / "target"
    if manager == "atomic_folder":
        target.mkdir()
        fill(target, OLD)
    else:
        write_text(target, "old")
    killed = subprocess.run([sys.executable, "-c", KILLED.format(manager=manager), str(target)], check=False)
    assert killed.returncode == -signal.SIGKILL
    if manager == "atomic_folder":
        assert contents(target) == OLD
    else:
        assert target.read_text() == "old"
    assert all(path == target or path.name.startswith(".") for path in tmp_path.iterdir())


def write_until_killed(target, manager, steps):
    """Rewrite `target`, killed at the last of so many calls of the operating system."""

    def count_down(event, _):
        nonlocal steps
        if event == "open" or event.startswith(("os.", "shutil.", "tempfile.")):
            steps -= 1
            if steps == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count_down)
    with manager(target) as temporary:
        if temporary.is_dir():
            fill(temporary, NEW)
        else:
            temporary.write_text("new")


def kill_at_every_step(start, manager, look):
    """What `look` sees after a kill at the first, second, … step, until one is not reached."""
    for steps in range(1, 200):
        target = start(steps)
        child = processes.Process(target=write_until_killed, args=(target, manager, steps))
        child.start()
        child.join()
        yield look(target)
        if child.exitcode == 0:
            return
        assert child.exitcode == -signal.SIGKILL
    pytest.fail("the steps never end")


def test_a_kill_at_any_step_leaves_the_old_file_or_the_new(tmp_path):
    def start(steps):
        write_text(tmp_path / str(steps) / "file", "old")
        return tmp_path / str(steps) / "file"

    seen = list(kill_at_every_step(start, atomic_path, lambda target: target.read_text()))
    assert seen == sorted(seen, reverse=True)
    assert set(seen) == {"old", "new"}


def test_a_kill_at_any_step_leaves_no_half_folder(tmp_path):
    def start(steps):
        target = tmp_path / str(steps) / "folder"
        target.mkdir(parents=True)
        fill(target, OLD)
        return target

    def look(target):
        if target.exists():
            return contents(target)
        hidden = [contents(path) for path in target.parent.iterdir()]
        assert OLD in hidden
        assert NEW in hidden
        return None

    seen = list(kill_at_every_step(start, atomic_folder, look))
    assert all(state in (OLD, NEW, None) for state in seen)
    assert seen[0] == OLD
    assert seen[-1] == NEW
    assert seen.count(None) <= 1


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


def turned_round(value):
    if isinstance(value, dict):
        return {name: turned_round(value[name]) for name in reversed(value)}
    return [turned_round(item) for item in value] if isinstance(value, list) else value


@settings(max_examples=60, deadline=None)
@given(values, values)
def test_json_reads_back_and_its_digest_is_of_the_value(tmp_path_factory, value, other):
    path = tmp_path_factory.mktemp("files") / "value.json"
    write_json(path, value)
    assert read_json(path) == value
    assert sha256_json(value) == sha256_json(turned_round(value)) == sha256_json(read_json(path))
    written = [json.dumps(item, sort_keys=True) for item in (value, other)]
    assert (sha256_json(value) == sha256_json(other)) == (written[0] == written[1])


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_not_json_is_refused_and_the_old_file_kept(tmp_path, number):
    write_json(tmp_path / "value.json", {"kept": "Zoë"})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "value.json", {"deep": [1, number]})
    assert contents(tmp_path) == {"value.json": '{\n  "kept": "Zoë"\n}\n'}


def test_a_frame_is_written_without_its_index(tmp_path):
    frame = pd.DataFrame({"a": [1, 2], "b": [["x"], []]}, index=[7, 8])
    write_parquet(tmp_path / "frame.parquet", frame)
    assert pd.read_parquet(tmp_path / "frame.parquet").map(str).equals(frame.reset_index(drop=True).map(str))


def test_the_digest_of_a_file_is_the_published_one(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # the example of FIPS 180-4
    assert sha256_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    large = os.urandom(3_000_001)
    (tmp_path / "large").write_bytes(large)
    assert sha256_file(tmp_path / "large") == hashlib.sha256(large).hexdigest()


def test_the_digest_of_weights_sees_names_and_bytes_of_weights_alone(tmp_path):
    def digest(**files):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name, text in files.items():
            (folder / name.replace("_", ".")).write_text(text)
        return sha256_weights(folder)

    base = digest(a_safetensors="1", b_safetensors="2")
    digests = weight_digests(tmp_path / "0")
    assert digests == {
        f"{name}.safetensors": hashlib.sha256(text).hexdigest() for name, text in (("a", b"1"), ("b", b"2"))
    }
    assert join_digests(digests) == base
    assert base == digest(b_safetensors="2", a_safetensors="1", config_json="{}")
    others = [
        digest(a_safetensors="1"),
        digest(a_safetensors="2", b_safetensors="1"),
        digest(a_safetensors="1", c_safetensors="2"),
        digest(a_safetensors="12", b_safetensors=""),
    ]
    assert len({base, *others}) == 5


def test_a_private_folder_is_its_owners_whatever_it_was(tmp_path):
    (tmp_path / "wide").mkdir(mode=0o755)
    for folder in (tmp_path / "wide", tmp_path / "deep" / "new"):
        assert private_folder(folder) == folder
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def long_text(target):
    write_text(target, "x" * 200_000)


def long_table(target):
    write_parquet(target, pd.DataFrame({"noise": [os.urandom(40_000) for _ in range(5)]}))


def large_weights(target):
    with atomic_path(target) as temporary:
        save_file({"weights": torch.zeros(50_000)}, temporary)


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("write", [long_text, long_table, large_weights])
def test_a_full_disk_is_named_and_the_old_file_kept(small_disk, write):
    write_text(small_disk / "file", "old")
    with pytest.raises(InputError, match="disk/file: the disk is full"):
        write(small_disk / "file")
    assert (small_disk / "file").read_text() == "old"
    assert [path.name for path in small_disk.iterdir()] == ["file"]
