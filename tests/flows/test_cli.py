"""The command `unilogit` as people type it: quick to answer, explained everywhere, clear when it refuses."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from flows.cli import app
from unilogit.data.requests import DeletionRequest
from unilogit.evaluation.registry import METRICS
from unilogit.ledger import Ledger
from unilogit.losses.registry import METHODS

COMMAND = Path(sys.executable).with_name("unilogit")
PARAMS = Path(__file__).parents[2] / "params.yaml"
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
    assert leaves >= {f"models {name}" for name in ("list", "show", "diff", "promote", "rollback")}


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


PUBLISHED = {  # in the papers: where, and beside which retain term
    "unilogit": ("arXiv 2505.06027", "nll"),
    "gradient_ascent": ("arXiv 2210.01504", "none"),
    "grad_diff": ("arXiv 2203.12817", "nll"),
    "kl_to_reference": ("arXiv 2401.06121", "kl"),
    "npo": ("arXiv 2404.05868", "nll"),
    "npo_sam": ("arXiv 2502.05374", "nll"),
    "simnpo": ("arXiv 2410.07163", "nll"),
    "dpo": ("arXiv 2305.18290", "nll"),
    "idk_dpo": ("arXiv 2401.06121", "nll"),
    "undial": ("arXiv 2402.10052", "none"),
    "rmu": ("arXiv 2403.03218", "activations"),
    "wga": ("arXiv 2502.19301", "nll"),
    "satimp": ("arXiv 2505.11953", "nll"),
    "ceu": ("arXiv 2503.01224", "none"),
    "pdu": ("arXiv 2506.05314", "nll"),
    "jensun": ("arXiv 2509.02820", "jsd"),
}


def table(printed):
    """The cells of each row of a printed table, by the first."""
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in printed.splitlines() if line[:1] == "│"]
    return {row[0]: row[1:] for row in rows}


def test_methods_are_listed_with_paper_knobs_and_retain_term(unilogit):
    code, out, err = unilogit("methods")
    assert (code, err) == (0, "")
    rows = table(out)
    assert set(rows) == set(METHODS) >= set(PUBLISHED)
    for name, (paper, retain_term) in PUBLISHED.items():
        assert rows[name][0].endswith(paper)
        assert rows[name][2] == retain_term
    assert rows["simnpo"][1] == "simnpo.beta, simnpo.delta, simnpo.gamma"
    assert rows["idk_dpo"][1] == "dpo.beta"
    assert rows["ceu"][1] == "–"


def test_metrics_are_listed_with_what_they_say(unilogit):
    code, out, err = unilogit("metrics", COLUMNS="250")
    assert (code, err) == (0, "")
    rows = table(out)
    assert set(rows) == set(METRICS)
    assert rows["privleak"][1:] == ["-100 … ∞", "0", "Shi et al. 2024 (MUSE), arXiv 2407.06460"]
    assert rows["membership_inference.min_k_auc"][1:] == ["0 … 1", "0.5", "Shi et al. 2024, arXiv 2310.16789"]
    assert rows["forget_quality.p_value"][0] == "forget, needs a retain model"
    assert rows["extraction_strength"][2] == "low → high"


def test_gates_are_explained_with_and_without_a_run(unilogit, tmp_path):
    code, out, err = unilogit("gates", "explain", "--params", str(PARAMS), COLUMNS="300")
    assert (code, err) == (0, "")
    gates = yaml.safe_load(PARAMS.read_text())["gates"]
    assert len(gates) > 10
    assert all(
        re.search(f"{gate['name']} .*{gate['metric']} {gate['op']} .*{gate['threshold']:g} ", out) for gate in gates
    )
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
