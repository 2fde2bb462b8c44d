"""Adapters in folders: merged into their base as arithmetic has it, and refused by name where that cannot be."""

import json
import shutil
import subprocess
import sys
import warnings

import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig
from safetensors.torch import load_file, save_file

from tests.adapted import merged_by_hand, save_random_adapter
from tests.tiny import save_model
from unilogit.adapters import CONFIG, base_of, find_adapter, put_on_base, save_adapter, tokenizer_of
from unilogit.errors import InputError
from unilogit.files import read_json, sha256_file, write_json
from unilogit.model import checkpoint_dtype, load_adapted, load_model, load_tokenizer
from unilogit.training.launch import count_parameters

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A base and an adapter on it."""
    folder = tmp_path_factory.mktemp("made")
    save_model(folder / "base", 0, tie_word_embeddings=False)
    return save_random_adapter(folder / "adapter", folder / "base")


@pytest.fixture
def adapter(made, tmp_path):
    """A copy of both, to be spoilt; the adapter names its base beside it."""
    shutil.copytree(made.parent, tmp_path, dirs_exist_ok=True)
    put_on_base(tmp_path / "adapter", str(tmp_path / "base"))
    return tmp_path / "adapter"


def rewrite(adapter, **changes):
    write_json(adapter / CONFIG, read_json(adapter / CONFIG) | changes)


def refusal(adapter):
    with pytest.raises(InputError) as error:
        load_model(str(adapter))
    [problem] = error.value.problems
    assert str(adapter) in problem
    return problem


@pytest.mark.parametrize(
    ("settings", "scale"), [({}, 5 / 3), ({"use_rslora": True}, 5 / 3**0.5), ({"r": 1}, 5.0)], ids=str
)
def test_what_is_loaded_is_base_and_scaled_product(tmp_path, settings, scale):
    save_model(tmp_path / "base", 0, tie_word_embeddings=False)
    folder = save_random_adapter(tmp_path / "adapter", tmp_path / "base", **settings)
    expected = merged_by_hand(tmp_path / "base", folder, scale)
    merged, tokenizer = load_model(str(folder))
    there = merged.state_dict()
    assert expected.keys() == there.keys()
    differences = {name: (there[name].cpu().double() - expected[name]).abs().max().item() for name in expected}
    assert max(differences.values()) < 1e-6
    plain = load_file(tmp_path / "base" / "model.safetensors")
    assert max((expected[name] - plain[name].double()).abs().max().item() for name in expected) > 0.1
    assert not merged.training
    assert all(parameter.requires_grad for parameter in merged.parameters())
    beside, _ = load_adapted(str(folder))
    ids = torch.tensor([tokenizer("Where does ann live?")["input_ids"]], device=merged.device)
    with torch.no_grad():
        torch.testing.assert_close(beside(ids).logits, merged(ids).logits, rtol=1e-4, atol=1e-4)
    trained = [name for name, parameter in beside.named_parameters() if parameter.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)


def test_an_adapter_is_in_the_dtype_of_its_base_and_counts_its_parameters(adapter):
    base = str(adapter.parent / "base")
    load_model(base)[0].to(torch.bfloat16).save_pretrained(base)
    assert checkpoint_dtype(str(adapter)) == torch.bfloat16
    merged, _ = load_model(str(adapter), own_dtype=True)
    assert {parameter.dtype for parameter in merged.parameters()} == {torch.bfloat16}
    assert count_parameters(str(adapter)) == count_parameters(base) == sum(part.numel() for part in merged.parameters())


def test_the_tokenizer_is_the_adapters_own_where_it_has_one(adapter):
    base = adapter.parent / "base"
    assert tokenizer_of(str(adapter)) == str(base)
    tokenizer = load_tokenizer(str(adapter))
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    tokenizer.save_pretrained(adapter)
    assert tokenizer_of(str(adapter)) == str(adapter)
    assert load_model(str(adapter))[1].chat_template == tokenizer.chat_template
    assert load_tokenizer(str(base)).chat_template is None


@pytest.mark.parametrize("place", ["absolute", "of the current folder", "of its own folder"])
def test_the_base_is_found_where_the_adapter_says(adapter, place, monkeypatch):
    monkeypatch.chdir(adapter.parent if place == "of the current folder" else "/")
    name = {"absolute": str(adapter.parent / "base"), "of its own folder": "../base"}.get(place, "base")
    rewrite(adapter, base_model_name_or_path=name)
    assert sha256_file(f"{base_of(str(adapter))}/model.safetensors") == sha256_file(
        adapter / "../base/model.safetensors"
    )


def test_a_base_that_is_a_folder_is_not_looked_for_on_the_hub(adapter, monkeypatch):
    rewrite(adapter, base_model_name_or_path="../base")
    monkeypatch.chdir("/")
    beside, _ = load_adapted(str(adapter))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # PEFT warns when it finds no configuration there either
        beside.save_pretrained(str(adapter.parent / "checkpoint"))  # as Trainer does


def test_what_is_saved_is_the_adapter_on_the_base_it_had_and_loads_as_before(adapter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    beside, tokenizer = load_adapted("adapter")
    save_adapter(beside, tokenizer, "saved", "base")
    assert find_adapter("saved").base == str(tmp_path / "base")
    before, after = (load_file(tmp_path / folder / WEIGHTS) for folder in ("adapter", "saved"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not (tmp_path / "saved" / "README.md").exists()
    assert tokenizer_of("saved") == "saved"


def test_a_base_that_is_not_there_is_named(adapter):
    rewrite(adapter, base_model_name_or_path="/nowhere/base")
    assert "the base of its adapter, /nowhere/base, is not there" in refusal(adapter)
    rewrite(adapter, base_model_name_or_path=None)
    assert "its adapter names no base; correct base_model_name_or_path in" in refusal(adapter)


def test_a_base_of_another_shape_is_named(adapter):
    save_model(adapter.parent / "wide", 0, hidden_size=24, num_attention_heads=2)
    put_on_base(adapter, str(adapter.parent / "wide"))
    assert f"does not fit its base, {adapter.parent / 'wide'} (" in refusal(adapter)


@pytest.mark.parametrize("change", ["without one", "one more"])
def test_weights_that_are_not_those_of_the_configuration_are_named(adapter, change):
    weights = load_file(adapter / WEIGHTS)
    name = max(weights)
    if change == "without one":
        del weights[name]
    else:
        weights["base_model.model.model.embed_tokens.weight"] = torch.zeros(2, 2)
    save_file(weights, adapter / WEIGHTS)
    told = {"without one": f"it has no {name}", "one more": "does not fit"}[change]
    assert told in refusal(adapter)


def test_embeddings_that_were_saved_along_are_refused(made, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(made.parent / "base", base)
    save_random_adapter(tmp_path / "adapter", base)
    weights = load_file(tmp_path / "adapter" / WEIGHTS)
    name = "model.embed_tokens.weight"
    weights[f"base_model.model.{name}"] = load_file(base / "model.safetensors")[name] + 1
    save_file(weights, tmp_path / "adapter" / WEIGHTS)
    assert f"has more than low-rank matrices of its base's modules (base_model.model.{name})" in refusal(
        tmp_path / "adapter"
    )


def test_an_adapter_of_another_kind_is_refused(made, tmp_path):
    kind = {"num_virtual_tokens": 2, "task_type": "CAUSAL_LM"}
    folder = save_random_adapter(tmp_path / "prefix", made.parent / "base", PrefixTuningConfig, **kind)
    assert "is an adapter of the kind PREFIX_TUNING, and only LoRA can be used" in refusal(folder)


def test_several_adapters_are_told_apart(adapter):
    for name in ("one", "other"):
        shutil.copytree(adapter, adapter.parent / "both" / name)
    assert "has its adapters in folders of their own (one, other); name one of them" in refusal(adapter.parent / "both")


def test_what_could_be_either_or_neither_is_refused(adapter):
    base = adapter.parent / "base"
    shutil.copy(base / "model.safetensors", adapter)
    assert "holds a whole model (model.safetensors) and an adapter" in refusal(adapter)
    (adapter / "model.safetensors").unlink()
    shutil.copytree(adapter, adapter.parent / "second")
    put_on_base(adapter.parent / "second", str(adapter))
    assert "is an adapter itself" in refusal(adapter.parent / "second")
    (adapter / WEIGHTS).unlink()
    assert f"has {CONFIG}, but no {WEIGHTS}" in refusal(adapter)
    (adapter / CONFIG).write_text("[]")
    (adapter / WEIGHTS).touch()
    assert "is not PEFT's" in refusal(adapter)


@pytest.mark.parametrize("target", ["embed_tokens", "lm_head"])
def test_an_adapter_on_tied_embeddings_is_refused(tmp_path, target):
    save_model(tmp_path / "base", 0, tie_word_embeddings=True)
    folder = save_random_adapter(tmp_path / "adapter", tmp_path / "base", LoraConfig, target_modules=[target, "q_proj"])
    assert "cannot be merged as it was trained, as they share their weights" in refusal(folder)


def test_without_peft_it_is_said_what_to_install(adapter):
    code = f"""
import json, sys
sys.modules["peft"] = None
from unilogit import InputError, load_model
try:
    load_model({str(adapter)!r})
except InputError as error:
    print(json.dumps(error.problems))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [f"{adapter}: is an adapter, which needs PEFT; pip install 'unilogit[lora]'"]
