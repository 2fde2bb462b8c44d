"""Quantised weights against a search through every level, and which weights of a model they are."""

import copy

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaForCausalLM

from unilogit.data.tokenisation import collate, encode_pair
from unilogit.errors import InputError
from unilogit.evaluation.attacks.quantisation import COLUMNS, quantisation, quantise_weight, quantised_copy
from unilogit.evaluation.probability import score_answers

SETTINGS = {"bits": (8, 4), "group_size": 16, "batch_tokens": 200}


def searched(weight, bits, group_size):
    """Each weight's nearest level, by trying all of them, in float64."""
    weight = weight.double().numpy()
    found = np.empty_like(weight)
    for row in range(weight.shape[0]):
        for start in range(0, weight.shape[1], group_size):
            group = weight[row, start : start + group_size]
            top = 2 ** (bits - 1) - 1
            levels = np.linspace(-np.abs(group).max(), np.abs(group).max(), 2 * top + 1)
            found[row, start : start + group_size] = [min(levels, key=lambda level: abs(level - w)) for w in group]
    return found


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize(
    ("shape", "group_size"), [((3, 8), 4), ((4, 10), 4), ((2, 5), 128), ((3, 7), None), ((1, 1), 1)]
)
def test_weights_go_to_the_nearest_level(bits, shape, group_size):
    torch.manual_seed(bits)
    weight = torch.randn(shape) * torch.tensor([1e-3, 1.0, 50.0, 1.0])[: shape[0], None]
    found = quantise_weight(weight, bits, group_size)
    np.testing.assert_allclose(found, searched(weight, bits, group_size or shape[1]), rtol=1e-5, atol=1e-9)
    half = weight.to(torch.bfloat16)
    assert torch.equal(quantise_weight(half, bits, group_size), quantise_weight(half.float(), bits, group_size))


def test_zeros_stay_zeros_and_signs_are_kept():
    assert quantise_weight(torch.zeros(2, 4), 4, 2).eq(0).all()
    weight = torch.randn(4, 64)
    assert (quantise_weight(weight, 4, 16) * weight >= 0).all()


def test_only_the_bodys_linear_weights_are_quantised(untrained):
    quantised = quantised_copy(untrained, 4, 16)
    before, after = untrained.state_dict(), quantised.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.endswith("_proj.weight")}
    assert len(changed) == 2 * 7
    for name in changed:
        assert torch.equal(after[name], quantise_weight(before[name], 4, 16))
    assert quantised.lm_head.weight is quantised.model.embed_tokens.weight  # still tied


class HeadInBody(LlamaForCausalLM):
    def get_decoder(self):
        return self


def test_the_head_is_left_alone_even_where_the_body_is_the_whole_model(untrained):
    model = HeadInBody(untrained.config)
    quantised = quantised_copy(model, 4, None)
    assert torch.equal(quantised.lm_head.weight, model.lm_head.weight)
    assert not torch.equal(quantised.model.layers[0].mlp.up_proj.weight, model.model.layers[0].mlp.up_proj.weight)


def test_gpt2_keeps_its_linear_weights_the_other_way_round():
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=30, n_embd=16, n_layer=1, n_head=2, n_positions=8))
    before, after = model.state_dict(), quantised_copy(model, 4, None).state_dict()
    name = "transformer.h.0.mlp.c_fc.weight"
    assert before[name].shape == (16, 64)  # inputs, outputs
    np.testing.assert_allclose(after[name].T, searched(before[name].T, 4, 16), rtol=1e-5, atol=1e-9)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {
        f"transformer.h.0.{part}.weight" for part in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    }


def test_probabilities_are_those_of_the_model_with_rounded_weights(knowing, tokenizer, records, score):
    found = quantisation(knowing, tokenizer, records, **SETTINGS)
    assert list(found.columns) == COLUMNS
    assert found["bits"].tolist() == [bits for bits in (32, 8, 4) for _ in records]
    for bits, group_size in ((32, None), (8, 1000), (4, 16)):
        plain = copy.deepcopy(knowing)
        for name, parameter in plain.named_parameters():
            if bits < 32 and name.endswith("_proj.weight"):
                parameter.data = torch.tensor(searched(parameter.data, bits, group_size)).float()
        expected = [score(plain, r.prompt, r.response) for r in records]
        np.testing.assert_allclose(found.loc[found["bits"] == bits, "probability"], expected, rtol=1e-3)
    whole_rows = score_answers(
        quantised_copy(knowing, 8, None), tokenizer, [r.prompt for r in records], [r.response for r in records]
    )
    assert found.loc[found["bits"] == 8, "nll"].tolist() == whole_rows["nll"].tolist()
    means = found.groupby("bits")["probability"].mean()
    assert means[8] == pytest.approx(means[32], rel=0.02)
    assert means[4] < means[32]


def test_an_update_smaller_than_half_a_step_is_undone(knowing, tokenizer, records):
    whole_rows = SETTINGS | {"group_size": 1000}
    before = quantised_copy(knowing, 4, None)
    after = copy.deepcopy(before)
    after(**collate([encode_pair(tokenizer, r.prompt, r.response) for r in records], 0)).loss.backward()
    with torch.no_grad():
        for name, parameter in after.named_parameters():
            if name.endswith("_proj.weight"):
                largest = parameter.abs().amax(dim=1, keepdim=True)  # keeps its place: it sets the scale
                step = largest / 7 * (parameter.abs() < largest)
                parameter.add_(0.45 * step * parameter.grad.sign())
    known, forgotten = (
        quantisation(model, tokenizer, records, **whole_rows).groupby("bits")["probability"].mean()
        for model in (before, after)
    )
    assert known[32] > 0.9
    assert forgotten[32] < 0.3
    assert forgotten[8] < 0.4
    assert forgotten[4] == pytest.approx(known[32], rel=1e-4)


def test_the_model_as_it_is_has_the_bits_of_its_dtype(untrained, tokenizer, records):
    found = quantisation(copy.deepcopy(untrained).to(torch.bfloat16), tokenizer, records[:2], **SETTINGS)
    assert found["bits"].tolist() == [16, 16, 8, 8, 4, 4]
    assert np.isfinite(found["probability"]).all()


def test_no_records(untrained, tokenizer):
    found = quantisation(untrained, tokenizer, [], **SETTINGS)
    assert found.empty
    assert list(found.columns) == COLUMNS


@pytest.mark.parametrize("bits", [1, 9, 32])
def test_widths_out_of_range_are_refused(untrained, bits):
    with pytest.raises(InputError, match="2 to 8"):
        quantised_copy(untrained, bits, None)


def test_a_body_without_linear_layers_is_refused(untrained):
    model = copy.deepcopy(untrained)
    model.model.layers = torch.nn.ModuleList()
    with pytest.raises(InputError, match="no linear layers"):
        quantised_copy(model, 8, None)
