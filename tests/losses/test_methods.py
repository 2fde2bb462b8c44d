"""Each method against a plain float64 implementation of its paper's formula on full logits: value and gradient."""

import math
from dataclasses import is_dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import mse_loss

from tests.losses.papers import PAPERS, RETAIN, gradient_ascent, whole
from unilogit.kernels.reference import target_log_prob_from_logits
from unilogit.losses.answers import Answers
from unilogit.losses.dpo import Dpo
from unilogit.losses.npo import Npo
from unilogit.losses.registry import METHODS, RETAIN_TERMS
from unilogit.losses.rmu import Rmu
from unilogit.training.config import UnlearnConfig

PUBLISHED = UnlearnConfig()


def draw(seed, scale=2.0, vocabulary=7, lengths=(3, 1, 4)):
    generator = torch.Generator().manual_seed(seed)

    def answers(prefix, sizes):
        n = sum(sizes)
        logits = scale * torch.randn(2, n, vocabulary, dtype=torch.float64, generator=generator)
        example = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
        return logits, torch.randint(vocabulary, (n,), generator=generator), example

    (z, z_ref), target, example = answers("", lengths)
    (z_better, z_better_ref), better, better_example = answers("better", lengths[::-1])
    return z, {
        "z_ref": z_ref,
        "target": target,
        "example": example,
        "z_better": z_better,
        "z_better_ref": z_better_ref,
        "better": better,
        "better_example": better_example,
    }


def seen(z, b):
    """The Answers that a trainer would provide."""

    def scored(logits, reference, target, example, **more):
        return Answers(
            *target_log_prob_from_logits(logits, target),
            reference_log_p=target_log_prob_from_logits(reference, target).log_p,
            example=example,
            examples=int(example.max()) + 1,
            target=target,
            vocabulary=logits.shape[1],
            logits=logits,
            reference_logits=reference,
            **more,
        )

    better = scored(b["z_better"], b["z_better_ref"], b["better"], b["better_example"])
    return scored(z, b["z_ref"], b["target"], b["example"], preferred=better)


def value_and_gradient(loss, z, b, weights):
    """Of the loss weighted by item: uniform weights would hide errors. The better answers' gradient too."""
    z, better = z.clone().requires_grad_(), b["z_better"].clone().requires_grad_()
    values = loss(z, b | {"z_better": better})
    (values * weights[: len(values)]).sum().backward()
    return values.detach(), z.grad, torch.zeros_like(better) if better.grad is None else better.grad


@pytest.mark.parametrize("name", [*PAPERS, *RETAIN])
@given(
    seed=st.integers(0, 2**31),
    scale=st.sampled_from([1e-3, 1.0, 6.0]),
    vocabulary=st.integers(2, 40),
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
)
@settings(deadline=None, max_examples=25)
def test_value_and_gradient_equal_the_papers_formula(name, seed, scale, vocabulary, lengths):
    method, paper = (METHODS | RETAIN_TERMS)[name], (PAPERS | RETAIN)[name]
    loss = method.bind(PUBLISHED)
    z, b = draw(seed, scale, vocabulary, tuple(lengths))
    weights = torch.rand(len(z), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected = value_and_gradient(paper, z, b, weights)
    actual = value_and_gradient(lambda z, b: loss(seen(z, b)), z, b, weights)
    items = len(z) if method.unit == "token" else len(lengths)
    assert actual[0].shape == (items,)
    for result, truth in zip(actual, expected, strict=True):
        torch.testing.assert_close(result, truth, rtol=1e-8, atol=1e-10)


@given(seed=st.integers(0, 2**31), lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4))
@settings(deadline=None, max_examples=25)
def test_rmu_equals_its_formula_on_activations(seed, lengths):
    generator = torch.Generator().manual_seed(seed)
    n = sum(lengths)
    h, h_ref = torch.randn(2, n, 12, dtype=torch.float64, generator=generator)
    h.requires_grad_()
    example = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    answers = Answers(example=example, examples=len(lengths), hidden=h, reference_hidden=h_ref)
    u = torch.rand(12, generator=torch.Generator().manual_seed(0))
    steered = (2 * u / u.norm()).double()
    for loss, aim in (
        (METHODS["rmu"].bind(PUBLISHED), steered.expand(n, -1)),
        (RETAIN_TERMS["activations"].bind(PUBLISHED), h_ref),
    ):
        expected = torch.stack([mse_loss(h[example == e], aim[example == e]) for e in range(len(lengths))])
        actual = loss(answers)
        torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-8)
        gradients = [torch.autograd.grad((v * torch.arange(1, len(v) + 1)).sum(), h)[0] for v in (actual, expected)]
        torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-8)


def test_rmus_steering_vector_is_a_unit_vector_times_its_length():
    answers = Answers(example=torch.zeros(1, dtype=torch.int64), examples=1, hidden=torch.zeros(1, 40))
    norm = METHODS["rmu"].bind(UnlearnConfig(rmu=Rmu(steering=3.0, seed=5)))(answers) * 40
    torch.testing.assert_close(norm, torch.tensor([9.0]))


def test_at_the_reference_npo_and_dpo_pull_as_gradient_ascent_does():
    """2/β is there so that the gradient at the start is that of gradient ascent, whatever β."""
    z, b = draw(5)
    b |= {"z_ref": z, "z_better_ref": b["z_better"]}
    ones = torch.ones(len(z), dtype=torch.float64)
    _, ascent, _ = value_and_gradient(lambda z, b: whole(gradient_ascent(z, b), b["example"]), z, b, ones)
    for name in ("npo", "dpo"):
        loss = METHODS[name].bind(UnlearnConfig(npo=Npo(beta=0.7), dpo=Dpo(beta=0.7)))
        values, gradient, _ = value_and_gradient(lambda z, b, loss=loss: loss(seen(z, b)), z, b, ones)
        torch.testing.assert_close(values, torch.full_like(values, 2 / 0.7 * math.log(2)))
        torch.testing.assert_close(gradient, ascent)


@pytest.mark.parametrize("name", PAPERS)
@pytest.mark.parametrize("gap", [-1e4, -100.0, 100.0, 1e4])
def test_certain_and_impossible_answers_stay_finite(name, gap):
    z = torch.zeros(2, 5)
    z[:, 1] = gap
    z.requires_grad_()
    b = {
        "z_ref": torch.zeros(2, 5),
        "target": torch.tensor([1, 1]),
        "example": torch.tensor([0, 1]),
        "z_better": z,
        "z_better_ref": torch.zeros(2, 5),
        "better": torch.tensor([0, 2]),
        "better_example": torch.tensor([0, 1]),
    }
    values = METHODS[name].bind(PUBLISHED)(seen(z, b))
    values.sum().backward()
    assert torch.isfinite(values).all()
    assert torch.isfinite(z.grad).all()


def test_every_method_is_tested_and_names_its_source_and_a_real_retain_term():
    assert set(PAPERS) | {"rmu"} == set(METHODS)
    assert set(RETAIN) | {"activations"} == set(RETAIN_TERMS)
    for method in [*METHODS.values(), *RETAIN_TERMS.values()]:
        assert method.retain_term in {*RETAIN_TERMS, "none"}
        assert "arXiv" in method.source


def test_every_section_of_knobs_is_a_methods_and_every_methods_a_section():
    sections = {name for name, knobs in PUBLISHED if is_dataclass(knobs)}
    assert sections == {method.section for method in METHODS.values()} - {""}
    for method in METHODS.values():
        assert method.knobs is None or isinstance(getattr(PUBLISHED, method.section), method.knobs)
    assert METHODS["simnpo"].knob_names == ("simnpo.beta", "simnpo.delta", "simnpo.gamma")
    assert METHODS["idk_dpo"].knob_names == ("dpo.beta",)
    assert METHODS["ceu"].knob_names == ()
