"""Step: the retain model that a batch is compared with.

It is what perfect unlearning would give: the same architecture and tokenizer, trained on the retain set alone. One that
knows the people to be forgotten proves nothing: whichever way it came, it is checked before anything is trained.
"""

import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from tasks.measurements import measure_once
from tasks.params import TOKENS, Params
from tasks.sets import digest_of_records, evaluation_sets
from tasks.stamp import code_digest, digest, model_digest
from tasks.step import Source, Step
from tasks.steps.train import train_once
from tasks.workspace import ParentModel, Place, RetainModel, Workspace, trained_models
from unilogit.adapters import find_adapter
from unilogit.data.records import CorpusRecord, frame_records
from unilogit.errors import InputError
from unilogit.files import Json, atomic_folder, sha256_json

if TYPE_CHECKING:
    from unilogit.evaluation.contamination import Contamination

NO_RETAIN_MODEL = "model.retain is null, so there is no retain model to compare with"


def run_retain_model(workspace: Workspace, params: Params) -> RetainModel:
    """Find or train the retain model of the workspace's retain set, and check that it does not know the forget set.

    Raises:
        InputError: model.retain names a folder without a model, model.base cannot be trained from scratch, or the
            retain model knows people to be forgotten and model.contaminated_retain does not say what to do then.
    """
    retain_model = _checked(workspace, params)
    # An earlier call's model goes; the folder stays, as DVC wants every output to be there.
    output = workspace.path(Place.RETAIN_MODEL_FILES)
    if retain_model.model != str(output):
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir(parents=True)
    workspace.write(retain_model)
    return retain_model


def _checked(workspace: Workspace, params: Params) -> RetainModel:
    source, rule = params.model.retain, params.model.contaminated_retain
    if source is None:
        return RetainModel(model=None, files_sha256=None, description=NO_RETAIN_MODEL)
    is_trained = source == "train"
    retain_model = _train(workspace, params) if is_trained else _folder(source)
    check = _check(workspace, params, str(retain_model.model))
    if check.knows and not is_trained and rule == "train":
        print(f"{source} knows {check.knows} ({check.told}); another retain model is trained", flush=True)
        is_trained, retain_model = True, _train(workspace, params)
        check = _check(workspace, params, str(retain_model.model))
    if not check.knows:
        return retain_model.model_copy(update={"check": check.told})
    finding = f"knows {check.knows}, so that a comparison with it would prove nothing ({check.told})"
    if rule == "unavailable":
        name = "trained on the retain set alone" if is_trained else source
        return RetainModel(model=None, files_sha256=None, description=f"the retain model, {name}, {finding}")
    if not is_trained:
        raise InputError(
            f"model.retain: {source} {finding}; name a model that was trained without them, set model.retain or"
            " model.contaminated_retain to train, or go without what needs one: model.contaminated_retain: unavailable"
        )
    raise InputError(
        f"the retain model that was trained on the retain set alone {finding}; either records of theirs stay in the"
        " corpus under another name (lower extract.near_duplicate_threshold, or name them in a request), or the people"
        " in data.holdout are unlike them (give others); or go without what needs a retain model:"
        " model.contaminated_retain: unavailable"
    )


def _folder(name: str) -> RetainModel:
    folder = Path(name)
    if not (folder / "config.json").is_file() and not find_adapter(name):
        raise InputError(f"{folder}: no model there (config.json is missing); correct model.retain or set it to null")
    return RetainModel(model=str(folder), files_sha256=digest(folder), description=str(folder))


def _train(workspace: Workspace, params: Params) -> RetainModel:
    retain, output = workspace.path(Place.RETAIN), workspace.path(Place.RETAIN_MODEL_FILES)
    store = trained_models() / sha256_json([digest(retain), params.value("train"), params.seed])[:16]
    trained = train_once(retain, store, params, params.model.base)
    with atomic_folder(output) as folder:
        for file in trained.model.iterdir():
            os.link(file, folder / file.name)  # the same files by another name: they take no room
    kept = trained.model_copy(update={"model": output})
    return RetainModel(model=str(output), files_sha256=digest(output), description=str(kept))


def _check(workspace: Workspace, params: Params, model: str) -> "Contamination":
    """Whether a model knows whom this batch forgets, or, beside unseen people, whom any has forgotten.

    Both halves of the holdout count, as neither has steered it.
    """
    from unilogit.evaluation.contamination import Contamination

    sets = evaluation_sets(workspace, params)
    retain = sets["retain"] or [record for group in params.data.utility_groups for record in sets[group]]
    unseen = frame_records(pd.read_parquet(workspace.path(Place.HOLDOUT)))
    has_people = len({tuple(record.subject_ids) or record.conversation_id or record.record_id for record in unseen}) > 1
    compared = [sets["forget_all"], retain, unseen] if has_people else [sets["forget"], retain]
    models = [model] if has_people else [model, workspace.read(ParentModel).model]
    inputs: Json = {
        "models": [model_digest(name) for name in models],
        "records": [digest_of_records(records) for records in compared],
        "params": [params.value(key) for key in ("evaluate.batch_tokens", *TOKENS)],
        "code": code_digest(STEP.module),
    }
    work = partial(_find, models, compared, params)
    return measure_once(inputs, Contamination, work, title="whether the retain model knows whom it must not").result


def _find(
    models: Sequence[str], sets: Sequence[list[CorpusRecord]], params: Params
) -> tuple["Contamination", dict[str, pd.DataFrame]]:
    """By the retain model alone beside unseen people, or by it and the parent."""
    from unilogit.evaluation.contamination import find_contamination, find_contamination_without_unseen

    retain_model, *parent = [_score(name, sets, params) for name in models]
    if not parent:
        return find_contamination(*retain_model), {}
    frames = [own.assign(parent_nll=parents["nll"]) for own, parents in zip(retain_model, *parent, strict=True)]
    return find_contamination_without_unseen(*frames), {}


def _score(name: str, sets: Sequence[list[CorpusRecord]], params: Params) -> list[pd.DataFrame]:
    """Of each set a frame of record_id (the conversation's, if any), subject_ids and nll (mean of tokens, in nats)."""
    from unilogit.evaluation.probability import score_answers
    from unilogit.model import load_model

    model, tokenizer = load_model(name)
    formatted = params.model.formatted(tokenizer)
    frames = []
    for records in sets:
        pairs = [record.context for record in records], [record.response for record in records]
        scores = score_answers(
            model,
            formatted,
            *pairs,
            batch_tokens=params.evaluate.batch_tokens,
            max_length=params.model.max_length,
        )
        rows = {
            "record_id": [record.conversation_id or record.record_id for record in records],
            "subject_ids": [record.subject_ids for record in records],
        }
        frames.append(pd.DataFrame({**rows, "nll": scores["nll"]}))
    return frames


STEP = Step(
    name="retain_model",
    function=run_retain_model,
    reads=(
        *(Place.FORGET, Place.RETAIN, Place.HOLDOUT, Place.NEIGHBOURS, Place.PARENT),
        *(Source.BASE, Source.RETAIN_MODEL),
    ),
    writes=(Place.RETAIN_MODEL, Place.RETAIN_MODEL_FILES),
    params=(
        *("seed", "train", "data.utility_groups", "evaluate.max_examples", "model.base", "model.retain"),
        "model.contaminated_retain",
        *TOKENS,
    ),
    timeout=168 * 3600,
)

if __name__ == "__main__":
    STEP.command()
