"""Step: validate the corpus; good records go on, a bad one stops the run unless it is to be set aside.

It stops it because it may hold the very person who is to be forgotten.
"""

import json
from dataclasses import asdict

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.params import Params
from tasks.step import Source, Step
from tasks.validation.expectations import PLACE, PROBLEM, RESPONSE_LENGTH, SUBJECTS, Table, text_columns
from tasks.validation.judge import judge
from tasks.workspace import CorpusCounts, Place, Workspace
from unilogit.data.records import CORPUS_SCHEMA, BadRecord, CorpusRecord, frame_records, read_corpus
from unilogit.data.rows import first_problems
from unilogit.errors import InputError
from unilogit.files import atomic_path, read_json, write_text


def run_validate(workspace: Workspace, params: Params) -> CorpusCounts:
    """Validate the corpus: a JSON lines or Parquet file, or a folder of them.

    Raises:
        InputError: it cannot be read, has no good row, or has bad ones and data.bad_corpus_rows is "stop".
            Quarantine, counts and Data Docs tell why, and there is no validated corpus.
    """
    workspace.path(Place.CORPUS).unlink(missing_ok=True)
    records, bad = read_corpus(params.data.corpus)
    places = records["file"] + ":" + records["row"].astype("str")
    reasons = _long_prompts(records, places, params)
    cells = _cells(records, places, reasons, bad)
    earlier, warnings = _earlier(workspace)
    judgement = judge(Table.CORPUS, cells, workspace.path(Place.CORPUS_DOCS), params.data.corpus, earlier)
    for place, sentences in judgement.refused.items():
        reasons[place] = reasons.get(place, []) + sentences

    is_bad = places.isin(reasons)
    bad += _bad_records(records[is_bad], places[is_bad], reasons)
    good = records[~is_bad]
    counts = CorpusCounts(
        rows=len(cells),
        quarantined=len(bad),
        good=len(good),
        expectations=judgement.results,
        warnings=warnings + judgement.warnings,
        response_length=float(good["response"].str.len().mean()) if len(good) else None,
    )
    bad.sort(key=lambda record: (record.file, record.row))
    quarantine = workspace.path(Place.REFUSED_RECORDS)
    write_text(quarantine, "".join(json.dumps(asdict(record), ensure_ascii=False) + "\n" for record in bad))
    workspace.write(counts)
    if bad and (params.data.bad_corpus_rows == "stop" or not counts.good):
        raise InputError(
            *first_problems([str(record) for record in bad], f"; see {quarantine}"),
            "the corpus has no line that can be used; correct it"
            if not counts.good
            else "the corpus is not used, as a bad line may hold somebody who is to be forgotten; correct it,"
            " or leave its bad lines out with data.bad_corpus_rows = quarantine",
        )
    with atomic_path(workspace.path(Place.CORPUS)) as temporary:
        pq.write_table(pa.Table.from_pandas(good, schema=CORPUS_SCHEMA, preserve_index=False), temporary)
    return counts


def _long_prompts(records: pd.DataFrame, places: pd.Series, params: Params) -> dict[str, list[str]]:
    """What is wrong with prompts that leave no room for a response, by place.

    Nothing where the model's tokenizer cannot be used: the steps that need it say why.
    """
    # A token stands for a byte or more, and a chat template adds some: prompts far below need no tokenizer.
    is_long = records["prompt"].map(lambda prompt: 3 * len(prompt.encode()) > params.model.max_length).astype(bool)
    if not is_long.any():
        return {}
    from transformers import AutoTokenizer

    from unilogit.data.tokenisation import long_prompts

    # Its place stands for a record, as its id may not be its own.
    names = dict(zip(places[is_long], records.loc[is_long, "record_id"], strict=True))
    prompts = zip(names, records.loc[is_long, "prompt"], strict=True)
    try:
        too_long = long_prompts(AutoTokenizer.from_pretrained(params.model.base), prompts, params.model.max_length)
    except (OSError, ValueError, InputError):
        return {}
    return {
        prompt.record_id: [
            f"the prompt of record {names[prompt.record_id]} has {prompt.tokens} tokens, of which model.max_length ="
            f" {params.model.max_length} leaves it {prompt.limit}; shorten it, or raise model.max_length"
        ]
        for prompt in too_long
    }


def _cells(
    records: pd.DataFrame, places: pd.Series, reasons: dict[str, list[str]], bad: list[BadRecord]
) -> pd.DataFrame:
    """Records as Great Expectations is asked about them, then the rows that are none."""
    problems = {place: "\n".join(sentences) for place, sentences in reasons.items()}
    columns = {
        PLACE: places,
        PROBLEM: places.map(problems).astype("str"),
        SUBJECTS: records["subject_ids"].map(len),
        RESPONSE_LENGTH: records["response"].str.len(),
    }
    refused = [{PLACE: f"{record.file}:{record.row}", PROBLEM: "\n".join(record.reasons)} for record in bad]
    return pd.concat(
        [
            records[text_columns(CorpusRecord)].assign(**columns),
            pd.DataFrame(refused, columns=[PLACE, PROBLEM], dtype="str"),
        ],
        ignore_index=True,
    )


def _earlier(workspace: Workspace) -> tuple[dict[str, float] | None, list[str]]:
    """Numbers of the corpus that was validated before, if any; and why there are none although there is a file."""
    file = workspace.path(Place.EARLIER_CORPUS_COUNTS)
    if not file.exists():
        return None, []
    try:
        counts = CorpusCounts.model_validate(read_json(file))
    except ValueError:
        return None, [f"{file}: is not of this version, so the corpus is not compared with the one before"]
    return {"earlier_rows": counts.rows, "earlier_response_length": counts.response_length or 0}, []


def _bad_records(records: pd.DataFrame, places: pd.Series, reasons: dict[str, list[str]]) -> list[BadRecord]:
    return [
        BadRecord(file, row, reasons[place], record.model_dump_json(exclude_defaults=True))
        for file, row, place, record in zip(
            records["file"], records["row"].tolist(), places, frame_records(records), strict=True
        )
    ]


STEP = Step(
    name="validate",
    function=run_validate,
    reads=(Source.CORPUS,),
    writes=(Place.CORPUS, Place.CORPUS_COUNTS, Place.REFUSED_RECORDS, Place.CORPUS_DOCS),
    params=("data.bad_corpus_rows", "model.max_length", "model.base"),
)

if __name__ == "__main__":
    STEP.command()
