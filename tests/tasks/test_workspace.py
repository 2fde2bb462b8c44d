"""The key of the pseudonyms: one for good, whoever asks first, and for nobody else's eyes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.workspace import pseudonyms
from unilogit.errors import InputError

ROOT = Path(__file__).parents[2]
ASK = "from tasks.workspace import pseudonyms; print(pseudonyms().subject('ann'))"


def test_the_key_is_made_once_and_kept(home):
    first = pseudonyms().subject("ann")
    file = home / "keys" / "pseudonyms.key"
    assert pseudonyms().subject("ann") == first
    assert len(bytes.fromhex(file.read_text())) == 32
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    file.unlink()
    assert pseudonyms().subject("ann") != first


@pytest.mark.parametrize("text", ["", "00", "zz" * 32, "é"])
def test_a_damaged_key_is_not_replaced(home, text):
    file = home / "keys" / "pseudonyms.key"
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="is no key of 32 bytes"):
        pseudonyms()
    assert file.read_text(encoding="utf-8") == text


def test_processes_that_race_have_one_key(home):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    racing = [
        subprocess.Popen([sys.executable, "-c", ASK], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert len({process.communicate()[0] for process in racing}) == 1
    assert all(process.returncode == 0 for process in racing)


LATE = """
import time, unilogit.files
def slow(path):
    print("writing", flush=True)
    time.sleep(60)
unilogit.files._sync = slow
from tasks.workspace import pseudonyms
pseudonyms()
"""


def test_a_kill_in_the_midst_leaves_no_key_and_nothing_behind(home):
    process = subprocess.Popen(
        [sys.executable, "-c", LATE],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout.readline() == "writing\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (home / "keys" / "pseudonyms.key").exists()
    first = pseudonyms().subject("ann")
    assert {path.name for path in (home / "keys").iterdir()} == {"pseudonyms.key", "pseudonyms.lock"}
    assert pseudonyms().subject("ann") == first
