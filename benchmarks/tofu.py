"""Methods on TOFU beside the retain model: a small model learns TOFU here, forgets a part of it with each, is measured.

    python -m benchmarks.tofu --data DIR --split forget05 --methods unilogit npo grad_diff

DIR holds the tables of the hub dataset locuslab/TOFU as JSON lines. All methods have the same settings, those of
params.yaml less what --set changes, and the same early stop: no method is tuned. Half of the unseen authors steer
that stop, the other half are measured. Models lie in --work; what is there already is not made again. Writes
benchmarks/results/tofu-<device>.json for `python -m benchmarks.table`, and fails if a number is missing or out of
its range, or if the retain model differs from itself.
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.measure import RESULTS, write_result
from tasks.params import DEFAULT_PARAMS, Params, load_params
from tasks.report.review import flatten
from tasks.stamp import Keeper, digest
from tasks.steps.targets import STEP as TARGETS
from tasks.steps.train import Trained, train_model
from tasks.steps.unlearn import STEP as UNLEARN
from tasks.workspace import ParentModel, Place, Workspace
from unilogit.data.records import CorpusRecord
from unilogit.evaluation.attacks.measure import (
    RobustnessSettings,
    measure_robustness,
    robustness_curves,
    robustness_metrics,
)
from unilogit.evaluation.benchmarks.registry import read_suite
from unilogit.evaluation.benchmarks.suite import Suite
from unilogit.evaluation.comparison import compare_with_retain_model
from unilogit.evaluation.evaluate import Evaluation, evaluate_model
from unilogit.evaluation.registry import METRICS
from unilogit.files import write_parquet
from unilogit.model import load_model

SETTINGS = [
    "train.vocabulary=2048",
    "train.hidden_size=192",
    "train.layers=3",
    "train.epochs=24",
    "unlearn.rmu.layer=1",
]
FULL, RETAIN_MODEL = "fine-tuned", "retain model"
METHODS = ("unilogit", "grad_diff", "npo", "simnpo", "undial", "idk_dpo", "gradient_ascent")


def frame(records: list[CorpusRecord], **columns: str) -> pd.DataFrame:
    return pd.DataFrame([record.model_dump() for record in records]).assign(**columns)


def train_models(suite: Suite, work: Path, params: Params) -> dict[str, Path]:
    """The model that knows all, and one of the same shape that never saw the forget set."""
    retain = retain_split(suite)
    for name in ("full", retain):
        write_parquet(work / f"{name}.parquet", frame(suite.training[name]()))
    full = train(work, "full", params)
    return {FULL: full, RETAIN_MODEL: train(work, retain, params, architecture=str(full))}


def train(work: Path, name: str, params: Params, architecture: str | None = None) -> Path:
    corpus, output = work / f"{name}.parquet", work / name
    inputs = [digest(corpus), params.value("train"), params.seed, architecture and digest(Path(architecture))]
    keeper = Keeper(work / f"{name}.json", inputs, {name: output}, Trained)
    return keeper.run(lambda: train_model(corpus, output, params, architecture)).model


def retain_split(suite: Suite) -> str:
    return next(name for name in suite.training if name != "full")


def unlearn(suite: Suite, steering: list[CorpusRecord], folder: Path, params: Params, model: Path) -> Path:
    workspace, retain = Workspace(folder), frame(suite.training[retain_split(suite)]())
    write_parquet(workspace.path(Place.FORGET), frame(suite.sets["forget"], batch="current"))
    write_parquet(workspace.path(Place.RETAIN), retain)
    write_parquet(workspace.path(Place.NEIGHBOURS), retain.iloc[:0])
    write_parquet(workspace.path(Place.HOLDOUT), frame(steering, use="stop"))
    workspace.write(ParentModel(model=str(model), version=None, files_sha256=str(digest(model))))
    for step in (TARGETS, UNLEARN):
        step.run(workspace, params)
    return workspace.path(Place.MODEL)


def measure(
    model: Path, suite: Suite, params: Params, retain_model: Any, name: str
) -> tuple[Evaluation, dict[str, Any]]:
    """All metrics of one model, and of the attacks on it."""
    loaded, tokenizer = load_model(str(model))
    settings = params.evaluate
    evaluation = evaluate_model(
        loaded,
        tokenizer,
        suite.sets,
        batch_tokens=settings.batch_tokens,
        max_new_tokens=settings.max_new_tokens,
        utility_sets=suite.utility_sets,
        retain_model=retain_model,
        progress=name,
    )
    attacks = RobustnessSettings.from_config(settings, seed=0, max_length=None)
    records = suite.sets["forget"][: settings.robustness.max_examples]
    measured = measure_robustness(loaded, tokenizer, records, attacks, name)
    return evaluation, robustness_metrics(robustness_curves(measured)).metrics


def faults(model: str, metrics: Mapping[str, Any], sets: Mapping[str, Any]) -> Iterator[str]:
    """Numbers that are missing, unknown or out of the range that `unilogit metrics` states."""
    for path, value in flatten(dict(metrics)).items():
        first, _, rest = path.partition(".")
        known = METRICS.get(rest if first in sets else path)
        if path.endswith(".n"):
            continue
        if known is None or value is None:
            yield f"{model}: {path} is {'unknown' if known is None else 'missing'}"
            continue
        low, high = (float(end.replace("∞", "inf")) for end in known.range.removesuffix(" nats").split(" … "))
        if not low <= value <= high:
            yield f"{model}: {path} is {value}, out of {known.range}"
    if model == RETAIN_MODEL and (metrics["forget_quality"]["p_value"], metrics["privleak"]) != (1, 0):
        yield f"{model}: beside itself, forget quality is not 1 or PrivLeak not 0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of TOFU's tables")
    parser.add_argument("--split", choices=["forget01", "forget05", "forget10"], default="forget05")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument(
        "--set", nargs="+", default=[], dest="overrides", help="knobs of params.yaml: section.key=value"
    )
    parser.add_argument("--work", type=Path, default=Path("var/tofu"))
    options = parser.parse_args()

    overrides = [*SETTINGS, *options.overrides]
    params = load_params(DEFAULT_PARAMS, overrides)
    suite = read_suite("tofu", options.data, options.split)
    unseen = suite.sets["holdout"]
    steering, measured = unseen[: len(unseen) // 2], unseen[len(unseen) // 2 :]
    suite = replace(suite, sets={**suite.sets, "holdout": measured})

    work = options.work / options.split
    models = train_models(suite, work, params)
    for method in options.methods:
        settings = load_params(DEFAULT_PARAMS, [*overrides, f"unlearn.method={method}"])
        models[method] = unlearn(suite, steering, work / "methods" / method, settings, models[FULL])

    retain_model_model = load_model(str(models[RETAIN_MODEL]))[0]
    measure_model = partial(measure, suite=suite, params=params)
    retain_model, retain_model_attacks = measure_model(models[RETAIN_MODEL], retain_model=None, name=RETAIN_MODEL)
    results: dict[str, dict[str, Any]] = {}
    wrong: list[str] = []
    for name, model in models.items():
        evaluation, attacks = retain_model, retain_model_attacks
        if name != RETAIN_MODEL:
            evaluation, attacks = measure_model(model, retain_model=retain_model_model, name=name)
        metrics = compare_with_retain_model(evaluation, retain_model, "").metrics
        metrics["robustness"] = attacks
        wrong += faults(name, metrics, suite.sets)
        results[name] = {**metrics, "seconds": evaluation.seconds, "generated_tokens": evaluation.generated_tokens}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    facts = {
        "split": options.split,
        "settings": overrides,
        "parameters": sum(parameter.numel() for parameter in retain_model_model.parameters()),
        "records": {name: len(records) for name, records in suite.sets.items()},
    }
    write_result(RESULTS / f"tofu-{device}.json", device, {**facts, "models": results})
    print(RESULTS / f"tofu-{device}.json")
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
