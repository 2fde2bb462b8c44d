"""The logit lens against a plain loop, and a model whose last layer alone hides what those before know."""

import copy

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from tests.evaluation.attacks.conftest import TOKENIZER, build
from tests.tiny_models import WITHOUT_PLAIN_HEAD, tiny
from unilogit.data.tokenisation import encode_pair
from unilogit.evaluation.attacks.logit_lens import COLUMNS, logit_lens
from unilogit.evaluation.attacks.measure import robustness_curves, robustness_metrics
from unilogit.evaluation.probability import score_answers

SETTINGS = {"batch_tokens": 800}


def by_layer(model, norm, record):
    """Probability of a response by the output of each layer but the last, in float64."""
    ids, start = encode_pair(TOKENIZER, record.prompt, record.response)
    states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
    for state in states[1:-1]:
        log_p = torch.log_softmax(model.get_output_embeddings()(norm(state))[0].double(), dim=-1)
        yield torch.stack([log_p[place - 1, ids[place]] for place in range(start, len(ids))]).mean().exp().item()


def gpt2():
    torch.manual_seed(0)
    shape = {"n_embd": 32, "n_layer": 3, "n_head": 2, "n_positions": 128}
    return GPT2LMHeadModel(GPT2Config(vocab_size=len(TOKENIZER), **shape)).eval()


@pytest.mark.parametrize(
    ("model", "norm"),
    [(build(num_hidden_layers=3), lambda model: model.model.norm), (gpt2(), lambda model: model.transformer.ln_f)],
)
@torch.no_grad()
def test_each_layer_equals_a_plain_loop(model, norm, tokenizer, records):
    for parameter in model.parameters():
        parameter.mul_(3)  # far from even chances
    found = logit_lens(model, tokenizer, records, **SETTINGS)
    assert list(found.columns) == COLUMNS
    assert found["layer"].tolist() == [1, 2, 3] * len(records)
    said = score_answers(model, tokenizer, [r.prompt for r in records], [r.response for r in records])["probability"]
    assert found[found["layer"] == 3]["probability"].tolist() == pytest.approx(said.tolist(), rel=1e-5)
    for record in records:
        own = found[(found["record_id"] == record.record_id) & (found["layer"] < 3)]["probability"].tolist()
        assert own == pytest.approx(list(by_layer(model, norm(model), record)), rel=1e-4)


def test_what_the_last_layer_hides_is_found_before_it(knowing, tokenizer, records):
    hiding = build(num_hidden_layers=3)
    hiding.load_state_dict(copy.deepcopy(knowing.state_dict()), strict=False)
    torch.nn.init.normal_(hiding.model.layers[2].mlp.down_proj.weight, std=1e3)
    [known, said] = (
        logit_lens(model, tokenizer, records, **SETTINGS).groupby("layer")["probability"].mean().to_dict()
        for model in (knowing, hiding)
    )
    assert known[2] > 0.9
    assert said[3] < 0.1
    assert said[2] == pytest.approx(known[2], rel=1e-5)
    curves = robustness_curves({"logit_lens": logit_lens(hiding, tokenizer, records, **SETTINGS)})
    assert robustness_metrics(curves).metrics["logit_lens_probability"] == pytest.approx(known[2], rel=1e-5)


def test_long_records_count_each_token_once(knowing, tokenizer, records):
    long = [records[0].model_copy(update={"response": " ".join(record.response for record in records)})]
    [whole] = score_answers(knowing, tokenizer, [long[0].prompt], [long[0].response], max_length=48)["probability"]
    found = logit_lens(knowing, tokenizer, long, max_length=48, **SETTINGS)
    assert found["probability"].iloc[-1] == pytest.approx(whole, rel=1e-5)


def test_a_model_with_more_after_its_head_has_none(tokenizer, records):
    examples = logit_lens(tiny(WITHOUT_PLAIN_HEAD), tokenizer, records)
    found = robustness_metrics(robustness_curves({"logit_lens": examples}))
    assert found.metrics == {"logit_lens_probability": None}
    assert "head" in found.unavailable["logit_lens_probability"]
