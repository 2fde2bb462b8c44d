"""Step: what is each forget token driven to? The best source of targets is found, or 1/V is told to be all there is."""

from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.measurements import measure_once
from tasks.params import TOKENS, Params
from tasks.sets import pairs_of, sampled_retain
from tasks.stamp import code_digest, model_digest
from tasks.step import Source, Step
from tasks.workspace import ParentModel, Place, TokenTargets, Workspace
from unilogit.files import Json, atomic_path
from unilogit.training.idle_knobs import knobs_of_uniform

if TYPE_CHECKING:
    import numpy as np

QUESTIONS, UNSEEN = (
    2_000,
    400,
)  # records whose questions are asked instead; unseen people's that sources are measured on
COLUMN, SPLICED = "log_target", "spliced_log_target"
_SCHEMA = pa.schema([(name, pa.list_(pa.float32())) for name in (COLUMN, SPLICED)])


def run_targets(workspace: Workspace, params: Params) -> TokenTargets:
    """Find what each forget token is driven to, by the source that unseen people say is best.

    Raises:
        InputError: the source that unlearn.target names is not there; or a model is missing.
    """
    if reason := _why_uniform(params):
        return write_targets(workspace, TokenTargets(source=None, told=reason, correlation={}, recall={}))
    parent, pretrained = workspace.read(ParentModel).model, params.model.pretrained
    forget, holdout = (pd.read_parquet(workspace.path(place)) for place in (Place.FORGET, Place.HOLDOUT))
    sets = {
        "forget": forget,
        "retain": sampled_retain(workspace, QUESTIONS, params.seed),
        "unseen": holdout[holdout["use"] == "stop"].head(UNSEEN),
    }
    inputs: Json = {
        "models": [model_digest(parent), pretrained and model_digest(pretrained)],
        "records": {name: frame.to_json(orient="records") for name, frame in sets.items()},
        "params": [params.value(key) for key in ("seed", "unlearn.target", *TOKENS)],
        "code": code_digest(STEP.module),
    }
    work = partial(_find, parent, sets, params)
    measured = measure_once(inputs, TokenTargets, work, (COLUMN,), "what forget tokens are driven to")
    return write_targets(workspace, measured.result, measured.frames[COLUMN])


def read_targets(workspace: Workspace) -> "list[np.ndarray]":
    """Of each forget record, as `find_targets` gives them; empty for 1/V."""
    import numpy as np

    table = pd.read_parquet(workspace.path(Place.TARGETS))
    return [np.stack(rows) for rows in zip(table[COLUMN], table[SPLICED], strict=True)]


def has_targets(params: Params) -> bool:
    """Whether sources of targets are measured."""
    return not _why_uniform(params)


def _why_uniform(params: Params) -> str:
    """Empty where sources are to be measured."""
    if params.unlearn.method != "unilogit":
        return f"{params.unlearn.method} drives tokens where it does, by no target"
    if params.unlearn.target == "uniform":
        return "each forget token is driven to 1/V, as unlearn.target is uniform"
    if params.unlearn.target == "auto" and (knobs := knobs_of_uniform(params.unlearn)):
        return f"each forget token is driven to 1/V, as {knobs[0]}, which is of that alone"
    return ""


def _find(parent: str, sets: dict[str, pd.DataFrame], params: Params) -> tuple[TokenTargets, dict[str, pd.DataFrame]]:
    from unilogit.model import load_model
    from unilogit.training.targets import Unseen, find_targets

    model, tokenizer = load_model(parent)
    pretrained = None if params.model.pretrained is None else load_model(params.model.pretrained)[0]
    pairs = {name: pairs_of(frame) for name, frame in sets.items()}
    targets = find_targets(
        model,
        params.model.formatted(tokenizer),
        forget=pairs["forget"],
        retain=pairs["retain"],
        unseen=Unseen(pairs["unseen"], [frozenset(ids) for ids in sets["unseen"]["subject_ids"]]),
        source=cast("Any", params.unlearn.target),
        pretrained=pretrained,
        seed=params.seed,
        max_length=params.model.max_length,
        progress="targets",
    )
    told = TokenTargets(
        source=targets.source,
        told=targets.told,
        correlation={name: quality.correlation for name, quality in targets.qualities.items()},
        recall={name: quality.recall for name, quality in targets.qualities.items()},
    )
    columns = {name: [rows[place] for rows in targets.log_target] for place, name in enumerate((COLUMN, SPLICED))}
    return told, {COLUMN: pd.DataFrame(columns)}


def write_targets(workspace: Workspace, told: TokenTargets, log_target: pd.DataFrame | None = None) -> TokenTargets:
    """What the step leaves; see `read_targets`.

    Args:
        log_target: COLUMN and SPLICED of each forget record, arrays; None for 1/V.
    """
    columns = [pa.array([] if log_target is None else list(log_target[field.name]), field.type) for field in _SCHEMA]
    with atomic_path(workspace.path(Place.TARGETS)) as temporary:
        pq.write_table(pa.table(columns, _SCHEMA), temporary)
    workspace.write(told)
    return told


STEP = Step(
    name="targets",
    function=run_targets,
    reads=(Place.PARENT, Place.FORGET, Place.RETAIN, Place.HOLDOUT, Source.PRETRAINED),
    writes=(Place.TARGETS, Place.TARGET_SOURCE),
    params=(*("seed", "unlearn.method", "unlearn.target", "unlearn.unilogit", "evaluate.batch_tokens", *TOKENS),),
    timeout=24 * 3600,
)

if __name__ == "__main__":
    STEP.command()
