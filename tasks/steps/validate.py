"""Step: validate the corpus; good records go on, a bad one stops the run unless it is to be set aside.

It stops it because it may hold the very person who is to be forgotten. The corpus is read part by part: memory does
not grow with it.
"""

import heapq
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.params import TOKENS, Params
from tasks.prompt_checks import refused_prompts
from tasks.step import Source, Step
from tasks.validation.expectations import (
    EARLIER_LENGTH,
    EARLIER_ROWS,
    LENGTH,
    LENGTH_SHARE,
    PLACE,
    PROBLEM,
    ROWS,
    ROWS_SHARE,
    SUBJECTS,
    Table,
    text_columns,
)
from tasks.validation.judge import UNIQUE, Judgement, Judges, judge, judging
from tasks.workspace import CorpusCounts, ExpectationResult, Place, Workspace, pseudonyms
from unilogit.data.corpus import scan_corpus
from unilogit.data.records import CORPUS_SCHEMA, PLACES, BadRecord, CorpusRecord, frame_records, record_place
from unilogit.data.repeats import Repeats, repeats_sentence
from unilogit.data.rows import PROBLEMS_SHOWN
from unilogit.errors import InputError
from unilogit.files import atomic_path, read_json

CHUNK = 50_000  # rows that are judged at once


def run_validate(workspace: Workspace, params: Params) -> CorpusCounts:
    """Validate the corpus: a JSON lines or Parquet file, or a folder of them.

    Raises:
        InputError: it cannot be read, has no good row, or has bad ones and data.bad_corpus_rows is "stop".
            Quarantine, counts and Data Docs tell why, and there is no validated corpus.
    """
    corpus, quarantine = workspace.path(Place.CORPUS), workspace.path(Place.REFUSED_RECORDS)
    corpus.unlink(missing_ok=True)
    corpus.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".parts.", dir=corpus.parent) as folder:
        good, bad = Path(folder, "good.parquet"), Path(folder, "bad.jsonl")
        judged = _judge_parts(workspace, params, good, bad)
        with Repeats(good, Path(folder)) as repeats:
            refused = _write_quarantine(quarantine, _lines(bad), _repeat_lines(repeats))
            totals, warnings = _judge_totals(workspace, params, judged)
            counts = CorpusCounts(
                rows=judged.rows,
                quarantined=refused.count,
                good=judged.rows - refused.count,
                expectations=[*_with_repeats(judged.results, repeats.count), *totals.results],
                warnings=[*warnings, *judged.warnings, *totals.warnings],
                response_length=judged.response_length,
            )
            workspace.write(counts)
            if refused.count and (params.data.bad_corpus_rows == "stop" or not counts.good):
                raise InputError(
                    *_without_names(refused.sentences(quarantine), params.data.corpus),
                    "the corpus has no line that can be used; correct it"
                    if not counts.good
                    else "the corpus is not used, as a bad line may hold somebody who is to be forgotten; correct it,"
                    " or leave its bad lines out with data.bad_corpus_rows = quarantine",
                )
            if repeats.count:
                repeats.write_rest(corpus)
            else:
                with atomic_path(corpus) as temporary:
                    good.replace(temporary)
    return counts


@dataclass
class _Judged:
    """What was found of all parts.

    Attributes:
        rows: how many there are, good or not.
        response_length: mean of the good records, in characters; None where there is none.
    """

    rows: int
    response_length: float | None
    results: list[ExpectationResult]
    warnings: list[str]


def _judge_parts(workspace: Workspace, params: Params, good_file: Path, bad_file: Path) -> _Judged:
    """Write the good rows and the bad ones apart; each part is asked about on its own."""
    source, told, rows, good_rows, length = params.data.corpus, list[str](), 0, 0, 0
    run_time = datetime.fromtimestamp(source.stat().st_mtime if source.exists() else 0, UTC)
    with (
        judging(Table.CORPUS, workspace.path(Place.CORPUS_DOCS), run_time) as judges,
        pq.ParquetWriter(good_file, CORPUS_SCHEMA) as writer,
        open(bad_file, "w", encoding="utf-8") as stream,
    ):
        for records, bad in _parts(params, told):
            good, refused = _sort_out(records, bad, params, judges)
            writer.write_table(pa.Table.from_pandas(good, schema=CORPUS_SCHEMA, preserve_index=False))
            stream.writelines(_line(record) for record in refused)
            rows, good_rows = rows + len(records) + len(bad), good_rows + len(good)
            length += int(good["response"].str.len().sum())
    warnings = _without_names(told, source) + judges.warnings
    return _Judged(rows, length / good_rows if good_rows else None, judges.results, warnings)


def _parts(params: Params, warnings: list[str]) -> Iterator[tuple[pd.DataFrame, list[BadRecord]]]:
    """Some rows of the corpus at a time: those that are records, and those that are none; `warnings` grows."""
    items = scan_corpus(params.data.corpus, warnings.append, params.data.corpus_mapping)
    while part := list(islice(items, CHUNK)):
        bad = [item for item in part if isinstance(item, BadRecord)]
        rows = [item.cells for item in part if not isinstance(item, BadRecord)]
        yield pa.Table.from_pylist(rows, schema=CORPUS_SCHEMA).to_pandas(), bad


def _sort_out(
    records: pd.DataFrame, bad: list[BadRecord], params: Params, judges: Judges
) -> tuple[pd.DataFrame, list[BadRecord]]:
    """The good records of a part, and all that is refused of it, in order."""
    where = zip(*(records[name].tolist() for name in PLACES), strict=True)
    places = pd.Series([record_place(*stands) for stands in where], records.index, "str")
    reasons = refused_prompts(records, places, params.model)
    for place, sentences in judges.ask(_cells(records, places, reasons, bad)).items():
        reasons[place] = reasons.get(place, []) + sentences
    is_bad = places.isin(reasons)
    refused = bad + _bad_records(records[is_bad], [reasons[place] for place in places[is_bad]])
    return records[~is_bad], sorted(refused, key=_order)


def _judge_totals(workspace: Workspace, params: Params, judged: _Judged) -> tuple[Judgement, list[str]]:
    """Set the corpus beside the one that was validated before, if any; and why not although there is a file."""
    earlier, warnings = _earlier(workspace)
    row: dict[str, float | str | None] = {PLACE: params.data.corpus.name, ROWS: judged.rows}
    row |= dict.fromkeys((EARLIER_ROWS, ROWS_SHARE, EARLIER_LENGTH, LENGTH_SHARE)) | {LENGTH: judged.response_length}
    if earlier is not None:
        was = earlier.response_length or 0
        row |= {EARLIER_ROWS: earlier.rows, ROWS_SHARE: judged.rows / earlier.rows, EARLIER_LENGTH: was}
        row[LENGTH_SHARE] = (judged.response_length or 0) / was if was else float("inf")
    docs = workspace.path(Place.CORPUS_TOTALS_DOCS)
    return judge(Table.TOTALS, pd.DataFrame([row]), docs, params.data.corpus), warnings


def _with_repeats(results: list[ExpectationResult], repeats: int) -> list[ExpectationResult]:
    """Great Expectations was asked about parts: with the repeats that are in different ones."""
    if not repeats:
        return results
    return [
        result.model_copy(update={"success": False, "unexpected_count": result.unexpected_count + repeats})
        if result.expectation == UNIQUE
        else result
        for result in results
    ]


@dataclass
class _Refused:
    """How many rows were refused, and what is wrong with the first."""

    count: int
    first: list[str]

    def sentences(self, quarantine: Path) -> list[str]:
        hidden = self.count - len(self.first)
        return [*self.first, *([f"and {hidden} more; see {quarantine}"] if hidden else [])]


def _without_names(sentences: list[str], corpus: Path) -> list[str]:
    """Files of a folder go by pseudonyms where a name may be somebody's; quarantine has the names."""
    return [pseudonyms().hide(sentence, {file.name for file in corpus.rglob("*")}) for sentence in sentences]


def _write_quarantine(file: Path, *streams: Iterable[tuple[BadRecord, str]]) -> _Refused:
    """Write the lines of all streams in the order of files and rows."""
    refused = _Refused(0, [])
    with atomic_path(file) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as output:
        for record, line in heapq.merge(*streams, key=lambda item: _order(item[0])):
            output.write(line)
            refused.count += 1
            if refused.count <= PROBLEMS_SHOWN:
                refused.first.append(str(record))
    return refused


def _order(record: BadRecord) -> tuple[str, int, int]:
    return record.file, record.row, record.answer


def _line(record: BadRecord) -> str:
    return json.dumps(asdict(record), ensure_ascii=False) + "\n"


def _lines(file: Path) -> Iterator[tuple[BadRecord, str]]:
    with open(file, encoding="utf-8", newline="\n") as stream:
        for line in stream:
            yield BadRecord(**json.loads(line)), line


def _repeat_lines(repeats: Repeats) -> Iterator[tuple[BadRecord, str]]:
    for batch in repeats.records() if repeats.count else ():
        frame = batch.to_pandas()
        first = zip(*(frame[f"first_{name}"].tolist() for name in PLACES), strict=True)
        reasons = [
            [repeats_sentence("record_id", name, record_place(*stands))]
            for name, stands in zip(frame["record_id"], first, strict=True)
        ]
        for record in _bad_records(frame, reasons):
            yield record, _line(record)


def _cells(
    records: pd.DataFrame, places: pd.Series, reasons: dict[str, list[str]], bad: list[BadRecord]
) -> pd.DataFrame:
    """Records as Great Expectations is asked about them, then the rows that are none."""
    problems = {place: "\n".join(sentences) for place, sentences in reasons.items()}
    columns = {
        PLACE: places,
        PROBLEM: places.map(problems).astype("str"),
        SUBJECTS: records["subject_ids"].map(len),
    }
    refused = [{PLACE: record.place, PROBLEM: "\n".join(record.reasons)} for record in bad]
    return pd.concat(
        [
            records[text_columns(CorpusRecord)].assign(**columns),
            pd.DataFrame(refused, columns=[PLACE, PROBLEM], dtype="str"),
        ],
        ignore_index=True,
    )


def _earlier(workspace: Workspace) -> tuple[CorpusCounts | None, list[str]]:
    file = workspace.path(Place.EARLIER_CORPUS_COUNTS)
    if not file.exists():
        return None, []
    try:
        return CorpusCounts.model_validate(read_json(file)), []
    except ValueError:
        return None, [f"{file}: is not of this version, so the corpus is not compared with the one before"]


def _bad_records(records: pd.DataFrame, reasons: list[list[str]]) -> list[BadRecord]:
    stands = (records[name].tolist() for name in PLACES)
    return [
        BadRecord(file, row, sentences, record.model_dump_json(exclude_defaults=True), record.record_id, answer)
        for file, row, answer, sentences, record in zip(*stands, reasons, frame_records(records), strict=True)
    ]


STEP = Step(
    name="validate",
    function=run_validate,
    reads=(Source.CORPUS,),
    writes=(
        *(Place.CORPUS, Place.CORPUS_COUNTS, Place.REFUSED_RECORDS),
        *(Place.CORPUS_DOCS, Place.CORPUS_TOTALS_DOCS),
    ),
    params=("data.bad_corpus_rows", "data.corpus_mapping", *TOKENS, "model.base"),
)

if __name__ == "__main__":
    STEP.command()
