"""A purge that is killed at any write: the next one ends where an unbroken one does."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from tasks.requests.batches import open_ledger
from tasks.requests.purge import purge
from tasks.workspace import pseudonyms
from tests.tasks.requests.forgetting_home import FORGOTTEN, ROOT, RUN, contents, found, later, life, texts

SCRIPT = """
import os, signal, sys
from pathlib import Path
from tasks.requests.purge import purge
from tests.tasks.requests.forgetting_home import later, life
left = int(sys.argv[1])
writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT
def audit(event, arguments):
    global left
    is_write = event == "open" and isinstance(arguments[2], int) and arguments[2] & writing
    if event in ("os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "sqlite3.connect") or is_write:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(audit)
purge(life(Path.cwd()).params, later(), "killed")
print(left)
"""


def run_killed(project, number):
    """Purge in a process that kills itself at a write; what is left of the count if it does not come to that."""
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-c", SCRIPT, str(number)]
    done = subprocess.run(
        command, cwd=project.folder, capture_output=True, text=True, check=False, env=os.environ | paths
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode, done.stdout


def ended(project):
    """All that a purge ends with: files, states and audit."""
    with open_ledger() as ledger:
        ledger.verify_audit()
        moves = [str(move.to_state) for move in ledger.history("R-1")]
    return contents(project), moves


def suppressions():
    with open_ledger() as ledger:
        return ledger.suppressions(pseudonyms().check)


def check_kills(built, tmp_path, monkeypatch, kills):
    def fresh(name):
        folder = tmp_path / name
        shutil.copytree(built, folder)
        monkeypatch.setenv("UNILOGIT_HOME", str(folder / "var"))
        monkeypatch.chdir(folder)
        return life(folder)

    for name in ("GLOBAL_CONFIG", "SYSTEM_CONFIG", "SITE_CACHE"):
        monkeypatch.setenv(f"DVC_{name}_DIR", str(tmp_path / name.lower()))
    code, told = run_killed(fresh("unbroken"), 10**6)
    assert code == 0
    writes, wanted = 10**6 - int(told.splitlines()[-1]), ended(life(tmp_path / "unbroken"))
    listed = suppressions()
    assert listed
    assert writes > 100
    for place in range(kills):
        project = fresh(f"killed-{place}")
        number = (2 * place + 1) * writes // (2 * kills)
        assert run_killed(project, number)[0] == -signal.SIGKILL
        if suppressions() != listed:
            assert found(project, FORGOTTEN) == texts(FORGOTTEN)
        purge(project.params, later(), RUN)
        assert suppressions() == listed
        files, moves = ended(project)
        differ = {name for name in files.keys() | wanted[0].keys() if files.get(name) != wanted[0].get(name)}
        assert (differ, moves) == (set(), wanted[1]), f"killed at write {number} of {writes}"
        assert found(project, FORGOTTEN) == set()
        shutil.rmtree(project.folder)


@pytest.mark.slow
def test_a_purge_killed_at_fifty_instants_is_gone_on_from(built, tmp_path, monkeypatch):
    check_kills(built, tmp_path, monkeypatch, 50)
