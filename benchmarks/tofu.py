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
from tasks.report import flatten
from tasks.train import run_train
from tasks.unlearn import load_model, run_unlearn
from unilogit.data.records import CorpusRecord
from unilogit.data.suites.registry import read_suite
from unilogit.data.suites.suite import Suite
from unilogit.evaluation.comparison import beside_golden
from unilogit.evaluation.evaluate import Evaluation, evaluate_model
from unilogit.evaluation.registry import METRICS
from unilogit.evaluation.robustness.measure import (
    RobustnessSettings,
    measure_robustness,
    robustness_curves,
    robustness_metrics,
)
from unilogit.evaluation.token_scores import within_memory
from unilogit.files import write_parquet
from unilogit.params import DEFAULT_PARAMS, Params, load_params

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
    retain = next(name for name in suite.training if name != "full")
    for name in ("full", retain):
        write_parquet(work / f"{name}.parquet", frame(suite.training[name]()))
    full = run_train(work / "full.parquet", work / "full", params).model
    golden = run_train(work / f"{retain}.parquet", work / retain, params, like=str(full)).model
    return {FULL: full, RETAIN_MODEL: golden}


def unlearn(suite: Suite, steering: list[CorpusRecord], workspace: Path, params: Params, model: Path) -> Path:
    retain = next(name for name in suite.training if name != "full")
    data = workspace / "data"
    write_parquet(data / "forget.parquet", frame(suite.sets["forget"], batch="current"))
    write_parquet(data / "retain.parquet", frame(suite.training[retain]()))
    write_parquet(data / "holdout.parquet", frame(steering, use="stop"))
    return run_unlearn(workspace, params, str(model)).model


def measure(model: Path, suite: Suite, params: Params, golden: Any, name: str) -> tuple[Evaluation, dict[str, Any]]:
    """All metrics of one model, and of the attacks on it."""
    loaded, tokenizer = load_model(str(model))
    settings = params.evaluate
    evaluation = within_memory(
        lambda size: evaluate_model(
            loaded,
            tokenizer,
            suite.sets,
            batch_size=size,
            max_new_tokens=settings.max_new_tokens,
            utility_sets=suite.utility_sets,
            golden=golden,
            progress=name,
        ),
        settings.batch_size,
    )
    attacks = RobustnessSettings(
        attacks=tuple(settings.robustness.attacks),
        max_new_tokens=settings.max_new_tokens,
        relearning_rate=settings.robustness.relearning_rate,
    )
    records = suite.sets["forget"][: settings.robustness.max_examples]
    found = within_memory(
        lambda size: measure_robustness(loaded, tokenizer, records, replace(attacks, batch_size=size), name),
        settings.batch_size,
    )
    return evaluation, robustness_metrics(robustness_curves(found))


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

    golden_model = load_model(str(models[RETAIN_MODEL]))[0]
    measure_model = partial(measure, suite=suite, params=params)
    golden, golden_attacks = measure_model(models[RETAIN_MODEL], golden=None, name=RETAIN_MODEL)
    found: dict[str, dict[str, Any]] = {}
    wrong: list[str] = []
    for name, model in models.items():
        evaluation, attacks = golden, golden_attacks
        if name != RETAIN_MODEL:
            evaluation, attacks = measure_model(model, golden=golden_model, name=name)
        metrics, _ = beside_golden(evaluation, golden, "")
        metrics["robustness"] = attacks
        wrong += faults(name, metrics, suite.sets)
        found[name] = {**metrics, "seconds": evaluation.seconds, "generated_tokens": evaluation.generated_tokens}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    facts = {
        "split": options.split,
        "settings": overrides,
        "parameters": sum(parameter.numel() for parameter in golden_model.parameters()),
        "records": {name: len(records) for name, records in suite.sets.items()},
    }
    write_result(RESULTS / f"tofu-{device}.json", device, {**facts, "models": found})
    print(RESULTS / f"tofu-{device}.json")
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
