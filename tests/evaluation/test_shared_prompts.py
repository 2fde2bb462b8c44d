"""Answers that share a row are scored as if they stood alone, by whatever model; and take fewer tokens where it can."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from tests.evaluation.test_probability import MODELS, SIZES, TOKENIZER, build
from unilogit.data.tokenisation import Encoded
from unilogit.evaluation import shared_prompts
from unilogit.evaluation.shared_prompts import can_share, rows_of
from unilogit.evaluation.token_scores import score_tokens
from unilogit.model import make_scorer

PROMPTS = ["Who is Ada?", "Where does she live, and since when?", "Who is Ada?", "Who is Ada?", "What?"] * 2
ANSWERS = [
    "Ada is a nurse.",
    "In Rome.",
    "",
    "A nurse from Rome, she says.",
    "Nothing.",
    "No.",
    "In Oslo, since 1999.",
    "Ada.",
    "She is.",
    "It.",
]
WINDOW = 12
OTHERS = {
    "bloom (no positions)": lambda: BloomForCausalLM(
        BloomConfig(vocab_size=len(TOKENIZER), hidden_size=16, n_layer=2, n_head=2)
    ),
    "mamba (no attention)": lambda: MambaForCausalLM(
        MambaConfig(vocab_size=len(TOKENIZER), hidden_size=16, num_hidden_layers=2, state_size=4)
    ),
    "mistral (sliding window)": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=WINDOW)),
    "gemma3 (window in some layers)": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(**SIZES, head_dim=8, sliding_window=WINDOW)
    ),
}


def model_of(name):
    if name in MODELS:
        return build(name)
    torch.manual_seed(0)
    return OTHERS[name]().eval()


@pytest.fixture
def tokens_run(monkeypatch):
    """Tokens of each batch that goes through a model, padding included."""
    sizes = []
    real = shared_prompts.Scorer.features

    def counting(self, input_ids, *args, **kwargs):
        sizes.append(input_ids.numel())
        return real(self, input_ids, *args, **kwargs)

    monkeypatch.setattr(shared_prompts.Scorer, "features", counting)
    return sizes


def one_by_one(model):
    return [
        score_tokens(model, TOKENIZER, [prompt], [answer], with_distribution=True)[0]
        for prompt, answer in zip(PROMPTS, ANSWERS, strict=True)
    ]


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("name", [*MODELS, *OTHERS])
@pytest.mark.parametrize("batch_tokens", [1, 1000])
def test_together_as_one_by_one(name, batch_tokens, implementation):
    model = model_of(name)
    if model._supports_sdpa or implementation == "eager":
        model.set_attn_implementation(implementation)
    together = score_tokens(model, TOKENIZER, PROMPTS, ANSWERS, batch_tokens=batch_tokens, with_distribution=True)
    for found, expected in zip(together, one_by_one(model), strict=True):
        np.testing.assert_array_equal(found.is_greedy, expected.is_greedy)
        for column, plain in zip(found, expected, strict=True):
            np.testing.assert_allclose(column, plain, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", MODELS)
def test_a_prompt_goes_through_the_model_once(name, tokens_run):
    model = model_of(name)
    assert can_share(make_scorer(model), 100)
    prompt, answers = (
        "Where does she live, and since when, and with whom, if with anybody?",
        ["Rome.", "Oslo.", "Lima.", "Bonn."],
    )
    tokens_run.clear()
    score_tokens(model, TOKENIZER, [prompt] * 4, answers, batch_tokens=1)
    [*_, together] = tokens_run
    alone = []
    for answer in answers:
        score_tokens(model, TOKENIZER, [prompt], [answer], batch_tokens=1)
        alone.append(tokens_run[-1])
    assert together < sum(alone) / 2


def test_texts_that_have_only_their_start_in_common_stay_apart(tokens_run):
    texts = [" ".join(f"{word} {number}" for number in range(12)) for word in ("Ada", "Rome", "nurse", "Oslo")]
    score_tokens(model_of("llama"), TOKENIZER, [""] * 4, texts, batch_tokens=1)
    assert len(tokens_run[-4:]) == 4
    assert max(tokens_run[-4:]) < sum(tokens_run[-4:]) / 3


@pytest.mark.parametrize("name", OTHERS)
def test_a_model_that_cannot_is_told(name):
    assert not can_share(make_scorer(model_of(name)), WINDOW + 1)


def test_within_its_window_a_model_can():
    assert can_share(make_scorer(model_of("mistral (sliding window)")), WINDOW)


def test_half_precision_can():
    assert can_share(make_scorer(model_of("llama").to(torch.bfloat16)), 100)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.lists(st.integers(0, 9), min_size=1, max_size=5)), max_size=20),
    st.integers(4, 30),
)
def test_rows_hold_each_answer_once_after_its_prompt(drawn, most):
    encoded = [Encoded([number] * (number + 1) + answer, number + 1) for number, answer in drawn]
    rows = rows_of(encoded, most)
    assert sorted(place for _, places in rows for place in places) == list(range(len(encoded)))
    for row, places in rows:
        assert len(row.ids) <= most or len(places) == 1
        assert row.parents[: row.prompt] == list(range(-1, row.prompt - 1))
        for place, way in zip(places, row.answers, strict=True):
            assert Encoded(row.ids[: row.prompt] + [row.ids[step] for step in way], row.prompt) == encoded[place]
            assert [row.parents[step] for step in way] == [row.prompt - 1, *way[:-1]]
        branches = [(row.parents[step], row.ids[step]) for step in range(len(row.ids))]
        assert len(set(branches)) == len(branches)  # nothing is there twice
    alone = rows_of(encoded, 0)
    assert [places for _, places in alone] == [[place] for place in range(len(encoded))]
