"""The unlearning step: what is missing for a method is said before anything is trained."""

import pandas as pd
import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from tasks.params import load_params
from tasks.steps.unlearn import STEP
from tasks.workspace import Place, Training, Workspace
from tests.tasks.steps.prepare import put_parent, put_targets
from unilogit.errors import InputError
from unilogit.training.from_scratch import train_tokenizer


@pytest.fixture
def workspace(tmp_path):
    rows = [{"prompt": f"Where is {n}?", "response": f"At {n}.", "use": "stop"} for n in range(6)]
    (tmp_path / "data").mkdir()
    for kind in ("forget", "retain", "holdout", "neighbours"):
        pd.DataFrame(rows).assign(batch="current").to_parquet(tmp_path / "data" / f"{kind}.parquet")
    tokenizer = train_tokenizer([row["response"] for row in rows], 300)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path / "parent")
    tokenizer.save_pretrained(tmp_path / "parent")
    put_parent(Workspace(tmp_path), tmp_path / "parent")
    put_targets(Workspace(tmp_path))
    return tmp_path


def unlearn(folder, params):
    return STEP.run(Workspace(folder), params)


def settings(*overrides):
    return load_params(
        "params.yaml", ["unlearn.epochs=1", "unlearn.min_steps=1", *(f"unlearn.{override}" for override in overrides)]
    )


def test_dpo_learns_the_records_alternatives_and_misses_them_by_name(workspace):
    forget = pd.read_parquet(workspace / "data" / "forget.parquet")
    for given, missing in ((None, 6), (["Elsewhere.", *[None] * 5], 5)):
        forget.assign(alternative_response=given).to_parquet(workspace / "data" / "forget.parquet")
        with pytest.raises(InputError, match=f"{missing} of 6 records to forget have no alternative_response"):
            unlearn(workspace, settings("method=dpo"))
    forget.assign(alternative_response="Elsewhere.").to_parquet(workspace / "data" / "forget.parquet")
    summary = unlearn(workspace, settings("method=dpo"))
    assert Workspace(workspace).read(Training) == summary.result


def test_adapters_are_saved_as_a_plain_model_and_nothing_is_done_twice(workspace):
    params = settings("lora_rank=2", "batch_size=2")
    outcome, model = unlearn(workspace, params), Workspace(workspace).path(Place.MODEL)
    assert not list(model.glob("adapter*"))
    assert not Workspace(workspace).has(Place.CHECKPOINTS)
    written = (model / "model.safetensors").stat().st_mtime_ns
    again = unlearn(workspace, params)
    assert (again.kept, again.result) == (True, outcome.result)
    assert (model / "model.safetensors").stat().st_mtime_ns == written
    names = [set(LlamaForCausalLM.from_pretrained(path).state_dict()) for path in (model, workspace / "parent")]
    assert names[0] == names[1]
