"""Steps as commands: options from a signature, refusals as sentences, defects as tracebacks."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
import typer

from tasks.command import run_command
from unilogit.errors import InputError

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def call(monkeypatch, capsys):
    """Run a function with a command line; gives its exit code, stdout and stderr."""

    def run(function, *arguments):
        monkeypatch.setattr("sys.argv", ["step", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            run_command(function)
        told = capsys.readouterr()
        return stopped.value.code or 0, told.out, told.err

    return run


def step(
    workspace: Path,
    count: int = 3,
    retain: Path | None = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override one knob.")] = None,
) -> str:
    """Do one thing well.

    Args:
        workspace: not for the command line's help.
    """
    return repr((workspace, count, retain, set_))


def test_parameters_become_options_of_their_types(call, tmp_path):
    folder = tmp_path / "deep" / "workspace"
    assert call(step, "--workspace", folder) == (0, f"({folder!r}, 3, None, None)\n", "")
    assert folder.is_dir()
    given = ["--workspace", folder, "--count", "7", "--retain", "r", "--set", "a=1", "--set", "b=2"]
    assert call(step, *given) == (0, f"({folder!r}, 7, {Path('r')!r}, ['a=1', 'b=2'])\n", "")


def test_help_is_the_first_sentence_and_the_options(call):
    code, out, _ = call(step, "--help")
    assert code == 0
    assert "Do one thing well." in out
    assert "Args" not in out
    assert all(word in out for word in ("workspace", "count", "retain", "set", "Override one knob."))


@pytest.mark.parametrize("arguments", [["--count", "1"], ["--workspace", "w", "--count", "many"], ["--nonsense"]])
def test_a_wrong_command_line_is_refused_before_anything_happens(call, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(step, *arguments)
    assert (code, out) == (2, "")
    assert "Usage" in err
    assert list(tmp_path.iterdir()) == []


def test_every_problem_is_a_line_of_its_own(call):
    def refuse(count: int = 1) -> str:
        raise InputError("a.csv:2: is wrong; correct it", "b.csv:3: is wrong too")

    assert call(refuse) == (2, "", "error: a.csv:2: is wrong; correct it\nerror: b.csv:3: is wrong too\n")


def test_a_defect_keeps_its_traceback(monkeypatch):
    def defect() -> str:
        raise ZeroDivisionError

    monkeypatch.setattr("sys.argv", ["step"])
    with pytest.raises(ZeroDivisionError):
        run_command(defect)


def test_a_workspace_that_cannot_be_made_is_refused(call, tmp_path):
    (tmp_path / "file").write_text("")
    for workspace in (tmp_path / "file", tmp_path / "file" / "inner"):
        code, out, err = call(step, "--workspace", workspace)
        assert (code, out) == (2, "")
        assert err.startswith(f"error: {workspace}: cannot be made a folder (")
        assert len(err.splitlines()) == 1


def run_step(folder, name, *arguments):
    environment = os.environ | {"UNILOGIT_HOME": str(folder / "var")}
    command = [sys.executable, "-m", f"tasks.{name}", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["intake", "validate"])
def test_a_real_step_asks_for_its_workspace(tmp_path, name):
    done = run_step(tmp_path, name)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Missing option" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("intake", ["--requests", "nowhere"], ["nowhere: there is no such file or folder; correct the path"]),
        (
            "validate",
            ["--corpus", "corpus.jsonl"],
            ["requests.parquet: there is no such file; run `python -m tasks.intake` first"],
        ),
        ("gate", ["--params", "params.yaml"], ["params.yaml: no such file; run from the project's folder or pass"]),
        (
            "gate",
            ["--params", str(PARAMS), "--set", "seed=-1", "--set", "batch.max_requests=no"],
            ["seed = -1", "batch.max_requests ="],
        ),
    ],
)
def test_a_real_step_says_what_it_cannot_use(tmp_path, name, arguments, words):
    done = run_step(tmp_path, name, "--workspace", "w", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert len(lines) == len(words)
    for line, expected in zip(lines, words, strict=True):
        assert line.startswith("error: ")
        assert expected in line
    assert list((tmp_path / "w").rglob("*")) == []


def test_a_real_step_prints_one_line_about_what_it_did(tmp_path):
    request = {"request_id": "R1", "received_at": "2025-03-01T12:00:00Z", "subject_id": "ann"}
    (tmp_path / "r.jsonl").write_text(json.dumps(request) + "\n")
    done = run_step(tmp_path, "intake", "--requests", "r.jsonl", "--workspace", "w")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "files: 1; request rows read: 1; unreadable: 0\n"
    assert (tmp_path / "w" / "requests.parquet").exists()
