"""Models taken apart give the loss and the gradient of plain full logits, whatever method and architecture."""

import copy
import math
from typing import get_args, get_type_hints

import pytest
import torch
from torch.nn.functional import log_softmax

from tests.losses.papers import PAPERS
from tests.losses.papers import RETAIN as RETAIN_PAPERS
from tests.tiny_models import FAMILIES, WITHOUT_PLAIN_HEAD, V, tiny
from unilogit.data.tokenisation import IGNORED
from unilogit.losses.registry import METHODS, RETAIN_TERMS
from unilogit.losses.rmu import Rmu
from unilogit.model import HeadScorer, make_scorer
from unilogit.training import unlearning_loss
from unilogit.training.config import UnlearnConfig
from unilogit.training.examples import FORGET, PREFERRED, RETAIN
from unilogit.training.unlearning_loss import Term, UnlearningLoss

CONFIG = UnlearnConfig(rmu=Rmu(layer=0))
ANSWERS = [(2, 9), (1, 4), (4, 6), (3, 7), (3, 8), (1, 9), (5, 6), (2, 4), (2, 3), (1, 8), (4, 5), (6, 9)]
FILLER = 3  # a role that no loss counts


def batch():
    """Four forget examples, each followed by its better answer and a retain example, of uneven lengths."""
    generator = torch.Generator().manual_seed(7)
    role = torch.tensor([FORGET, PREFERRED, RETAIN] * (len(ANSWERS) // 3))
    ids = torch.randint(3, V, (len(role), 9), generator=generator)
    mask, labels = torch.ones_like(ids), torch.full_like(ids, IGNORED)
    for row, (start, end) in enumerate(ANSWERS):
        mask[row, end:] = 0
        labels[row, start:end] = ids[row, start:end]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "role": role}


class Plain:
    """Every loss of a batch, row by row, from the logits of the whole batch."""

    def __init__(self, model, reference, inputs):
        tokens = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}
        self.inputs, self.out = inputs, model(**tokens, output_hidden_states=True)
        with torch.no_grad():
            self.ref = reference(**tokens, output_hidden_states=True)

    def rows(self, row, output):
        return output.logits[row, :-1][self.inputs["labels"][row, 1:] != IGNORED]

    def target(self, row):
        return self.inputs["labels"][row][self.inputs["labels"][row] != IGNORED]

    def hidden(self, row, output):
        return output.hidden_states[1][row][self.inputs["labels"][row] != IGNORED]

    def nll(self, row):
        return torch.nn.functional.cross_entropy(self.rows(row, self.out), self.target(row)).item()

    def value(self, name, row):
        hidden = self.hidden(row, self.out)
        if name == "activations":
            return (hidden - self.hidden(row, self.ref)).square().mean(1).mean()
        if name == "rmu":
            direction = torch.rand(hidden.shape[1], generator=torch.Generator().manual_seed(0)).double()
            return (hidden - 2 * direction / direction.norm()).square().mean(1).mean()
        facts = {"z_ref": self.rows(row, self.ref), "target": self.target(row)}
        facts["example"] = torch.zeros_like(facts["target"])
        if {"alternative", "idk"} & {*METHODS.get(name, METHODS["ceu"]).needs}:
            better = row + 1
            facts |= {"z_better": self.rows(better, self.out), "z_better_ref": self.rows(better, self.ref)}
            facts |= {"better": self.target(better), "better_example": torch.zeros_like(self.target(better))}
        return (PAPERS | RETAIN_PAPERS)[name](self.rows(row, self.out), facts).sum()

    def sums(self, forget, retain=None, mark=math.inf):
        """Of both terms; forget answers whose NLL is at the mark or above it count nothing."""
        roles = self.inputs["role"].tolist()
        pressed = [row for row, role in enumerate(roles) if role == FORGET and self.nll(row) < mark]
        sums = [sum((self.value(forget, row) for row in pressed), torch.zeros((), dtype=torch.float64))]
        if retain:
            sums.append(sum(self.value(retain, row) for row, role in enumerate(roles) if role == RETAIN))
        return sums


def build(model, reference, forget, retain=None, config=CONFIG):
    terms = [METHODS[forget], *([RETAIN_TERMS[retain]] if retain else [])]
    return UnlearningLoss(
        make_scorer(model),
        **dict(zip(("forget", "retain"), [Term(term, term.bind(config)) for term in terms], strict=False)),
        reference=make_scorer(reference) if any(term.needs_reference_model for term in terms) else None,
        layer=config.rmu.layer,
    )


def reference_log_p(reference, inputs):
    with torch.no_grad():
        logits = reference(inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    log_p = log_softmax(logits[:, :-1], -1).gather(2, inputs["labels"][:, 1:, None].clamp_min(0)).squeeze(2)
    return torch.nn.functional.pad(log_p, (1, 0))


def assert_equal_values_and_gradients(model, loss, reference, inputs, forget, retain, mark=math.inf):
    total, sums = loss(**inputs, scale=(1, 3), reference_log_p=reference_log_p(reference, inputs))
    expected_sums = Plain(model, reference, inputs).sums(forget, retain, mark)
    expected_total = expected_sums[0] + 3 * sum(expected_sums[1:])
    results = []
    for value, terms in ((total, sums), (expected_total, expected_sums)):
        model.zero_grad()
        if value.requires_grad:
            value.backward()
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]
        results.append([torch.stack([value, *terms]).detach(), *gradients])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=2e-7)  # RMU draws its vector in float32


@pytest.mark.parametrize(
    ("forget", "retain"),
    [("gradient_ascent", "nll"), ("undial", "kl"), ("dpo", "activations"), ("ceu", "kl"), ("undial", "nll")],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradient_equal_those_of_full_logits(family, forget, retain, monkeypatch):
    monkeypatch.setattr(unlearning_loss, "_ROWS_AT_ONCE", 3)
    model, reference = tiny(family), tiny(family, seed=1).eval().requires_grad_(False)
    loss = build(model, reference, forget, retain)
    assert isinstance(loss.scorer, HeadScorer) == (family != WITHOUT_PLAIN_HEAD)
    assert_equal_values_and_gradients(model, loss, reference, batch(), forget, retain)


@pytest.mark.parametrize("paused", [0, 1, 2, 4])
@pytest.mark.parametrize("family", ["Llama", WITHOUT_PLAIN_HEAD])
@pytest.mark.parametrize("forget", METHODS)
def test_answers_no_likelier_than_unseen_peoples_are_not_pressed_on(forget, family, paused, monkeypatch):
    """They add nothing to value and gradient, whatever the method; the others add what they would without them."""
    monkeypatch.setattr(unlearning_loss, "_ROWS_AT_ONCE", 3)
    model, reference = tiny(family), tiny(family, seed=1).eval().requires_grad_(False)
    inputs, retain = batch(), METHODS[forget].retain_term
    retain = None if retain == "none" else retain
    plain = Plain(model, reference, inputs)
    nll = sorted(plain.nll(row) for row, role in enumerate(inputs["role"].tolist()) if role == FORGET)
    bounds = [0.0, *nll, 2 * nll[-1]]
    loss = build(model, reference, forget, retain)
    loss.forgotten_nll = (bounds[len(nll) - paused] + bounds[len(nll) - paused + 1]) / 2
    assert sum(value >= loss.forgotten_nll for value in nll) == paused
    assert_equal_values_and_gradients(model, loss, reference, inputs, forget, retain, loss.forgotten_nll)


@pytest.mark.parametrize("forget", ["unilogit", "npo", "dpo", "undial", "rmu"])
def test_the_head_scores_a_forget_token_once(forget, monkeypatch):
    model, inputs = tiny(), batch()
    loss = build(model, copy.deepcopy(model), forget)
    loss.forgotten_nll = 3.0
    scored = []

    def counted(name):
        original = getattr(HeadScorer, name)

        def method(self, rows, *arguments):
            if self is loss.scorer:
                scored.append(len(rows))
            return original(self, rows, *arguments)

        monkeypatch.setattr(HeadScorer, name, method)

    for name in ("logits", "score_targets", "one_pass_loss"):
        counted(name)
    loss(**inputs, reference_log_p=reference_log_p(model, inputs))
    roles = (FORGET, PREFERRED) if forget == "dpo" else (FORGET,)
    lengths = [
        end - start for (start, end), role in zip(ANSWERS, inputs["role"].tolist(), strict=True) if role in roles
    ]
    assert sum(scored) == sum(lengths)


def changed(knobs, name):
    """The same knobs with another value of one."""
    value, choices = getattr(knobs, name), get_args(get_type_hints(type(knobs))[name])
    other = next(choice for choice in choices if choice != value) if isinstance(value, str) else value + 1
    return type(knobs)(**{**vars(knobs), name: other})


KNOBS = [
    (name, path)
    for name, method in METHODS.items()
    for path in method.knob_names
    if not (method.limits_retain or path == "npo_sam.radius")  # of the steps, not of the loss
]


@pytest.mark.parametrize(("method", "path"), KNOBS, ids=[f"{method}-{path}" for method, path in KNOBS])
def test_every_knob_of_every_method_changes_its_loss(method, path):
    section, name = path.split(".")
    model, inputs = tiny(), batch()
    reference = tiny(seed=1)
    other = CONFIG.model_copy(update={section: changed(getattr(CONFIG, section), name)})
    losses = [
        build(model, reference, method, config=config)(**inputs, reference_log_p=reference_log_p(reference, inputs))[0]
        for config in (CONFIG, CONFIG, other)
    ]
    assert losses[0] == losses[1]
    assert losses[0].item() != pytest.approx(losses[2].item(), rel=1e-9, abs=0)


@pytest.mark.parametrize("retain", [None, *RETAIN_TERMS])
@pytest.mark.parametrize("method", METHODS)
def test_a_batch_without_answers_counts_nothing_and_can_be_learnt_from(method, retain):
    model = tiny()
    inputs = {"input_ids": torch.zeros(2, 2, dtype=torch.int64), "attention_mask": torch.ones(2, 2)}
    inputs |= {"labels": torch.full((2, 2), IGNORED), "role": torch.full((2,), FILLER)}
    loss = build(model, copy.deepcopy(model), method, retain)
    loss.forgotten_nll = 3.0
    total, sums = loss(**inputs, reference_log_p=torch.zeros(2, 2))
    total.backward()
    assert total.item() == sum(sums) == 0
    assert sum(p.grad.abs().sum() for p in model.parameters() if p.grad is not None) == 0
    assert any(p.grad is not None for p in model.parameters())
    assert loss.count(inputs["labels"], inputs["role"]).sum() == 0


@pytest.mark.parametrize("drift", [0.5, 1.0, 1.5])
def test_targets_drift(drift):
    model, inputs = tiny("Llama"), batch()
    loss = build(model, None, "unilogit")
    targets = -torch.rand(inputs["labels"].shape, generator=torch.Generator().manual_seed(1)).double() - 0.1
    expected, _ = loss(**inputs, log_target=targets * drift)
    loss.drift = drift
    torch.testing.assert_close(loss(**inputs, log_target=targets)[0], expected, rtol=0, atol=0)


def test_items_are_answer_tokens_or_examples():
    model = tiny()
    inputs = batch()
    for (forget, retain), expected in {
        ("gradient_ascent", "nll"): [7 + 4 + 1 + 7, 2 + 8 + 1 + 3],
        ("npo", "nll"): [4, 14],
        ("undial", "activations"): [19, 4],
    }.items():
        assert build(model, model, forget, retain).count(inputs["labels"], inputs["role"]).tolist() == expected


def test_rows_of_logits_never_exist_for_more_than_a_few_tokens(monkeypatch):
    monkeypatch.setattr(unlearning_loss, "_ROWS_AT_ONCE", 8)
    model = tiny()
    loss = build(model, copy.deepcopy(model), "undial", "kl")
    loss.forgotten_nll = 100.0
    widths, original = [], HeadScorer.logits
    monkeypatch.setattr(HeadScorer, "logits", lambda self, rows: widths.append(len(rows)) or original(self, rows))
    loss(**batch())[0].backward()
    assert max(widths) == 8


def test_what_is_missing_is_said():
    with pytest.raises(ValueError, match="pass `reference`"):
        UnlearningLoss(make_scorer(tiny()), forget=Term(METHODS["undial"], METHODS["undial"].bind(CONFIG)))
    with pytest.raises(ValueError, match="pass `reference_log_p`"):
        build(tiny(), None, "npo")(**batch())
