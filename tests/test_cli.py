"""The command `unilogit` as people type it: quick to answer, explained everywhere, clear when it refuses."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from unilogit.cli import app
from unilogit.data.requests import DeletionRequest
from unilogit.evaluation.registry import METRICS
from unilogit.ledger import Ledger
from unilogit.losses.registry import METHODS
from unilogit.params import load_params

COMMAND = Path(sys.executable).with_name("unilogit")
PARAMS = Path(__file__).parents[1] / "params.yaml"
HEAVY = {"torch", "pandas", "prefect", "mlflow", "transformers"}


@pytest.fixture
def unilogit(tmp_path):
    """Run the command in a folder of its own; gives exit code, stdout and stderr."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PREFECT_"))}
    environment = kept | {"UNILOGIT_HOME": str(tmp_path / "home"), "COLUMNS": "200"}

    def run(*arguments, **more):
        done = subprocess.run(
            [COMMAND, *arguments],
            cwd=tmp_path,
            env=environment | more,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    return run


def cpu_seconds(*command):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime


def test_help_takes_less_than_half_a_second():
    assert min(cpu_seconds(COMMAND, "--help") for _ in range(3)) < 0.5


def test_help_imports_nothing_heavy(unilogit):
    code, _, err = unilogit("--help", PYTHONPROFILEIMPORTTIME="1")
    assert code == 0
    imported = {
        line.split("|")[-1].strip().split(".")[0] for line in err.splitlines() if line.startswith("import time")
    }
    assert {"typer", "unilogit"} <= imported
    assert not imported & HEAVY


def commands(command, path=()):
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


EVERY = dict(commands(typer.main.get_command(app)))


def test_these_are_the_commands():
    leaves = {" ".join(path) for path, command in EVERY.items() if not hasattr(command, "commands")}
    assert leaves >= {"demo", "run", "up", "methods", "doctor", "requests add", "requests list", "requests show"}
    assert leaves >= {"models list", "models promote"}


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_command_has_help(path):
    assert EVERY[path].help
    shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    plain = " ".join(re.sub(r"\[/?[a-z]*\]", "", EVERY[path].help).split("\n\n")[0].split())
    assert plain in " ".join(shown.output.split())


def test_doctor_names_what_is_there(unilogit, tmp_path):
    servers = {"PREFECT_API_URL": "http://127.0.0.1:9/api", "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    code, out, err = unilogit("doctor", **servers)
    assert (code, err) == (0, "")
    assert f"{tmp_path / 'home'} (made by the first run)" in out
    assert "no ledger yet" in out
    for server, url in (("Prefect", "http://127.0.0.1:9/api"), ("MLflow", "http://127.0.0.1:9")):
        assert re.search(rf"{server} server\W+{re.escape(url)} does not answer; `unilogit up` starts one", out)
    assert not (tmp_path / "home").exists()


def test_methods_lists_every_method(unilogit):
    code, out, err = unilogit("methods")
    assert (code, err) == (0, "")
    assert all(re.search(rf"│ {name} +│", out) for name in METHODS)


def test_metrics_lists_every_metric_with_its_source(unilogit):
    code, out, err = unilogit("metrics", COLUMNS="250")
    assert (code, err) == (0, "")
    for name, metric in METRICS.items():
        assert re.search(rf"│ {re.escape(name)} +│ {re.escape(metric.scope)} .*{re.escape(metric.source)}", out)


def test_gates_are_explained_with_and_without_a_run(unilogit, tmp_path):
    code, out, err = unilogit("gates", "explain", "--params", str(PARAMS), COLUMNS="300")
    assert (code, err) == (0, "")
    gates = load_params(PARAMS).gates
    assert all(gate.name in out and f"{gate.metric} {gate.op} {gate.threshold:g}" in out for gate in gates)
    (tmp_path / "run" / "evaluation").mkdir(parents=True)
    measured = {"after": {"forget": {"probability": 0.04}}, "unavailable": {"forget_quality.log10_p_value": "no model"}}
    (tmp_path / "run" / "evaluation" / "metrics.json").write_text(json.dumps(measured))
    code, out, err = unilogit("gates", "explain", "run", "--params", str(PARAMS), COLUMNS="300")
    assert (code, err) == (0, "")
    assert re.search(r"forget-probability .* 0\.010 +│ passed: forget.probability = 0.04", out)
    assert re.search(r"forget-quality .* – +│ failed: forget_quality.log10_p_value is not available", out)


def test_a_request_is_filed_listed_and_shown(unilogit, tmp_path):
    filing = ["requests", "add", "--params", str(PARAMS), "--set", "data.requests=inbox"]
    code, out, _ = unilogit(*filing, "--subject", "ann", "--request-id", "R-ann")
    assert (code, out) == (0, "R-ann: filed. Next: unilogit run\n")
    assert unilogit("requests", "list")[:2] == (0, "none\n")

    [file] = (tmp_path / "inbox").iterdir()
    request = DeletionRequest(**json.loads(file.read_text()), file=file.name, row=1)
    with Ledger(tmp_path / "home" / "ledger.db") as ledger:
        ledger.receive(file.name, "0" * 64, [request], [], "run-1")
    code, out, _ = unilogit("requests", "list")
    assert code == 0
    assert re.search(rf"R-ann +│ validated +│.* {file.name}:1 ", out)
    assert unilogit("requests", "list", "--state", "fulfilled")[:2] == (0, "none\n")
    code, out, _ = unilogit("requests", "show", "R-ann")
    assert code == 0
    assert re.search(r"received .*\n.*received +│ validated .* run-1 ", out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["models", "list", "--params", str(PARAMS)], "no model example-assistant is registered yet; `unilogit run`"),
        (["requests", "add", "--params", str(PARAMS), "--set", "data.requests=inbox"], "nothing says what to forget"),
        (["gates", "explain", "nowhere", "--params", str(PARAMS)], "nowhere/evaluation/metrics.json: no such file;"),
        (["requests", "show", "R-1"], "there is no request R-1; `unilogit requests list` shows every one"),
        (["requests", "list", "--state", "lost"], "there is no state lost; choose one of received, validated,"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_a_refusal_is_one_line_and_exit_code_2(unilogit, arguments, words):
    code, out, err = unilogit(*arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"error: [^\n]*\n", err), err
    assert words in err
