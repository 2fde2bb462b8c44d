"""Great Expectations asked about rows: which of them do not go together, and what is odd about all; and its pages.

A row is known by its place, "file:row". Knows nothing of files with data or of what becomes of a bad row.
"""

import logging
import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tasks.validation.expectations import PLACE, PROBLEM, ROW_WARNING, WARNING, Table, load_expectations
from tasks.workspace import ExpectationResult
from unilogit.data.repeats import repeats_sentence
from unilogit.files import atomic_folder

if TYPE_CHECKING:
    from great_expectations import Checkpoint
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


def judge(table: Table, rows: pd.DataFrame, docs: Path, source: Path) -> Judgement:
    """Ask all that is expected of rows, and write Data Docs (HTML).

    Of rows that share an identifier, the first with nothing else against it stays good.

    Args:
        rows: the columns that the expectations name; cells are null where nothing is known.
        docs: the folder to write; its index.html leads to the page.
        source: where the rows are from. The page shows its time, not today's, so that the page of the same input
            keeps its address.

    Raises:
        RuntimeError: Great Expectations could not evaluate an expectation.
    """
    with judging(table, docs, datetime.fromtimestamp(source.stat().st_mtime, UTC)) as judges:
        refused = judges.ask(rows)
    return Judgement(judges.results, refused, judges.warnings)


@contextmanager
def judging(table: Table, docs: Path, run_time: datetime) -> "Iterator[Judges]":
    """Ask about rows part by part; Data Docs have a page for each part, and are there once all were asked about.

    Args:
        run_time: what the pages show; the rest as of `judge`.
    """
    with atomic_folder(docs) as folder:
        judges = Judges(table, folder, run_time)
        yield judges
        folder.chmod(0o700)
        for page in folder.rglob("*.html"):
            _forbid_loading(page)
            page.chmod(0o600)


class Judges:
    """Great Expectations, asked about the rows of a table part by part; see `judging`."""

    def __init__(self, table: Table, docs: Path, run_time: datetime) -> None:
        self._table, self._run_time = table, run_time
        self._checkpoint, self._expectations = _checkpoint(table, docs)
        self._totals = [_Total() for _ in self._expectations]
        self._told: list[str] = []

    @property
    def results(self) -> list[ExpectationResult]:
        """Every expectation in numbers, over all parts."""
        return [
            ExpectationResult(
                expectation=expectation.expectation_type,
                columns=[expectation.column] if hasattr(expectation, "column") else [],
                success=total.success,
                unexpected_count=total.places,
            )
            for expectation, total in zip(self._expectations, self._totals, strict=True)
        ]

    @property
    def warnings(self) -> list[str]:
        """What is odd about all rows together, then about single rows."""
        of_all = [
            expectation.meta[WARNING].format_map(_rounded(total.result.items()))
            for expectation, total in zip(self._expectations, self._totals, strict=True)
            if expectation.severity == "warning" and not total.success and WARNING in expectation.meta
        ]
        return of_all + self._told

    def ask(self, rows: pd.DataFrame) -> dict[str, list[str]]:
        """Ask about a part; what is refused of it, as in `Judgement`."""
        bad = set(rows.loc[rows[PROBLEM].notna(), PLACE]) if PROBLEM in rows else set()
        refused: dict[str, list[str]] = defaultdict(list)
        repeats: list[tuple[str, list[str]]] = []
        for expectation, total, answer in zip(self._expectations, self._totals, self._answers(rows), strict=True):
            places = [row[PLACE] for row in answer.result.get("unexpected_index_list") or []]
            total.add(expectation, answer, len(places))
            if expectation.severity == "warning":
                if not answer.success and ROW_WARNING in expectation.meta:
                    self._told += _row_warnings(expectation, places, rows)
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
                refused[place].append(repeats_sentence(identifier, names[place], first))
        return dict(refused)

    def _answers(self, rows: pd.DataFrame) -> "list[ExpectationValidationResult]":
        from great_expectations.core.run_identifier import RunIdentifier

        part = self._totals[0].parts + 1
        name = str(self._table) if part == 1 else f"{self._table}, part {part}"
        answer = self._checkpoint.run(
            batch_parameters={"dataframe": rows},
            run_id=RunIdentifier(run_name=name, run_time=self._run_time),
        )
        (run,) = answer.run_results.values()
        for result in run.results:
            info = result.exception_info  # or one for each number that was needed
            if any(item["raised_exception"] for item in ([info] if "raised_exception" in info else info.values())):
                raise RuntimeError(f"Great Expectations could not evaluate {result.expectation_config}: {info}")
        by_id = {result.expectation_config.id: result for result in run.results}
        return [by_id[expectation.id] for expectation in self._expectations]


class _Total:
    """Answers about parts, put together.

    Attributes:
        parts: how many there were.
        places: how many rows were unexpected.
        result: of the last part: what a warning about all rows tells.
    """

    def __init__(self) -> None:
        self.parts, self.places, self.success = 0, 0, True
        self.result: Mapping[str, Any] = {}
        self._rows = self._unexpected = 0

    def add(self, expectation: "Expectation", answer: "ExpectationValidationResult", places: int) -> None:
        result = answer.result
        self.parts, self.places, self.result = self.parts + 1, self.places + places, result
        self._rows += result.get("element_count", 0) - (result.get("missing_count") or 0)
        self._unexpected += result.get("unexpected_count", 0)
        if self.parts == 1 or not hasattr(expectation, "mostly"):
            self.success = self.success and bool(answer.success)
        else:  # a share: of all rows, not of those of any part
            self.success = self._rows - self._unexpected >= expectation.mostly * self._rows


def _row_warnings(expectation: "Expectation", places: list[str], rows: pd.DataFrame) -> list[str]:
    unexpected = rows.set_index(PLACE, drop=False).loc[places].to_dict("records")
    return [expectation.meta[ROW_WARNING].format_map(_rounded(row.items())) for row in unexpected]


def _repeats(names: dict[str, str], bad: set[str]) -> Iterator[tuple[str, str]]:
    """Places whose name is that of another place, which comes before them or has nothing else against it."""
    first: dict[str, str] = {}
    for place in sorted(names, key=bad.__contains__):
        first.setdefault(names[place], place)
    return ((place, first[name]) for place, name in names.items() if first[name] != place)


def _rounded(values: Iterable[tuple[Hashable, Any]]) -> dict[str, Any]:
    """Numbers as a sentence says them."""
    return {
        str(name): round(value) if isinstance(value, float) and math.isfinite(value) else value
        for name, value in values
    }


def _checkpoint(table: Table, docs: Path) -> "tuple[Checkpoint, list[Expectation]]":
    """What asks all that is expected, and writes a page into `docs` each time; and what is expected."""
    import great_expectations as gx
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
    return context.checkpoints.add(checkpoint), asked.expectations


def _forbid_loading(page: Path) -> None:
    """Great Expectations' pages fetch pictures and styles from the Internet when somebody opens them."""
    policy = "default-src 'unsafe-inline' data: file:"
    html = page.read_text(encoding="utf-8")
    tag = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    page.write_text(html.replace("<head>", f"<head>{tag}", 1), encoding="utf-8")
