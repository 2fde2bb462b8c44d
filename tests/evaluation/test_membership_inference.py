"""Attacks against loops written from their definitions, and AUC against every pair compared by hand."""

import math
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.short_context import LONG, short_model
from tests.evaluation.test_probability import PAIRS, TOKENIZER, build
from unilogit.data.tokenisation import encode_pair, encode_windows
from unilogit.evaluation.membership_inference import (
    attack_auc,
    attack_scores,
    auc_error,
    gradient_norms,
    privleak,
    why_no_privleak,
)
from unilogit.evaluation.token_scores import TokenScores

scores = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=15)  # few values: many ties
log_ps = st.lists(st.floats(-20, 0), min_size=1, max_size=9)


@settings(deadline=None)  # the first example imports scikit-learn
@given(member=scores, non_member=scores)
def test_auc_is_the_share_of_pairs_in_which_the_member_scores_lower(member, non_member):
    wins = sum((m < o) + 0.5 * (m == o) for m in member for o in non_member)
    assert attack_auc(np.array(member), np.array(non_member)) == pytest.approx(wins / (len(member) * len(non_member)))


def test_the_error_of_an_auc_is_that_of_many_draws():
    random = np.random.default_rng(0)
    for rate, members, unseen in ((1.0, 10, 24), (4.0, 12, 7), (0.5, 30, 30)):
        member, non_member = random.exponential(1 / rate, (4000, members)), random.exponential(1, (4000, unseen))
        drawn = (member[:, :, None] < non_member[:, None]).mean(axis=(1, 2))
        assert drawn[0] == pytest.approx(attack_auc(member[0], non_member[0]))
        auc = rate / (rate + 1)  # of two exponential distributions, for which the formula is exact
        assert np.mean(drawn) == pytest.approx(auc, abs=0.01)
        assert auc_error(auc, members, unseen) == pytest.approx(np.std(drawn), rel=0.06)
    assert auc_error(0.5, 10, 24) == pytest.approx(math.sqrt(35 / (12 * 240)))
    assert auc_error(1.0, 10, 24) == 0


def test_ends_of_the_scale():
    low, high = np.array([0.1, 0.2]), np.array([1.0, 2.0, 3.0])
    assert attack_auc(low, high) == 1
    assert attack_auc(high, low) == 0
    assert attack_auc(low, low) == 0.5


@given(log_p=log_ps)
def test_scores_follow_their_definitions(log_p):
    n, text = len(log_p), "Über 7 Berge, 7 Berge, 7 Berge."
    mean, deviation = np.linspace(-3, -1, n), np.linspace(0.5, 2, n)
    tokens = TokenScores(np.array(log_p), np.zeros(n, dtype=bool), mean, deviation)
    attacks = attack_scores(tokens, text)
    assert attacks["loss"] == pytest.approx(-sum(log_p) / n)
    assert attacks["zlib"] == pytest.approx(-sum(log_p) / n / len(zlib.compress(text.encode("utf-8"))))
    for name, values in (
        ("min_k", log_p[:-1]),
        ("min_k_plus_plus", [(p - m) / d for p, m, d in zip(log_p[:-1], mean, deviation, strict=False)]),
    ):
        lowest = sorted(values)[: max(1, math.floor(0.4 * len(values)))]
        assert attacks[name] == pytest.approx(-sum(lowest) / len(lowest) if lowest else 0)


def test_gradient_norms_are_those_of_each_pair_alone():
    model = build().double()
    model.model.embed_tokens.requires_grad_(False)
    norms = gradient_norms(model, TOKENIZER, *zip(*PAIRS, strict=True))
    assert not model.model.embed_tokens.weight.requires_grad
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    model.requires_grad_(True)
    for norm, pair in zip(norms, PAIRS, strict=True):
        ids, start = encode_pair(TOKENIZER, *pair)
        model.zero_grad()
        log_p = torch.log_softmax(model(torch.tensor([ids])).logits[0], dim=1)
        wanted = range(start, len(ids) - 1)
        if not wanted:
            assert norm == 0
            continue
        (-sum(log_p[place - 1, ids[place]] for place in wanted) / len(wanted)).backward()
        expected = np.mean([parameter.grad.norm().item() for parameter in model.parameters()])
        assert norm == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "answer", [LONG[0][1], "x" * 47]
)  # 48 positions: of the second, the end stands in a window alone
def test_the_gradient_of_a_long_answer_is_that_of_all_its_windows(answer):
    model, prompt = short_model().double(), ""
    model.transformer.wpe.requires_grad_(False)
    [norm] = gradient_norms(model, TOKENIZER, [prompt], [answer])
    assert not model.transformer.wpe.weight.requires_grad
    model.requires_grad_(True)
    log_ps = []
    windows = encode_windows(TOKENIZER, prompt, answer, 48)
    assert len(windows) > 1
    for ids, start in windows:
        log_p = torch.log_softmax(model(torch.tensor([ids])).logits[0], dim=1)
        log_ps += [log_p[place - 1, ids[place]] for place in range(start, len(ids))]
    (-torch.stack(log_ps[:-1]).mean()).backward()
    expected = np.mean([parameter.grad.norm().item() for parameter in model.parameters()])
    assert norm == pytest.approx(expected, rel=1e-9)


def test_privleak_is_0_for_the_retain_model_and_signed():
    assert privleak(0.6, 0.6) == 0
    assert privleak(1.0, 0.5) == pytest.approx(-100)
    assert privleak(0.0, 0.5) == pytest.approx(100)


@pytest.mark.parametrize(("auc", "is_told"), [(0.0, False), (0.04, False), (0.05, True), (0.95, True), (0.96, False)])
def test_privleak_is_not_told_beside_a_retain_model_that_is_no_yardstick(auc, is_told):
    reason = why_no_privleak(auc)
    assert (reason is None) == is_told
    assert is_told or f"AUC {auc:.3f}, which must be 0.05 to 0.95" in reason


def test_beside_any_other_privleak_is_never_more_than_a_few_thousand_per_cent():
    told = [privleak(0.0, auc) for auc in np.linspace(0, 1, 1001) if why_no_privleak(auc) is None]
    assert max(map(abs, told)) < 2000
