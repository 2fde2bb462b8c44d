"""TOFU: questions and answers on 200 fictitious authors, of whom some are to be forgotten.

Source: Maini et al. 2024, arXiv 2401.06121; files and fields as in the hub dataset locuslab/TOFU, as
OpenUnlearning evaluates on them. Knows nothing of models.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from unilogit.data.records import Answer, CorpusRecord
from unilogit.errors import InputError
from unilogit.evaluation.benchmarks.suite import Suite
from unilogit.evaluation.benchmarks.tables import TableRow, Text, list_tables, read_table

SPLITS = ("forget01", "forget05", "forget10")
ROWS_PER_AUTHOR = 20


class QuestionAnswer(TableRow):
    """A row of the training and holdout tables."""

    question: Text
    answer: Answer


class Perturbed(QuestionAnswer):
    """A row of real_authors_perturbed and world_facts_perturbed: wrong answers beside the right one."""

    perturbed_answer: Annotated[list[Text], Field(min_length=1)]


class Paraphrased(Perturbed):
    """A row of forgetXX_perturbed and retain_perturbed: the fact in other words, too."""

    paraphrased_question: Text
    paraphrased_answer: Text


def read_tofu(source: Path | str, split: str = "forget10") -> Suite:
    """Read TOFU for one forget split.

    Evaluation sets: forget (forgetXX_perturbed), retain (retain_perturbed), real_authors and world_facts
    (their perturbed tables), holdout (holdoutXX, or holdout10 where there is no other). Training sets: full,
    and the retainYY that belongs to the split. A record's subject is the author under whose rows of `full` it
    stands; real people and the holdout's authors, who are not there, have none.

    Args:
        source: a folder of JSON lines or Parquet files named as the tables are, or a hub dataset.
        split: forget01, forget05 or forget10: per cent of the authors.

    Raises:
        InputError: the split is not known, or what `read_table` raises.
    """
    if split not in SPLITS:
        raise InputError(f"{split}: is no forget split of tofu; write one of {', '.join(SPLITS)}")
    per_cent = split.removeprefix("forget")
    retain = f"retain{100 - int(per_cent)}"
    tables = list_tables(source)
    holdout = f"holdout{per_cent}" if f"holdout{per_cent}" in tables else "holdout10"
    if retain not in tables:
        raise InputError(f"{source}: the table `{retain}` is missing; add {retain}.jsonl")
    full = read_table(source, "full", QuestionAnswer)
    author_of = {(row.question, row.answer): _author(place) for place, row in enumerate(full)}

    def read(table: str, kind: type[QuestionAnswer], group: str = "") -> list[CorpusRecord]:
        rows = read_table(source, table, kind)
        return _records(table.removesuffix("_perturbed"), rows, author_of, group)

    return Suite(
        name=f"tofu {split}",
        sets={
            "forget": read(f"{split}_perturbed", Paraphrased),
            "retain": read("retain_perturbed", Paraphrased),
            "real_authors": read("real_authors_perturbed", Perturbed, "real_authors"),
            "world_facts": read("world_facts_perturbed", Perturbed, "world_facts"),
            "holdout": read(holdout, QuestionAnswer),
        },
        utility_sets=("retain", "real_authors", "world_facts"),
        training={
            "full": lambda: _records("full", full, author_of),
            retain: lambda: read(retain, QuestionAnswer),
        },
    )


def _author(place: int) -> str:
    return f"author-{place // ROWS_PER_AUTHOR:03d}"


def _records(
    name: str, rows: Sequence[QuestionAnswer], author_of: Mapping[tuple[str, str], str], group: str = ""
) -> list[CorpusRecord]:
    return [
        CorpusRecord(
            record_id=f"{name}-{place:04d}",
            subject_ids=[author_of[key]] if (key := (row.question, row.answer)) in author_of else [],
            prompt=row.question,
            response=row.answer,
            paraphrased_prompt=row.paraphrased_question if isinstance(row, Paraphrased) else None,
            paraphrased_response=row.paraphrased_answer if isinstance(row, Paraphrased) else None,
            perturbed_responses=row.perturbed_answer if isinstance(row, Perturbed) else [],
            group=group,
        )
        for place, row in enumerate(rows)
    ]
