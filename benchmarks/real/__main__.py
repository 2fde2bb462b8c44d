"""README's section on one's own model, followed with a published chat model: `python -m benchmarks.real --wheel WHEEL`.

Fine-tunes it on records of fictitious people and some ordinary chat, and a copy on what of it stays; then writes and
types what README says, in a folder of its own, and holds what came out against what is claimed: the default gates pass,
and ordinary chat is as before. Writes benchmarks/results/real-cpu.json and docs/real.md.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from benchmarks.measure import RESULTS, write_result
from benchmarks.real.page import write_page
from benchmarks.real.people import write_people
from benchmarks.real.readme import read_own_model, write_params
from tasks.params import load_params
from tasks.report.review import flatten
from tasks.sets import RETAIN_MODEL, UNLEARNED
from tasks.workspace import Metrics, Place, Training, Workspace
from unilogit.files import read_json
from unilogit.gates import GateReport

ROOT = Path(__file__).parents[2]
JUDGED_ATTACKS = ["relearning", "quantisation", "paraphrased_prompts", "question_formats"]  # that gates rest on
# Beside what README says: a corpus as small as this, and a run as short as that on two cores.
SMALL: dict[str, dict[str, Any]] = {
    "model": {"max_length": 128},
    "batch": {"max_share_of_corpus": 0.1},
    "unlearn": {"min_steps": 56, "epochs": 1, "batch_size": 4, "retain_weight": 10},
    "evaluate": {"max_examples": 24, "max_new_tokens": 32, "robustness": {"attacks": JUDGED_ATTACKS}},
}
TOLERANCE = 0.02  # of ordinary chat
LIMIT = 30 * 60  # seconds
GATES_FAILED = 1  # exit code


class Spent(NamedTuple):
    """What a command took."""

    seconds: float
    peak_bytes: int


def spend(command: list[str], folder: Path, environment: dict[str, str]) -> Spent:
    """Run a command in a folder; what it and its children took."""
    print(f"$ {shlex.join(command)}", flush=True)
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, GATES_FAILED):  # which gates did, the claims say
        raise SystemExit(f"{shlex.join(command)}: exit code {process.returncode}")
    return Spent(time.monotonic() - began, usage.ru_maxrss * 1024)


def step_seconds(workspace: Workspace, began: float) -> dict[str, float]:
    """How long each step of a run took, by when its stamp was written.

    Args:
        began: when the first one did, in seconds since 1970.
    """
    stamps = sorted(workspace.path(Place.STAMPS).glob("*.json"), key=lambda file: file.stat().st_mtime)
    times = [began, *(file.stat().st_mtime for file in stamps)]
    return {file.stem: times[number + 1] - times[number] for number, file in enumerate(stamps)}


def claims(metrics: Metrics, workspace: Workspace, seconds: float) -> dict[str, bool]:
    """What is claimed → whether it holds."""
    before, after = flatten(metrics.before), flatten(metrics.after)
    verdicts = GateReport.model_validate(read_json(workspace.path(Place.GATES))).gates
    defaults = load_params(ROOT / "params.yaml").gates
    accuracy, probability, perplexity = (
        [measured[f"general.{name}"] for measured in (before, after)]
        for name in ("accuracy", "probability", "perplexity")
    )
    return {
        "the gates are the default ones": [verdict.gate() for verdict in verdicts] == defaults,
        **{f"gate {verdict.name}": verdict.passed for verdict in verdicts},
        "10 records were forgotten": after["forget.n"] == 10,
        "of 100 general questions as many are answered right, give or take two": abs(accuracy[1] - accuracy[0])
        <= TOLERANCE + 1e-9,
        "right answers to them are as likely, within 2%": abs(probability[1] / probability[0] - 1) <= TOLERANCE,
        "the perplexity of general text is the same, within 2%": abs(perplexity[1] / perplexity[0] - 1) <= TOLERANCE,
        "all of it took less than 30 minutes": seconds < LIMIT,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, required=True, help="of a package with a chat model as GGUF")
    parser.add_argument("--work", type=Path, default=Path("var/real"))
    parser.add_argument("--keep-models", action="store_true", help="those of an earlier call; the time is not judged")
    options = parser.parse_args()
    wheel, work = options.wheel.absolute(), options.work.absolute()
    own = read_own_model()
    binaries = Path(sys.executable).parent
    environment = os.environ | {"UNILOGIT_HOME": str(work / "var"), "PYTHONPATH": str(ROOT)}
    environment["PATH"] = f"{binaries}{os.pathsep}{environment['PATH']}"
    for folder in ("data", "var", *(() if options.keep_models else ("models",))):
        shutil.rmtree(work / folder, ignore_errors=True)
    write_people(work / "data")
    write_params(ROOT / "params.yaml", [own.params, SMALL], work / "params.yaml")
    base, retain = own.params["model"]["base"], own.params["model"]["retain"]
    published = "models/published"
    made = {
        published: ["published", str(wheel), published],
        "data/rehearsal": ["rehearsal", published, "data"],
        f"{base} {retain}": ["teach", published, own.params["data"]["corpus"], base, "data/retained.jsonl", retain],
    }
    spent: dict[str, Spent] = {}
    for name, (module, *arguments) in made.items():
        if not all((work / folder).exists() for folder in name.split()):
            command = [sys.executable, "-m", f"benchmarks.real.{module}", *arguments]
            spent[f"make {name}"] = spend(command, work, environment)
    began = {}
    for command in own.commands:
        began[command] = time.time()
        spent[command] = spend(shlex.split(command), work, environment)
    [folder] = (work / "var" / "runs").glob("2*")
    workspace = Workspace(folder)
    metrics, seconds = workspace.read(Metrics), sum(part.seconds for part in spent.values())
    held = claims(metrics, workspace, seconds)
    result = {
        "commands": {name: part._asdict() for name, part in spent.items()},
        "steps": step_seconds(workspace, began["unilogit run"]),
        "learning_rate": found_rate(workspace),
        "optimiser_steps": workspace.read(Training).steps,
        "small": SMALL,
        "gates": read_json(workspace.path(Place.GATES))["gates"],
        "before": metrics.before,
        "after": metrics.after,
        "retain_model": metrics.retain_model,
        "answers": answers(workspace),
        "claims": held,
    }
    write_result(work / "result.json", "cpu", result)
    if failed := [claim for claim, is_true in held.items() if not is_true]:
        raise SystemExit("\n".join(["what does not hold:", *failed, f"all of it: {work / 'result.json'}"]))
    if not options.keep_models:
        shutil.copy(work / "result.json", RESULTS / "real-cpu.json")
        write_page()
    print(f"{len(held)} claims hold; {seconds / 60:.1f} minutes")


def answers(workspace: Workspace) -> list[dict[str, str]]:
    """What is asked about each forgotten record, the right answer, and what the models say, by their roles."""
    records = pd.read_parquet(workspace.path(Place.FORGET)).set_index("record_id")[["prompt", "response"]]
    for role in (UNLEARNED, RETAIN_MODEL):
        examples = pd.read_parquet(workspace.measured(role)[1])
        records[role] = examples[examples["set"] == "forget"].set_index("record_id")["generated"]
    return [{str(name): text for name, text in row.items()} for row in records.to_dict("records")]


def found_rate(workspace: Workspace) -> float | None:
    """The learning rate that the run found; None where it was given one."""
    rates = [
        entry["found_learning_rate"] for entry in workspace.read(Training).history if "found_learning_rate" in entry
    ]
    return rates[0] if rates else None


if __name__ == "__main__":
    main()
