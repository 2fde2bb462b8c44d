"""Great Expectations asked about rows: which of them do not go together, and what is odd about all; and its pages.

A row is known by its place, "file:row". Knows nothing of files with data or of what becomes of a bad row.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tasks.validation.expectations import PLACE, PROBLEM, ROW_WARNING, WARNING, Table, load_expectations
from tasks.workspace import ExpectationResult
from unilogit.files import atomic_folder

if TYPE_CHECKING:
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult
    from great_expectations.expectations.expectation import Expectation

UNIQUE = "expect_column_values_to_be_unique"


@dataclass(frozen=True)
class Judgement:
    """What Great Expectations found.

    Attributes:
        results: every expectation in numbers.
        refused: place → what is wrong with the row and what to do, beside what is in its column `problem`.
        warnings: a sentence for what is odd about all rows together, or about a row that is good all the same.
    """

    results: list[ExpectationResult]
    refused: dict[str, list[str]]
    warnings: list[str]


def judge(
    table: Table, rows: pd.DataFrame, docs: Path, source: Path, earlier: Mapping[str, float] | None = None
) -> Judgement:
    """Ask all that is expected of rows, and write Data Docs (HTML).

    Of rows that share an identifier, the first with nothing else against it stays good.

    Args:
        rows: the columns that the expectations name; cells are null where nothing is known.
        docs: the folder to write; its index.html leads to the page.
        source: where the rows are from. The page shows its time, not today's, so that the page of the same input
            keeps its address.
        earlier: numbers of the rows judged before, by the names that the expectations have for them; without them
            nothing is asked about drift.

    Raises:
        RuntimeError: Great Expectations could not evaluate an expectation.
    """
    numbers = dict(earlier or {})
    with atomic_folder(docs) as folder:
        answers = _ask(table, rows, folder, datetime.fromtimestamp(source.stat().st_mtime, UTC), numbers)
        for page in folder.rglob("*.html"):
            _forbid_loading(page)
    bad = set(rows.loc[rows[PROBLEM].notna(), PLACE]) if PROBLEM in rows else set()
    results: list[ExpectationResult] = []
    warnings: list[str] = []
    refused: dict[str, list[str]] = defaultdict(list)
    repeats: list[tuple[str, list[str]]] = []
    for expectation, answer in answers:
        places = [row[PLACE] for row in answer.result.get("unexpected_index_list") or []]
        results.append(_in_numbers(expectation, answer, len(places)))
        if expectation.severity == "warning":
            if not answer.success:
                warnings += _warnings(expectation, answer.result, numbers, rows)
        elif expectation.expectation_type == UNIQUE:
            repeats.append((expectation.column, places))
        else:
            wrong = f"field `{expectation.column}` is not what is expected of it ({expectation.expectation_type})"
            for place in places:
                if place not in bad:
                    refused[place].append(f"{wrong}; correct it or remove the line")
    for identifier, places in repeats:
        names = dict(zip(places, rows.set_index(PLACE).loc[places, identifier], strict=True))
        for place, first in _repeats(names, bad.union(refused)):
            wrong = f"field `{identifier}` repeats that of {first}"
            refused[place].append(f"{wrong}; give it one of its own or remove the line")
    return Judgement(results, dict(refused), warnings)


def _warnings(
    expectation: "Expectation", result: Mapping[str, Any], numbers: Mapping[str, float], rows: pd.DataFrame
) -> list[str]:
    if WARNING in expectation.meta:
        return [expectation.meta[WARNING].format_map(_rounded({**result, **numbers}))]
    places = [row[PLACE] for row in result["unexpected_index_list"]]
    unexpected = rows.set_index(PLACE, drop=False).loc[places].to_dict("records")
    return [expectation.meta[ROW_WARNING].format_map(row) for row in unexpected]


def _repeats(names: dict[str, str], bad: set[str]) -> Iterator[tuple[str, str]]:
    """Places whose name is that of another place, which comes before them or has nothing else against it."""
    first: dict[str, str] = {}
    for place in sorted(names, key=bad.__contains__):
        first.setdefault(names[place], place)
    return ((place, first[name]) for place, name in names.items() if first[name] != place)


def _in_numbers(expectation: "Expectation", answer: "ExpectationValidationResult", failed: int) -> ExpectationResult:
    columns = [expectation.column] if hasattr(expectation, "column") else []
    return ExpectationResult(
        expectation=expectation.expectation_type, columns=columns, success=answer.success, unexpected_count=failed
    )


def _rounded(values: Mapping[str, object]) -> dict[str, object]:
    return {name: round(value) if isinstance(value, float) else value for name, value in values.items()}


def _ask(
    table: Table, rows: pd.DataFrame, docs: Path, run_time: datetime, numbers: dict[str, float]
) -> "list[tuple[Expectation, ExpectationValidationResult]]":
    """Every expectation with its answer; the page of all of them is written to `docs`."""
    import great_expectations as gx
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.base import ProgressBarsConfig

    for name in ("great_expectations", "great_expectations.data_context.types.base"):  # each has a level of its own
        logging.getLogger(name).setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    for site in list(context.get_site_names()):
        context.delete_data_docs_site(site)
    context.add_data_docs_site(
        "validation",
        {
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.absolute())},
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        },
    )
    asked = load_expectations(table)
    if not numbers:
        asked.expectations = [item for item in asked.expectations if not item.suite_parameter_options]
    asset = context.data_sources.add_pandas("files").add_dataframe_asset(table)
    definition = gx.ValidationDefinition(
        name=table, data=asset.add_batch_definition_whole_dataframe("all rows"), suite=context.suites.add(asked)
    )
    checkpoint = gx.Checkpoint(
        name=table,
        validation_definitions=[context.validation_definitions.add(definition)],
        actions=[gx.checkpoint.UpdateDataDocsAction(name="data docs")],
        result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [PLACE]},
    )
    answer = context.checkpoints.add(checkpoint).run(
        batch_parameters={"dataframe": rows},
        expectation_parameters=numbers,
        run_id=RunIdentifier(run_name=table, run_time=run_time),
    )
    (run,) = answer.run_results.values()
    by_id = {result.expectation_config.id: result for result in run.results}
    for result in run.results:
        info = result.exception_info  # or one for each number that was needed
        if any(item["raised_exception"] for item in ([info] if "raised_exception" in info else info.values())):
            raise RuntimeError(f"Great Expectations could not evaluate {result.expectation_config}: {info}")
    return [(expectation, by_id[expectation.id]) for expectation in asked.expectations]


def _forbid_loading(page: Path) -> None:
    """Great Expectations' pages fetch pictures and styles from the Internet when somebody opens them."""
    policy = "default-src 'unsafe-inline' data: file:"
    html = page.read_text(encoding="utf-8")
    tag = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    page.write_text(html.replace("<head>", f"<head>{tag}", 1), encoding="utf-8")
