"""The unlearning step: what is missing for a method is said before anything is trained."""

import pandas as pd
import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from tasks.unlearn import run_unlearn
from unilogit.errors import InputError
from unilogit.files import read_json
from unilogit.params import load_params
from unilogit.training.from_scratch import train_tokenizer


@pytest.fixture
def workspace(tmp_path):
    rows = [{"prompt": f"Where is {n}?", "response": f"At {n}.", "use": "stop"} for n in range(6)]
    (tmp_path / "data").mkdir()
    for kind in ("forget", "retain", "holdout"):
        pd.DataFrame(rows).assign(batch="current").to_parquet(tmp_path / "data" / f"{kind}.parquet")
    tokenizer = train_tokenizer([row["response"] for row in rows], 300)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path / "parent")
    tokenizer.save_pretrained(tmp_path / "parent")
    return tmp_path


def settings(*overrides):
    return load_params("params.yaml", ["unlearn.epochs=1", *(f"unlearn.{override}" for override in overrides)])


def test_dpo_learns_the_records_alternatives_and_misses_them_by_name(workspace):
    forget = pd.read_parquet(workspace / "data" / "forget.parquet")
    for given, missing in ((None, 6), (["Elsewhere.", *[None] * 5], 5)):
        forget.assign(alternative_response=given).to_parquet(workspace / "data" / "forget.parquet")
        with pytest.raises(InputError, match=f"{missing} of 6 records to forget have no alternative_response"):
            run_unlearn(workspace, settings("method=dpo"), str(workspace / "parent"))
    forget.assign(alternative_response="Elsewhere.").to_parquet(workspace / "data" / "forget.parquet")
    summary = run_unlearn(workspace, settings("method=dpo"), str(workspace / "parent"))
    assert read_json(workspace / "training.json")["weights_sha256"] == summary.weights_sha256


def test_adapters_are_saved_as_a_plain_model_and_nothing_is_done_twice(workspace):
    params = settings("lora_rank=2", "batch_size=2")
    summary = run_unlearn(workspace, params, str(workspace / "parent"))
    assert not list(summary.model.glob("adapter*"))
    assert not (workspace / "checkpoints").exists()
    written = (summary.model / "model.safetensors").stat().st_mtime_ns
    assert run_unlearn(workspace, params, str(workspace / "parent")) == summary
    assert (summary.model / "model.safetensors").stat().st_mtime_ns == written
    names = [set(LlamaForCausalLM.from_pretrained(of).state_dict()) for of in (summary.model, workspace / "parent")]
    assert names[0] == names[1]
