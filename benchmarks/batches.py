"""Successive batches on the example: what each costs in utility, whether anybody comes back, and how it is forgotten.

    python -m benchmarks.batches --batches 10 --people 3

Each batch asks to forget some more of the example's people, is unlearned from the version before it and promoted;
then the data team deletes their records from the corpus. Works in a folder of its own (--work), where what is there
already is not made again. Writes benchmarks/results/batches-cpu.json for `python -m benchmarks.table`.
"""

import argparse
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measure import RESULTS, write_result
from tasks.workspace import Metrics, Place, Registration, Workspace
from unilogit.files import read_json
from unilogit.gates import GateReport

METRICS = ("model_utility", "retain.probability", "world_facts.probability", "forget.probability")
METRICS_OF_ALL = ("forget_all.probability", "forget_all.rouge_l_recall")
BESIDE_RETAIN_MODEL = ("forget.probability", "robustness.relearned_probability", "fluency.nll")
EVIDENCE = ("forget_quality.log10_p_value", "privleak", "membership_inference.loss_auc", *BESIDE_RETAIN_MODEL[1:])
ALLOWED_LEAK = "privleak-most"  # gate


def make_params(work: Path, settings: list[str]) -> Path:
    """params.yaml with its data in the folder, and an inbox that holds only what this benchmark files."""
    values = yaml.safe_load(Path("params.yaml").read_text())
    example = work / "example"
    values["data"] |= {"corpus": f"{example}/corpus.jsonl", "requests": f"{work}/inbox"}
    values["data"] |= {"holdout": f"{example}/holdout.jsonl"}
    values["model"]["base"] = f"{example}/model"
    for setting in settings:
        key, _, value = setting.partition("=")
        section, _, name = key.partition(".")
        values[section][name] = yaml.safe_load(value)
    file = work / "params.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    return file


def make_example(work: Path, file: Path) -> None:
    from tasks.params import load_params
    from tasks.steps import example, train

    params = load_params(file, [f"data.requests={work}/example/requests"])
    workspace = example.example_workspace(params)
    for step in (example.STEP, train.STEP):
        print(step.run(workspace, params), flush=True)


def work_on(batch: int, people: list[str], work: Path, file: Path) -> dict[str, Any]:
    """File requests, unlearn, promote, close; what was measured."""
    from flows.reconcile import reconcile_in_process
    from flows.unlearn import run_in_process
    from tasks.requests.promotion import promote
    from tasks.workspace import run_folder

    now = datetime.now(UTC).isoformat()
    rows = [{"request_id": f"R-{batch:02}-{person}", "received_at": now, "subject_id": person} for person in people]
    (work / "inbox").mkdir(exist_ok=True)
    (work / "inbox" / f"batch-{batch:02}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    seen = {path.name for path in run_folder("x").parent.glob("*")}
    code = run_in_process(None, file)
    [run] = {path.name for path in run_folder("x").parent.glob("2*")} - seen
    workspace = Workspace(run_folder(run))
    registration = workspace.read(Registration)
    metrics = workspace.read(Metrics)
    if code == 0:
        promote(registration.registered_model, registration.version, "benchmark")
        reconcile_in_process(file)
        delete_people(work / "example" / Place.EXAMPLE_CORPUS, set(people))
    verdicts = GateReport.model_validate(read_json(workspace.path(Place.GATES))).gates
    return {
        "gates": registration.gates,
        "failed": [verdict.name for verdict in verdicts if not verdict.passed],
        "allowed_leak": next(verdict.threshold for verdict in verdicts if verdict.name == ALLOWED_LEAK),
        "before": metrics.before,
        "after": metrics.after,
        "retain_model": metrics.retain_model,
    }


def delete_people(corpus: Path, people: set[str]) -> None:
    """What the data team does once a batch is promoted."""
    rows = [json.loads(line) for line in corpus.read_text().splitlines()]
    kept = [row for row in rows if not people.intersection(row.get("subject_ids", []))]
    corpus.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=10)
    parser.add_argument("--people", type=int, default=3, help="in each batch")
    parser.add_argument("--work", type=Path, default=Path("var/batches"))
    parser.add_argument("--set", action="append", default=[], help="section.key=value, as of `unilogit run`")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/batches-cpu.json")
    options = parser.parse_args()
    work = options.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    os.environ["UNILOGIT_HOME"] = str(work / "home")
    file = make_params(work, options.set)
    make_example(work, file)
    from tasks.report.review import flatten
    from tasks.requests.certificates import keygen

    keygen()
    corpus = work / "example" / Place.EXAMPLE_CORPUS
    rows = [json.loads(line) for line in corpus.read_text().splitlines()]
    everybody = sorted({person for row in rows for person in row.get("subject_ids", [])})
    results: list[dict[str, Any]] = []
    path = options.out or RESULTS / "batches-cpu.json"
    for batch in range(options.batches):
        people = everybody[batch * options.people : (batch + 1) * options.people]
        measured = work_on(batch + 1, people, work, file)
        before, after, retain_model = (flatten(measured[role]) for role in ("before", "after", "retain_model"))
        if not results:
            results.append({"gates": "", **{name: before[name] for name in METRICS}})
        results.append(
            {
                **{name: measured[name] for name in ("gates", "failed", "allowed_leak")},
                **{name: after[name] for name in (*METRICS, *METRICS_OF_ALL, *EVIDENCE)},
                "retain_model": {name: retain_model[name] for name in BESIDE_RETAIN_MODEL},
            }
        )
        write_result(path, "cpu", {"people": options.people, "settings": options.set, "batches": results})
        print(results[-1], flush=True)


if __name__ == "__main__":
    main()
