"""A model on a suite, outside any batch: `unilogit evaluate MODEL --suite tofu --data DIR`.

Loads what is named, prints a table and writes files; what is measured is known to unilogit.evaluation.benchmarks.
"""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from tasks.report.names import number
from unilogit.errors import InputError
from unilogit.evaluation.benchmarks.registry import read_suite
from unilogit.evaluation.findings import Metrics
from unilogit.evaluation.stopwatch import tell_seconds
from unilogit.files import write_json, write_parquet
from unilogit.model import load_model

NO_RETAIN_MODEL = "it needs the retain model; name it with --retain-model"


def run_suite(
    model: str,
    suite: str,
    data: Path | str,
    split: str | None,
    retain_model: str | None,
    output: Path | None,
    console: Console | None = None,
    *,
    batch_tokens: int | None = None,
    max_new_tokens: int = 200,
    max_examples: int | None = None,
    robustness: bool = False,
    relearning_rate: float = 1e-5,
) -> None:
    """Read a suite, measure, print a table and, where an output folder is given, write all there is to it.

    Args:
        model, retain_model: Hugging Face folders or hub names; no retain model where that is None.
        suite, data, split: as in `read_suite`.
        output: folder for metrics.json and, by record, {role}.parquet and {role}-{attack}.parquet.
        batch_tokens, max_new_tokens, max_examples: as in `evaluate_on_suite`.
        robustness: make the attacks as well.
        relearning_rate: learning rate of the fine-tuning in one of them; small models need more.

    Raises:
        InputError: the suite or a model cannot be read, or the two models are of different tokenizers.
    """
    from unilogit.evaluation.attacks.measure import RobustnessSettings
    from unilogit.evaluation.benchmarks.measure import evaluate_on_suite

    records = read_suite(suite, data, split)
    loaded, tokenizer = load_model(model)
    loaded_retain_model = None
    if retain_model is not None:
        loaded_retain_model, retain_tokenizer = load_model(retain_model)
        if retain_tokenizer.get_vocab() != tokenizer.get_vocab():
            raise InputError(f"{retain_model}: its tokenizer is not that of {model}; name a model that has the same")
    attacks = RobustnessSettings(
        batch_tokens=batch_tokens, max_new_tokens=max_new_tokens, relearning_rate=relearning_rate
    )
    metrics, examples = evaluate_on_suite(
        loaded,
        tokenizer,
        records,
        retain_model=loaded_retain_model,
        no_retain_model=NO_RETAIN_MODEL,
        batch_tokens=batch_tokens,
        max_new_tokens=max_new_tokens,
        max_examples=max_examples,
        robustness=attacks if robustness else None,
        progress="evaluate",
    )
    console = console or Console()
    console.print(_table(metrics))
    for role, seconds in metrics["seconds"].items():
        console.print(f"{role.replace('_', ' ')}: {tell_seconds(seconds, metrics['generated_tokens'].get(role))}")
    if output is not None:
        written = output / "metrics.json"
        written.unlink(missing_ok=True)  # or a kill would leave it beside the examples of another model
        for name, frame in examples.items():
            write_parquet(output / f"{name}.parquet", frame)
        source: Metrics = {"schema_version": 1, "suite": suite, "data": str(data), "names": [model, retain_model]}
        write_json(written, {**source, "examples": sorted(examples), **metrics})
        console.print(f"{written}: written, and Parquet files of examples beside it")


def _table(metrics: Metrics) -> Table:
    from tasks.report.review import numbers

    values = {role: numbers(metrics[role]) for role in ("model", "retain_model") if role in metrics}
    table = Table("metric", *(role.replace("_", " ") for role in values))
    for path in values["model"]:
        if not path.endswith(".n"):
            table.add_row(path, *(number(numbers.get(path)) for numbers in values.values()))
    for path, reason in metrics["unavailable"].items():
        if path in values["model"]:
            table.caption = f"–: not available. {table.caption or ''}{path}: {reason}. ".strip()
    for path, reason in metrics["incomplete"].items():
        if path in values["model"]:
            table.caption = f"{table.caption or ''} {path}: {reason}. ".strip()
    return table
