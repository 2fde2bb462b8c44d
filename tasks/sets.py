"""Which records are measured, and what the models are called beside each other.

Knows the sets of a workspace; nothing of how they are measured.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.params import Params
from tasks.workspace import Place, Workspace
from unilogit.data.parquet_rows import rows_at, sample_rows
from unilogit.data.prompt_format import Prompt
from unilogit.data.records import CorpusRecord, frame_contexts, frame_records, schema_of_exchanges
from unilogit.errors import InputError
from unilogit.files import sha256_json

PARENT, UNLEARNED, RETAIN_MODEL = "before", "after", "retain_model"  # roles of models in what is measured


def current_forget_set(workspace: Workspace) -> pd.DataFrame:
    """The records that this batch asks to forget.

    Raises:
        InputError: there are none.
    """
    forget = pd.read_parquet(workspace.path(Place.FORGET))
    current = forget[forget["batch"] == "current"]
    if current.empty:
        raise InputError(f"{workspace.path(Place.FORGET)}: nothing in it is to be forgotten by this batch")
    return current


def evaluation_sets(workspace: Workspace, params: Params) -> dict[str, list[CorpusRecord]]:
    """What is measured: forget sets and holdout whole, the rest sampled with the seed."""
    forget, neighbours, holdout = (
        pd.read_parquet(workspace.path(place)) for place in (Place.FORGET, Place.NEIGHBOURS, Place.HOLDOUT)
    )
    frames = {
        "forget": current_forget_set(workspace),
        "forget_all": forget,
        **_retain_sets(workspace, params),
        **({"neighbours": _sampled(neighbours, params)} if len(neighbours) else {}),
        "holdout": holdout[holdout["use"] == "evaluate"],
    }
    return {name: frame_records(frame) for name, frame in frames.items()}


def sampled_retain(workspace: Workspace, wanted: int, seed: int) -> pd.DataFrame:
    """What is asked and answered in so many records of the retain set, in their order; all where there are fewer."""
    file = workspace.path(Place.RETAIN)
    schema = schema_of_exchanges(file)
    numbers = sample_rows(pq.read_metadata(file).num_rows, wanted, seed)
    return pa.Table.from_batches(rows_at(file, numbers, schema.names), schema).to_pandas()


def pairs_of(frame: pd.DataFrame) -> list[tuple[Prompt, str]]:
    """What is asked, and the response, of each row."""
    return list(zip(frame_contexts(frame), frame["response"], strict=True))


def digest_of_records(records: Iterable[CorpusRecord]) -> str:
    """Of all that they say, in order."""
    return sha256_json([record.model_dump() for record in records])


def _retain_sets(workspace: Workspace, params: Params) -> dict[str, pd.DataFrame]:
    """Samples of the retain set and of its groups; of the file, only these rows are read whole."""
    file = workspace.path(Place.RETAIN)
    names = pq.read_table(file, columns=["group"], read_dictionary=["group"])["group"].unify_dictionaries()
    groups = pd.Series(names.to_pandas())
    is_apart = groups.isin(params.data.utility_groups)
    numbers = {"retain": groups.index[~is_apart]}
    numbers |= {group: groups.index[groups == group] for group in params.data.utility_groups}
    return {name: _rows(file, _sampled(rows.to_series(), params).to_numpy()) for name, rows in numbers.items()}


def _rows(file: Path, numbers: np.ndarray) -> pd.DataFrame:
    return pa.Table.from_batches(rows_at(file, numbers), pq.read_schema(file)).to_pandas()


Sampled = TypeVar("Sampled", pd.DataFrame, pd.Series)


def _sampled(rows: Sampled, params: Params) -> Sampled:
    limit = params.evaluate.max_examples
    return rows if len(rows) <= limit else rows.sample(limit, random_state=params.seed).sort_index()
