"""MUSE: news articles or books to be forgotten word for word, as knowledge, and without a trace.

Source: Shi et al. 2024, arXiv 2407.06460; tables and fields as in the hub datasets muse-bench/MUSE-News and
muse-bench/MUSE-Books. Reads the data; its metrics are in muse_metrics.py.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from unilogit.data.records import Answer, CorpusRecord
from unilogit.evaluation.benchmarks.suite import Suite
from unilogit.evaluation.benchmarks.tables import TableRow, Text, list_tables, read_table

VERBMEM, KNOWMEM_FORGET, KNOWMEM_RETAIN = "verbmem", "knowmem_forget", "knowmem_retain"


class PlainText(TableRow):
    """A row of raw, privleak, scal, sust and train."""

    text: Answer

    def record(self, record_id: str) -> CorpusRecord:
        return CorpusRecord(record_id=record_id, prompt="", response=self.text)


class QuestionAnswer(TableRow):
    """A row of knowmem."""

    question: Text
    answer: Answer

    def record(self, record_id: str) -> CorpusRecord:
        return CorpusRecord(record_id=record_id, prompt=self.question, response=self.answer)


class Completion(TableRow):
    """A row of verbmem: a passage, and how it goes on (`gt`, ground truth)."""

    prompt: Text
    gt: Answer

    def record(self, record_id: str) -> CorpusRecord:
        return CorpusRecord(record_id=record_id, prompt=self.prompt, response=self.gt)


def read_muse(source: Path | str) -> Suite:
    """Read MUSE-News or MUSE-Books.

    Evaluation sets: verbmem (a passage as prompt, its continuation as response), knowmem_forget and
    knowmem_retain (question and answer, with few-shot examples where the data has them), and the texts of
    PrivLeak: forget, retain, holdout (prompt empty). Training sets: the tables of raw, train, scal and sust
    that are there, by the name of the table.

    Args:
        source: a folder of <config>/<split>.jsonl or .parquet, or a hub dataset.

    Raises:
        InputError: what `read_table` raises.
    """
    tables = {config: list_tables(source, config) for config in ("knowmem", "privleak", "raw", "train", "scal", "sust")}
    knowmem, privleak = set(tables["knowmem"]), set(tables["privleak"])
    places: dict[str, tuple[str, type[PlainText | QuestionAnswer | Completion]]] = {
        VERBMEM: ("verbmem/forget", Completion),
        KNOWMEM_FORGET: ("knowmem/forget_qa", QuestionAnswer),
        KNOWMEM_RETAIN: (_retain("knowmem/retain{}_qa", knowmem), QuestionAnswer),
        "forget": ("privleak/forget", PlainText),
        "retain": (_retain("privleak/retain{}", privleak), PlainText),
        "holdout": ("privleak/holdout", PlainText),
    }
    few_shot = {
        name: f"{places[name][0]}_icl"
        for name in (KNOWMEM_FORGET, KNOWMEM_RETAIN)
        if f"{places[name][0]}_icl" in knowmem
    }
    texts = [table for config in ("raw", "train", "scal", "sust") for table in tables[config]]
    training: dict[str, Callable[[], list[CorpusRecord]]] = {
        table: partial(_records, source, table, PlainText, table.replace("/", "-")) for table in texts
    }
    return Suite(
        name="muse",
        sets={name: _records(source, table, kind, name) for name, (table, kind) in places.items()},
        utility_sets=(KNOWMEM_RETAIN,),
        training=training,
        few_shot={name: _records(source, table, QuestionAnswer, f"{name}_icl") for name, table in few_shot.items()},
        sustainability=_forget_sets(tables["sust"]),
        scalability=_forget_sets(tables["scal"]),
    )


def _retain(table: str, tables: set[str]) -> str:
    """The retain set's name; the first releases called it by that of the raw text it was taken from, retain2."""
    old = table.format("2")
    return old if old in tables and table.format("") not in tables else table.format("")


def _forget_sets(tables: list[str]) -> tuple[str, ...]:
    """forget_1, forget_2, … by number."""
    return tuple(sorted((table for table in tables if "/forget_" in table), key=lambda table: (len(table), table)))


def _records(
    source: Path | str, table: str, kind: type[PlainText | QuestionAnswer | Completion], name: str
) -> list[CorpusRecord]:
    return [row.record(f"{name}-{place:04d}") for place, row in enumerate(read_table(source, table, kind))]
