"""Which records are measured, and what the models are called beside each other.

Knows the sets of a workspace; nothing of how they are measured.
"""

import pandas as pd

from tasks.params import Params
from tasks.workspace import Place, Workspace
from unilogit.data.records import CorpusRecord, frame_records
from unilogit.errors import InputError

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
    forget, retain, holdout = (
        pd.read_parquet(workspace.path(place)) for place in (Place.FORGET, Place.RETAIN, Place.HOLDOUT)
    )
    groups = params.data.utility_groups
    sampled = {
        "retain": retain[~retain["group"].isin(groups)],
        **{group: retain[retain["group"] == group] for group in groups},
    }
    limit, seed = params.evaluate.max_examples, params.seed
    frames = {
        "forget": current_forget_set(workspace),
        "forget_all": forget,
        **{
            name: rows if len(rows) <= limit else rows.sample(limit, random_state=seed).sort_index()
            for name, rows in sampled.items()
        },
        "holdout": holdout[holdout["use"] == "evaluate"],
    }
    return {name: frame_records(frame) for name, frame in frames.items()}
