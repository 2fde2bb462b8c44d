"""Models loaded, taken apart and saved, against what transformers does with them whole."""

import json
import logging

import pytest
import torch
from safetensors import safe_open
from torch import nn
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from tests.tiny_models import FAMILIES, WITHOUT_PLAIN_HEAD, V, tiny
from unilogit import model as module
from unilogit.errors import InputError
from unilogit.files import read_json, write_json
from unilogit.kernels import group_means
from unilogit.model import HeadScorer, LogitScorer, checkpoint_dtype, load_model, make_scorer, save_model
from unilogit.training.config import UnlearnConfig
from unilogit.training.from_scratch import train_tokenizer
from unilogit.training.lora import add_lora

IDS = torch.tensor([[1, 5, 9, 13, 2], [1, 6, 7, 2, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])
TOKENIZER = train_tokenizer(["a tiny text"], 300)


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_give_the_models_logits_and_scores_of_targets(family):
    model = tiny(family)
    scorer = make_scorer(model)
    assert type(scorer) is (LogitScorer if family == WITHOUT_PLAIN_HEAD else HeadScorer)
    assert (scorer.vocabulary, scorer.layers) == (V, 2)
    whole = model(IDS, attention_mask=MASK, output_hidden_states=True)
    features = scorer.features(IDS, MASK, layer=0)
    torch.testing.assert_close(features.hidden, whole.hidden_states[1])
    assert scorer.features(IDS, MASK).hidden is None
    rows, logits = features.rows.flatten(0, 1), whole.logits.flatten(0, 1)
    torch.testing.assert_close(scorer.within_head(scorer.logits, rows), logits, rtol=1e-9, atol=1e-9)
    target = torch.arange(len(rows))
    scores = scorer.within_head(scorer.score_targets, rows, target=target)
    p = logits.softmax(dim=1)[target, target]
    torch.testing.assert_close(scores.log_p.exp(), p, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(scores.log_complement.exp(), 1 - p, rtol=1e-8, atol=1e-12)


def test_both_scorers_give_one_one_pass_loss():
    """A loss that looks at whole groups: tokens of those whose mean NLL is high count nothing."""
    model, results = tiny(), []
    groups, weights = torch.tensor([0, 0, 0, 2, 2, 2, 2, 3, 3, 3]), torch.arange(1.0, 11)

    def loss(scores, rows):
        means = group_means(-scores.log_p.detach(), groups[rows])
        return torch.where(means < 5, scores.log_p * scores.log_complement, 0.0)

    for scorer in (HeadScorer(model, V), LogitScorer(model, V)):
        model.zero_grad()
        rows = scorer.features(IDS, MASK).rows.flatten(0, 1)
        result = scorer.one_pass_loss(rows, torch.arange(10), loss, weights, groups)
        result.total.backward()
        results.append([*result, *(parameter.grad for parameter in model.parameters())])
    assert 0 < (results[0][1] == 0).sum() < 10
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_a_model_that_cannot_be_taken_apart_says_so_once(caplog):
    module._warn_once.cache_clear()
    with caplog.at_level(logging.WARNING, logger="unilogit.model"):
        make_scorer(tiny(WITHOUT_PLAIN_HEAD))
        make_scorer(tiny(WITHOUT_PLAIN_HEAD))
        make_scorer(tiny())
    assert caplog.messages == [
        "ModernBertDecoderForCausalLM: its logits are more than its head's output; "
        "working with full logits, which takes memory"
    ]


def test_the_try_out_leaves_the_model_in_its_mode():
    for mode in (True, False):
        assert make_scorer(tiny().train(mode)).model.training is mode


def test_adapters_are_looked_through_and_other_modules_refused():
    model = tiny()
    scorer = make_scorer(add_lora(model, UnlearnConfig(lora_rank=2), seed=0))
    assert scorer.model is model
    with pytest.raises(TypeError, match="not Linear"):
        make_scorer(nn.Linear(2, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("declared", [True, False])
def test_a_checkpoint_is_loaded_in_float32_or_its_own_dtype(dtype, declared, tmp_path):
    model = tiny().to(dtype)
    save_model(model, TOKENIZER, tmp_path / "model")
    if not declared:
        config = read_json(tmp_path / "model" / "config.json")
        del config["dtype"]
        write_json(tmp_path / "model" / "config.json", config)
    name = str(tmp_path / "model")
    assert checkpoint_dtype(name) == dtype
    own, tokenizer = load_model(name, own_dtype=True)
    assert own.dtype == dtype
    assert tokenizer.get_vocab() == TOKENIZER.get_vocab()
    for key, value in load_model(name)[0].state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, model.state_dict()[key].float(), rtol=0, atol=0)


def test_a_tokenizer_without_padding_pads_with_its_end(tmp_path):
    tokenizer = train_tokenizer(["a"], 300)
    tokenizer.pad_token = None
    save_model(tiny(), tokenizer, tmp_path / "model")
    assert load_model(str(tmp_path / "model"))[1].pad_token == tokenizer.eos_token


@pytest.mark.parametrize("name", ["no/such/folder", "there", "."])
@pytest.mark.parametrize("load", [load_model, checkpoint_dtype])
def test_where_there_is_no_model_the_name_is_in_the_error(name, load, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match=f"^{name}: no causal language model can be loaded from there"):
        load(name)


@pytest.mark.parametrize("family", ["Llama", "Qwen2"])  # Qwen2's head is tied here
@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16])
def test_a_saved_model_is_the_model_in_the_dtype_asked_for(family, dtype, tmp_path):
    model = tiny(family)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    save_model(model, TOKENIZER, tmp_path / "model", dtype)
    assert json.loads((tmp_path / "model" / "config.json").read_text())["dtype"] == str(dtype or model.dtype)[6:]
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype="auto")
    assert loaded.state_dict().keys() == before.keys()
    for name, value in loaded.state_dict().items():
        torch.testing.assert_close(value, before[name].to(dtype or torch.float64), rtol=0, atol=0)
        torch.testing.assert_close(model.state_dict()[name], before[name], rtol=0, atol=0)
    assert loaded.config.tie_word_embeddings == (family == "Qwen2")
    with safe_open(tmp_path / "model" / "model.safetensors", "pt") as stored:
        assert len(list(stored.keys())) == len(list(model.parameters()))  # tied weights are written once


def test_a_model_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    model = tiny()
    save_model(model, TOKENIZER, tmp_path / "model")
    monkeypatch.setattr(type(TOKENIZER), "save_pretrained", lambda *_: 1 / 0)
    changed = tiny(seed=1)
    with pytest.raises(ZeroDivisionError):
        save_model(changed, TOKENIZER, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    kept = LlamaForCausalLM.from_pretrained(tmp_path / "model", dtype="auto")
    torch.testing.assert_close(kept.lm_head.weight, model.lm_head.weight)
