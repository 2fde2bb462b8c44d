"""Each method against a plain float64 implementation of its paper's formula on full logits: value and gradient."""

import math
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, kl_div, log_softmax, mse_loss, one_hot, sigmoid, softmax

from unilogit.kernels.reference import target_log_prob_from_logits
from unilogit.losses.answers import Answers
from unilogit.losses.registry import METHODS, RETAIN_TERMS

KNOBS = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["unlearn"]
FACTS = {"vocabulary": 7, "seed": 3}


def log_p(logits, target):
    return torch.stack([log_softmax(row, 0)[t] for row, t in zip(logits, target, strict=True)])


def whole(values, example):
    """Sum over each example's tokens, one example at a time."""
    return torch.stack([values[example == e].sum() for e in range(int(example.max()) + 1)])


def gradient_ascent(z, b):
    return -cross_entropy(z, b["target"], reduction="none")


def npo(z, b):
    ratio = whole(log_p(z, b["target"]), b["example"]) - whole(log_p(b["z_ref"], b["target"]), b["example"])
    return 2 / 0.1 * torch.log(1 + ratio.exp() ** 0.1)  # eq. 3, as the paper's second form has it


def simnpo(z, b):
    lengths = torch.bincount(b["example"])
    nll = -whole(log_p(z, b["target"]), b["example"]) / lengths
    return 0.125 * -2 / 4.5 * torch.log(sigmoid(4.5 * (nll - 0.0)))


def dpo(z, b):
    def ratio(logits, reference, target, example):
        return whole(log_p(logits, target) - log_p(reference, target), example)

    better = ratio(b["z_better"], b["z_better_ref"], b["better"], b["better_example"])
    worse = ratio(z, b["z_ref"], b["target"], b["example"])
    return -2 / 0.1 * torch.log(sigmoid(0.1 * better - 0.1 * worse))


def undial(z, b):
    teacher = softmax(b["z_ref"] - 10 * one_hot(b["target"], z.shape[1]), dim=1)
    return cross_entropy(z, teacher, reduction="none")


def wga(z, b):
    p = log_p(z, b["target"]).exp()
    return p.detach() ** 1.0 * p.log()


def satimp(z, b):
    p = log_p(z, b["target"]).exp()
    return p.detach() ** 5 * (1 - p.detach()) ** 1 * p.log()


def ceu(z, b):
    q = softmax(z.detach().masked_fill(one_hot(b["target"], z.shape[1]).bool(), -math.inf), dim=1)
    return cross_entropy(z, q, reduction="none") + torch.special.xlogy(q, q).sum(dim=1)  # less the entropy of q


def kl(z, b):
    return kl_div(log_softmax(z, 1), softmax(b["z_ref"], 1), reduction="none").sum(dim=1)


PAPERS = {
    "gradient_ascent": gradient_ascent,
    "grad_diff": gradient_ascent,
    "kl_to_reference": gradient_ascent,
    "npo": npo,
    "simnpo": simnpo,
    "dpo": dpo,
    "idk_dpo": dpo,
    "undial": undial,
    "wga": wga,
    "satimp": satimp,
    "ceu": ceu,
}
RETAIN = {"nll": lambda z, b: -gradient_ascent(z, b), "kl": kl}


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
    loss = method.load(KNOBS, **FACTS | {"vocabulary": vocabulary})
    z, b = draw(seed, scale, vocabulary, tuple(lengths))
    weights = torch.rand(len(z), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected = value_and_gradient(paper, z, b, weights)
    actual = value_and_gradient(lambda z, b: loss(seen(z, b)), z, b, weights)
    items = len(z) if method.per == "token" else len(lengths)
    assert actual[0].shape == (items,)
    for ours, papers in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, papers, rtol=1e-8, atol=1e-10)


@given(seed=st.integers(0, 2**31), lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4))
@settings(deadline=None, max_examples=25)
def test_rmu_equals_its_formula_on_activations(seed, lengths):
    generator = torch.Generator().manual_seed(seed)
    n = sum(lengths)
    h, h_ref = torch.randn(2, n, 12, dtype=torch.float64, generator=generator)
    h.requires_grad_()
    example = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    answers = Answers(example=example, examples=len(lengths), hidden=h, reference_hidden=h_ref)
    u = torch.rand(12, generator=torch.Generator().manual_seed(3))
    wanted = (2 * u / u.norm()).double()
    for loss, aim in (
        (METHODS["rmu"].load(KNOBS, **FACTS), wanted.expand(n, -1)),
        (RETAIN_TERMS["activations"].load(KNOBS, **FACTS), h_ref),
    ):
        expected = torch.stack([mse_loss(h[example == e], aim[example == e]) for e in range(len(lengths))])
        actual = loss(answers)
        torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-8)
        gradients = [torch.autograd.grad((v * torch.arange(1, len(v) + 1)).sum(), h)[0] for v in (actual, expected)]
        torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-8)


def test_rmus_steering_vector_is_a_unit_vector_times_its_length_and_of_the_seed():
    answers = Answers(example=torch.zeros(1, dtype=torch.int64), examples=1, hidden=torch.zeros(1, 40))
    norms = [METHODS["rmu"].load(KNOBS, seed=seed)(answers) * 40 for seed in (0, 0, 1)]
    torch.testing.assert_close(torch.stack(norms), torch.full((3, 1), 4.0))


def test_at_the_reference_npo_and_dpo_pull_as_gradient_ascent_does():
    """2/β is there so that the gradient at the start is that of gradient ascent, whatever β."""
    z, b = draw(5)
    b |= {"z_ref": z, "z_better_ref": b["z_better"]}
    ones = torch.ones(len(z), dtype=torch.float64)
    _, ascent, _ = value_and_gradient(lambda z, b: whole(gradient_ascent(z, b), b["example"]), z, b, ones)
    for name in ("npo", "dpo"):
        loss = METHODS[name].load(KNOBS | {name: {"beta": 0.7}}, **FACTS)
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
        "z_better": torch.zeros(2, 5),
        "z_better_ref": torch.zeros(2, 5),
        "better": torch.tensor([0, 2]),
        "better_example": torch.tensor([0, 1]),
    }
    values = METHODS[name].load(KNOBS, **FACTS)(seen(z, b))
    values.sum().backward()
    assert torch.isfinite(values).all()
    assert torch.isfinite(z.grad).all()


def test_every_method_is_tested_names_real_knobs_and_a_real_retain_term():
    assert set(PAPERS) | {"rmu", "unilogit"} == set(METHODS)
    assert set(RETAIN) | {"activations"} == set(RETAIN_TERMS)
    for method in [*METHODS.values(), *RETAIN_TERMS.values()]:
        assert callable(method.load(KNOBS, **FACTS))
        assert method.retain_term in {*RETAIN_TERMS, "none"}
        assert "arXiv" in method.source


def test_the_registry_imports_no_torch():
    import subprocess
    import sys

    code = "import sys, unilogit.losses.registry; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
