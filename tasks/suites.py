"""What Great Expectations is asked about requests and corpus, and its answers row by row.

Each check pairs an expectation, which the Data Docs show, with the sentence a person reads when a row
fails it. Knows nothing of files or of what becomes of a bad row.
"""

import logging
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

os.environ["GX_ANALYTICS_ENABLED"] = "false"

PLACE = "place"
IDENTIFIER_LENGTH = 200


@dataclass(frozen=True)
class Check:
    """An expectation, and why a row that fails it is refused; no reason where the caller words its own."""

    expectation: Any
    reason: str = ""


@dataclass(frozen=True)
class Outcome:
    """How one check went.

    Attributes:
        check: what was asked.
        places: the values of the column `place` of the rows that failed, in order.
    """

    check: Check
    places: list[str]


def request_checks() -> list[Check]:
    """Checks of a frame with the request fields plus, derived from them: `received_at_reads` and `due_at_reads`
    (bool, null where nothing was given), `received_at_utc` and `due_at_utc` (times), `selectors` (count)
    and `refusal` (what the request model refuses, else null).
    """
    from great_expectations import expectations as gxe

    time = "must be a time with a time zone in the form of RFC 3339; write it like 2025-03-01T12:00:00Z"
    return [
        Check(
            gxe.ExpectColumnValuesToNotBeNull(column="request_id"),
            "field `request_id` is missing; give the request an id of its own",
        ),
        Check(gxe.ExpectColumnValuesToBeUnique(column="request_id")),
        Check(
            gxe.ExpectColumnValuesToNotBeNull(column="received_at"),
            "field `received_at` is missing; add the time the request came in, like 2025-03-01T12:00:00Z",
        ),
        Check(
            gxe.ExpectColumnValuesToBeInSet(column="received_at_reads", value_set=[True]),
            f"field `received_at` {time}",
        ),
        Check(gxe.ExpectColumnValuesToBeInSet(column="due_at_reads", value_set=[True]), f"field `due_at` {time}"),
        Check(
            gxe.ExpectColumnPairValuesAToBeGreaterThanB(
                column_A="due_at_utc",
                column_B="received_at_utc",
                or_equal=True,
                ignore_row_if="either_value_is_missing",
            ),
            "field `due_at` is earlier than `received_at`; correct one of them",
        ),
        Check(
            gxe.ExpectColumnValuesToBeBetween(column="selectors", min_value=1),
            "nothing says what to forget; fill in `subject_id`, `record_ids` or `text`",
        ),
        *[
            Check(
                gxe.ExpectColumnValueLengthsToBeBetween(column=name, max_value=IDENTIFIER_LENGTH),
                f"field `{name}` is longer than {IDENTIFIER_LENGTH} characters; shorten it",
            )
            for name in ("request_id", "subject_id")
        ],
        Check(gxe.ExpectColumnValuesToBeNull(column="refusal")),
    ]


def corpus_checks() -> list[Check]:
    """Checks of a frame with record_id, prompt, response and `problem` (why a row is no record, else null)."""
    from great_expectations import expectations as gxe
    from great_expectations.expectations.row_conditions import Column

    of_records = {"row_condition": Column("problem").is_null()}
    return [
        Check(gxe.ExpectColumnValuesToBeNull(column="problem")),
        Check(
            gxe.ExpectColumnValuesToNotBeNull(column="record_id", **of_records),
            "field `record_id` is missing; add it or remove the line",
        ),
        Check(gxe.ExpectColumnValuesToBeUnique(column="record_id", **of_records)),
        Check(
            gxe.ExpectColumnValuesToNotBeNull(column="prompt", **of_records),
            'field `prompt` is missing; add it ("" for plain text) or remove the line',
        ),
        Check(
            gxe.ExpectColumnValuesToMatchRegex(column="response", regex=r"\S", **of_records),
            "field `response` holds only white space; write the answer or remove the line",
        ),
    ]


def run_suites(
    suites: dict[str, tuple[pd.DataFrame, list[Check]]], docs: Path, run_time: datetime
) -> dict[str, list[Outcome]]:
    """Ask Great Expectations every check of every suite, and write its Data Docs (HTML) to `docs`.

    Args:
        suites: by name, a frame with a column `place` (unique) and the checks of its rows.
        docs: the folder to fill; its index.html leads to every suite's page.
        run_time: what the pages show as the time of the run.

    Raises:
        RuntimeError: Great Expectations could not evaluate a check.
    """
    import great_expectations as gx
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.base import ProgressBarsConfig

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
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
    source = context.data_sources.add_pandas("files")
    outcomes = {}
    for name, (frame, checks) in suites.items():
        definition = gx.ValidationDefinition(
            name=name,
            data=source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all rows"),
            suite=context.suites.add(gx.ExpectationSuite(name, [check.expectation for check in checks])),
        )
        checkpoint = gx.Checkpoint(
            name,
            validation_definitions=[context.validation_definitions.add(definition)],
            actions=[gx.checkpoint.UpdateDataDocsAction(name="data docs")],
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [PLACE]},
        )
        answer = context.checkpoints.add(checkpoint).run(
            batch_parameters={"dataframe": frame}, run_id=RunIdentifier(run_name=name, run_time=run_time)
        )
        (result,) = answer.run_results.values()
        outcomes[name] = _outcomes(checks, result.results)
    return outcomes


def _outcomes(checks: list[Check], results: list[Any]) -> list[Outcome]:
    by_id = {result.expectation_config.id: result for result in results}
    outcomes = []
    for check in checks:
        result = by_id[check.expectation.id]
        places = [row[PLACE] for row in result.result.get("unexpected_index_list") or []]
        if result.success == bool(places):
            raise RuntimeError(f"Great Expectations could not evaluate {check.expectation}: {result.exception_info}")
        outcomes.append(Outcome(check, places))
    return outcomes
