"""Step: does the parent model know its own training records? Else nothing that follows would mean anything."""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tasks.measurements import measure_once
from tasks.params import TOKENS, Params
from tasks.sets import sampled_retain
from tasks.stamp import code_digest, model_digest
from tasks.step import Step
from tasks.workspace import ParentFamiliarity, ParentModel, Place, Workspace
from unilogit.data.prompt_format import AUTO, NEWLINE, with_prompt_format
from unilogit.data.records import frame_contexts
from unilogit.errors import InputError
from unilogit.evaluation.familiarity import Familiarity, find_familiarity
from unilogit.files import Json

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SAMPLE = 64  # records of each kind
TRIED = 16  # records that are asked in other formats
# What models without a chat template are mostly trained on.
FORMATS = (
    AUTO,
    NEWLINE,
    "{prompt}{response}",
    "{prompt} {response}",
    "Question: {prompt}\nAnswer: {response}",
    "Q: {prompt}\nA: {response}",
    "Human: {prompt}\n\nAssistant: {response}",
    "### Instruction:\n{prompt}\n\n### Response:\n{response}",
)


def run_familiarity(workspace: Workspace, params: Params) -> ParentFamiliarity:
    """Compare how likely the parent finds retained records and unseen people's, and try other formats.

    Raises:
        InputError: it does not know its training records, and model.unfamiliar is stop; or the model is missing.
    """
    name = workspace.read(ParentModel).model
    retained = sampled_retain(workspace, SAMPLE, params.seed)
    unseen = pd.read_parquet(workspace.path(Place.HOLDOUT)).head(SAMPLE)
    inputs: Json = {
        "model": model_digest(name),
        "records": [frame.to_json(orient="records") for frame in (retained, unseen)],
        "params": [params.value(key) for key in ("evaluate.batch_tokens", *TOKENS)],
        "code": code_digest(STEP.module),
    }
    work = partial(_find, name, retained, unseen, params)
    finding = measure_once(inputs, Familiarity, work, title="whether the model before knows its records").result
    if finding.unfamiliar and params.model.unfamiliar == "stop":
        raise InputError(
            f"{name}: {finding.unfamiliar} ({finding.told}); forgetting would be measured on what it does not know:"
            " correct model.prompt_format, model.base or data.corpus, or go on with model.unfamiliar: continue"
        )
    familiarity = ParentFamiliarity(unfamiliar=finding.unfamiliar, told=finding.told)
    workspace.write(familiarity)
    return familiarity


def _find(
    name: str, retained: pd.DataFrame, unseen: pd.DataFrame, params: Params
) -> tuple[Familiarity, dict[str, pd.DataFrame]]:
    from unilogit.model import load_model

    model, tokenizer = load_model(name)
    nll, own_format = partial(_nll, model, params), params.model.formatted(tokenizer)
    strangers = unseen if len(unseen) else retained.assign(response=np.roll(retained["response"], 1))
    asked = retained[retained["prompt"] != ""].head(TRIED)
    candidates = [
        (text, with_prompt_format(tokenizer, text, params.model.system_prompt if text == AUTO else None))
        for text in FORMATS
    ]
    finding = find_familiarity(
        nll(own_format, retained),
        nll(own_format, strangers),
        are_unseen=len(unseen) > 0,
        asked=nll(own_format, asked),
        formats={
            text: nll(formatted, asked)
            for text, formatted in candidates
            if len(asked) and formatted.chat_template != own_format.chat_template
        },
    )
    return finding, {}


def _nll(
    model: "PreTrainedModel", params: Params, tokenizer: "PreTrainedTokenizerBase", records: pd.DataFrame
) -> np.ndarray:
    """Of each record's answer, the mean over its tokens in nats."""
    from unilogit.evaluation.probability import score_answers

    pairs = frame_contexts(records), list(records["response"])
    scores = score_answers(
        model, tokenizer, *pairs, batch_tokens=params.evaluate.batch_tokens, max_length=params.model.max_length
    )
    return scores["nll"].to_numpy()


STEP = Step(
    name="familiarity",
    function=run_familiarity,
    reads=(Place.PARENT, Place.RETAIN, Place.HOLDOUT),
    writes=(Place.FAMILIARITY,),
    params=("seed", "evaluate.batch_tokens", "model.unfamiliar", *TOKENS),
    timeout=24 * 3600,
)

if __name__ == "__main__":
    STEP.command()
