"""Do gates on attacks still tell models apart in a batch of a few records? Drawn from what pools were measured with.

    python -m benchmarks.small_batches

Trains nothing: takes the models of `python -m benchmarks.pools` (--work) as they were measured, draws people of the
forget set as if they alone were the batch, and judges each draw by the gates on membership inference and PrivLeak: as
they are, and as they would be if no threshold made way for chance. Writes benchmarks/results/small-batches-cpu.json for
`python -m benchmarks.table`.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measure import RESULTS, write_result
from benchmarks.pools import KNOWN, NEVER, POOLS
from tasks.params import load_params
from tasks.workspace import Place, Workspace
from unilogit.evaluation.examples import FORGET, HOLDOUT
from unilogit.evaluation.membership_inference import attack_auc, auc_error, privleak, why_no_privleak
from unilogit.gates import Gate, judge

PEOPLE = (1, 2, 4, 8)
DRAWS = 200
SCORES = {"loss_auc": "attack_loss", "min_k_auc": "attack_min_k"}
METRICS = ("membership_inference.loss_auc", "privleak")


def draw_metrics(models: dict[str, pd.DataFrame], records: set[str]) -> dict[str, Any] | None:
    """What metrics.json would hold of two models if these records were the batch; None where PrivLeak says nothing.

    Args:
        models: examples of `after` and `retain_model`.
        records: ids.
    """
    metrics: dict[str, Any] = {}
    for role, examples in models.items():
        forget = examples[(examples["set"] == FORGET) & examples["record_id"].isin(records)]
        unseen = examples[examples["set"] == HOLDOUT]
        metrics[role] = {
            "membership_inference": {
                name: attack_auc(forget[score].to_numpy(), unseen[score].to_numpy()) for name, score in SCORES.items()
            }
        }
    aucs = {role: values["membership_inference"] for role, values in metrics.items()}
    retain_auc, sizes = aucs["retain_model"]["min_k_auc"], (len(forget), len(unseen))
    if why_no_privleak(retain_auc):
        return None
    for role, values in metrics.items():
        values["privleak"] = privleak(aucs[role]["min_k_auc"], retain_auc)
    errors = {name: auc_error(aucs["after"][name], *sizes) for name in SCORES}
    return metrics | {
        "standard_errors": {
            "membership_inference.loss_auc": errors["loss_auc"],
            "privleak": 100 * errors["min_k_auc"] / (1 - retain_auc),
        }
    }


def shares_passed(workspace: Workspace, gates: list[Gate], people: int) -> dict[str, Any]:
    """Of draws of so many people: mean records, and the shares that pass, as gates are and without chance."""
    folder = workspace.path(Place.MEASURED)
    models = {role: pd.read_parquet(folder / f"{role}.parquet") for role in ("after", "retain_model")}
    forget = pd.read_parquet(workspace.path(Place.FORGET))
    records = forget.explode("subject_ids").groupby("subject_ids")["record_id"].agg(set)
    random = np.random.default_rng(0)
    sizes, passed = [], []
    for _ in range(DRAWS):
        chosen = set().union(*records.iloc[random.permutation(len(records))[:people]])
        if metrics := draw_metrics(models, chosen):
            sizes.append(len(chosen))
            passed.append([judge(gates, metrics).passed, judge(gates, metrics | {"standard_errors": {}}).passed])
    with_room, at_thresholds = np.mean(passed, axis=0)
    return {
        "records": float(np.mean(sizes)),
        "draws": len(sizes),
        "passed": float(with_room),
        "passed_without": float(at_thresholds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("var/pools"), help="of benchmarks.pools")
    work = parser.parse_args().work.absolute() / "models"
    if not any(work.glob("judged-*/evaluation")):
        raise SystemExit(f"{work}: no measured models; first run `python -m benchmarks.pools --work {work.parent}`")
    gates = [gate for gate in load_params(work.parent / "params.yaml").gates if gate.metric in METRICS]
    result: dict[str, Any] = {"pools": {}}
    for pool in (NEVER, KNOWN, *POOLS):
        name = pool.replace(" ", "-")
        folders = sorted(work.glob(f"judged-{name}-*" if pool in (NEVER, KNOWN) else f"{name}-*"))
        result["pools"][pool] = [
            {"people": people, "model": number, **shares_passed(Workspace(folder), gates, people)}
            for number, folder in enumerate(folders, start=1)
            for people in PEOPLE
        ]
        print(pool, result["pools"][pool], flush=True)
    write_result(RESULTS / "small-batches-cpu.json", "cpu", result)


if __name__ == "__main__":
    main()
