"""A model on a benchmark, outside any batch: `unilogit evaluate MODEL --suite tofu --data DIR`."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from tasks.show import number
from tasks.unlearn import load_model
from unilogit.data.suites.muse import KNOWMEM_FORGET
from unilogit.data.suites.registry import read_suite
from unilogit.data.suites.suite import Suite
from unilogit.evaluation.stopwatch import Stopwatch, tell_seconds
from unilogit.files import write_json, write_parquet

NO_RETAIN_MODEL = "it needs the retain model; name it with --retain-model"


def evaluate_on_suite(
    model: str,
    suite: Suite,
    *,
    retain_model: str | None = None,
    batch_size: int | None = None,
    max_new_tokens: int = 200,
    max_examples: int | None = None,
    robustness: bool = False,
    relearning_rate: float = 1e-5,
) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """Measure a model, and the retain model beside it, on a benchmark.

    Args:
        model, retain_model: Hugging Face folders or hub names.
        batch_size: examples at once; None for as many as memory holds.
        max_examples: the first of each set; None for all.
        robustness: make the attacks of `unilogit.evaluation.robustness` as well.
        relearning_rate: of the fine-tuning in one of them; small models need more.

    Returns:
        What metrics.json holds (`model`, `retain_model`, `unavailable`, `seconds`, `generated_tokens`), and
        per-example values by file name: of each role, and of each `{role}-{attack}`.

    Raises:
        InputError: a model cannot be loaded, or the two score different vocabularies.
    """
    from unilogit.evaluation.robustness.measure import RobustnessSettings
    from unilogit.evaluation.token_scores import within_memory

    attacks = RobustnessSettings(max_new_tokens=max_new_tokens, relearning_rate=relearning_rate)
    names = {"model": model} | ({"retain_model": retain_model} if retain_model else {})
    loaded = {role: load_model(name) for role, name in names.items()}
    sets = {name: records[:max_examples] for name, records in suite.sets.items()}
    measure = _measure_muse if suite.name.startswith("muse") else _measure

    def measure_all(size: int) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
        metrics, examples = measure(suite, sets, loaded, {"batch_size": size, "max_new_tokens": max_new_tokens})
        if robustness:
            _attack(sets, loaded, replace(attacks, batch_size=size), metrics, examples)
        return metrics, examples

    return within_memory(measure_all, batch_size)


def _measure(suite: Suite, sets: Any, loaded: Any, settings: Any) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    from unilogit.evaluation.comparison import beside_golden
    from unilogit.evaluation.evaluate import evaluate_model

    golden_model = loaded["retain_model"][0] if "retain_model" in loaded else None
    evaluations = {
        role: evaluate_model(
            model,
            tokenizer,
            sets,
            utility_sets=suite.utility_sets,
            golden=golden_model if role == "model" else None,
            progress=role.replace("_", " "),
            **settings,
        )
        for role, (model, tokenizer) in loaded.items()
    }
    golden = evaluations.get("retain_model")
    metrics: dict[str, Any] = {}
    unavailable: dict[str, str] = {}
    for role, evaluation in evaluations.items():
        metrics[role], why = beside_golden(evaluation, golden, NO_RETAIN_MODEL)
        unavailable |= why if role == "model" else {f"{role}.{path}": reason for path, reason in why.items()}
    cost = {
        "seconds": {role: each.seconds for role, each in evaluations.items()},
        "generated_tokens": {role: each.generated_tokens for role, each in evaluations.items()},
    }
    examples = {role: each.examples for role, each in evaluations.items()}
    return {**metrics, "unavailable": unavailable, **cost}, examples


def _measure_muse(
    suite: Suite, sets: Any, loaded: Any, settings: Any
) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """VerbMem and KnowMem as published; Min-K% and PrivLeak on the texts that MUSE gives for it."""
    from unilogit.evaluation.evaluate import NOT_FINITE
    from unilogit.evaluation.membership_inference import privleak
    from unilogit.evaluation.muse import evaluate_muse, min_k_auc

    metrics: dict[str, Any] = {}
    examples: dict[str, pd.DataFrame] = {}
    seconds: dict[str, dict[str, float]] = {}
    for role, (model, tokenizer) in loaded.items():
        watch, batch_size = Stopwatch(role.replace("_", " ")), settings["batch_size"]
        with watch("VerbMem and KnowMem") as label:
            found = evaluate_muse(model, tokenizer, replace(suite, sets=sets), batch_size=batch_size, progress=label)
        with watch("Min-K%") as label:
            auc = min_k_auc(model, tokenizer, sets["forget"], sets["holdout"], batch_size=batch_size, progress=label)
        metrics[role], examples[role] = {**found.metrics, "membership_inference": {"min_k_auc": auc}}, found.examples
        seconds[role] = watch.seconds
    aucs = {role: values["membership_inference"]["min_k_auc"] for role, values in metrics.items()}
    unavailable: dict[str, str] = {}
    for role, values in metrics.items():
        prefix = "" if role == "model" else f"{role}."
        values["privleak"] = privleak(aucs[role], aucs["retain_model"]) if "retain_model" in aucs else None
        if values["privleak"] is None:
            unavailable[f"{prefix}privleak"] = NO_RETAIN_MODEL
        elif math.isnan(values["privleak"]):
            values["privleak"], unavailable[f"{prefix}privleak"] = None, NOT_FINITE
        if math.isnan(aucs[role]):
            values["membership_inference"]["min_k_auc"] = None
            unavailable[f"{prefix}membership_inference.min_k_auc"] = NOT_FINITE
    return {**metrics, "unavailable": unavailable, "seconds": seconds, "generated_tokens": {}}, examples


def _attack(sets: Any, loaded: Any, settings: Any, metrics: dict[str, Any], examples: dict[str, pd.DataFrame]) -> None:
    """Add to both what the attacks find: on the questions of MUSE's KnowMem, elsewhere on the forget set."""
    from unilogit.evaluation.evaluate import NOT_FINITE
    from unilogit.evaluation.robustness.measure import measure_robustness, robustness_curves, robustness_metrics

    records = sets.get(KNOWMEM_FORGET, sets["forget"])
    for role, (model, tokenizer) in loaded.items():
        watch = Stopwatch(role.replace("_", " "))
        with watch("attacks") as label:
            found = measure_robustness(model, tokenizer, records, settings, label)
        metrics["seconds"][role] |= watch.seconds
        metrics[role]["robustness"] = robustness_metrics(robustness_curves(found))
        prefix = "" if role == "model" else f"{role}."
        for name in [name for name, value in metrics[role]["robustness"].items() if value is None]:
            metrics["unavailable"][f"{prefix}robustness.{name}"] = NOT_FINITE
        examples |= {f"{role}-{attack}": frame for attack, frame in found.items()}


def run_suite(
    model: str,
    suite: str,
    data: Path | str,
    split: str | None,
    retain_model: str | None,
    output: Path | None,
    console: Console | None = None,
    **settings: Any,
) -> None:
    """Read a benchmark, measure, print a table and, where an output folder is given, write all there is to it."""
    metrics, examples = evaluate_on_suite(model, read_suite(suite, data, split), retain_model=retain_model, **settings)
    console = console or Console()
    console.print(_table(metrics))
    for role, seconds in metrics["seconds"].items():
        console.print(f"{role.replace('_', ' ')}: {tell_seconds(seconds, metrics['generated_tokens'].get(role))}")
    if output is not None:
        written = output / "metrics.json"
        written.unlink(missing_ok=True)  # or a kill would leave it beside the examples of another model
        for role, frame in examples.items():
            write_parquet(output / f"{role}.parquet", frame)
        about = {"schema_version": 1, "suite": suite, "data": str(data), "names": [model, retain_model]}
        write_json(written, {**about, "examples": sorted(examples), **metrics})
        console.print(f"{written}: written, and Parquet files of examples beside it")


def _table(metrics: dict[str, Any]) -> Table:
    from tasks.report import flatten

    values = {role: flatten(metrics[role]) for role in ("model", "retain_model") if role in metrics}
    table = Table("metric", *(role.replace("_", " ") for role in values))
    for path in values["model"]:
        if not path.endswith(".n"):
            table.add_row(path, *(number(of.get(path)) for of in values.values()))
    for path, why in metrics["unavailable"].items():
        if path in values["model"]:
            table.caption = f"–: not available. {table.caption or ''}{path}: {why}. ".strip()
    return table
