"""Forget and retain term of one batch: runs the models and hands each loss what it declared to need.

Knows which row of a batch has which role. Knows nothing of optimisation.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from unilogit.data.tokenisation import IGNORED
from unilogit.kernels import TargetLogProb, every_row, rows_where
from unilogit.losses.answers import ABSENT, Answers
from unilogit.losses.registry import Method
from unilogit.scorer import Features, Scorer
from unilogit.training.examples import FORGET, PREFERRED, RETAIN

_ROWS_AT_ONCE = 1024  # of logits: bounds memory, not the result


class Term(NamedTuple):
    """A registered loss with its knobs filled in."""

    method: Method
    loss: Callable[[Answers], Tensor]


class UnlearningLoss:
    """Both terms over a batch, as sums; dividing by the number of items is left to the caller.

    Args:
        scorer: of the model that is trained.
        forget, retain: the terms; retain is None when there is none.
        reference: scores under the model before unlearning; None when no term needs it.
        as_reference: what to enter for `reference` to be that model.
        layer: whose activations the losses on activations see.
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        forget: Term,
        retain: Term | None = None,
        reference: Scorer | None = None,
        as_reference: Callable[[], AbstractContextManager[Any]] = nullcontext,
        layer: int = 0,
    ) -> None:
        self.scorer, self.reference, self.as_reference = scorer, reference, as_reference
        self.terms = {FORGET: forget} | ({RETAIN: retain} if retain else {})
        needs = {need for term in self.terms.values() for need in term.method.needs}
        self.layer = layer if "hidden" in needs else None
        self.has_preferred = bool({"alternative", "idk"} & needs)
        self.forgotten_nll = float("inf")  # per answer token; answers less likely than that are not pressed on

    def count(self, labels: Tensor, role: Tensor) -> Tensor:
        """How many items (tokens or examples) each of the terms has a value for: [1] or [2], float64."""
        items = [
            _answered(labels, role, of) if term.method.per == "token" else role == of for of, term in self.terms.items()
        ]
        return torch.stack([where.sum() for where in items]).double()

    def __call__(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor,
        role: Tensor,
        scale: Sequence[float] = (1.0, 1.0),
    ) -> tuple[Tensor, list[Tensor]]:
        """The terms' sums over their items, weighted and added up; and each sum on its own.

        Args:
            input_ids, attention_mask, labels: int64 of shape [B, T].
            role: [B], FORGET, RETAIN or PREFERRED.
            scale: what each term's sum counts: of forget, then of retain.

        Returns:
            (loss, sums): a scalar, and a scalar without gradient for each term.
        """
        reference = None
        if self.reference is not None:
            with torch.no_grad(), self.as_reference():
                reference = self.reference.features(input_ids, attention_mask, self.layer)
        features = self.scorer.features(input_ids, attention_mask, self.layer)
        scales = dict(zip(self.terms, scale, strict=False))
        return self.scorer.within_head(self._terms, features, reference, labels, role, scales)

    def _terms(
        self, features: Features, reference: Features | None, labels: Tensor, role: Tensor, scales: dict[int, float]
    ) -> tuple[Tensor, list[Tensor]]:
        fused = [of for of, term in self.terms.items() if self.scorer.fused and term.method.one_pass]
        parts: list[Tensor] = []
        sums: dict[int, Tensor] = {}
        if fused:
            part, sums = self._in_one_pass(fused, scales, features, labels, role)
            parts.append(part)
        others = [of for of in self.terms if of not in fused]
        answers = self._score(others, features, reference, labels, role) if others else {}
        if self.has_preferred:
            answers[FORGET] = replace(answers[FORGET], preferred=answers[PREFERRED])
        for of in others:
            term = self.terms[of]
            if "logits" in term.method.needs:
                places = _answered(labels, role, of)
                total = self._sum_over_rows(term, features, reference, answers[of].target, places)
            else:
                values = term.loss(answers[of])
                if of == FORGET and "log_p" in term.method.needs:
                    values = values * self._still_known(answers[of], term.method.per)
                total = values.sum()
            parts.append(scales[of] * total)
            sums[of] = total.detach()
        return torch.stack(parts).sum(), [sums[of] for of in self.terms]

    def _in_one_pass(
        self, roles: Sequence[int], scales: dict[int, float], features: Features, labels: Tensor, role: Tensor
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Terms whose losses know a token's log p and log(1 − p) alone: one pass over the vocabulary for all."""
        wanted = _answered(labels, role, *roles)
        if FORGET in roles and math.isfinite(self.forgotten_nll):
            wanted = self._without_forgotten(wanted, features, labels, role)
        hidden, target = features.last[:, :-1][wanted], labels[:, 1:][wanted]
        forget = (role == FORGET)[:, None].expand_as(wanted)[wanted]
        losses = {of: partial(_of_scores, self.terms[of].loss) for of in roles}
        loss = rows_where(forget, losses[FORGET], losses[RETAIN]) if len(losses) > 1 else every_row(losses[roles[0]])
        weights = torch.where(forget, scales.get(FORGET, 0.0), scales.get(RETAIN, 0.0))
        found = self.scorer.one_pass_loss(hidden, target, loss, weights)
        return found.total, {of: found.per_token[forget == (of == FORGET)].sum() for of in roles}

    @torch.no_grad()
    def _without_forgotten(self, wanted: Tensor, features: Features, labels: Tensor, role: Tensor) -> Tensor:
        """`wanted` less the tokens of forget answers that are no longer pressed on: they cost no gradient."""
        answers = self._score([FORGET], features, None, labels, role)[FORGET]
        wanted = wanted.clone()
        wanted[_answered(labels, role, FORGET)] = self._still_known(answers, "token").bool()
        return wanted

    def _still_known(self, answers: Answers, per: str) -> Tensor:
        """1 for each item of an answer that is likelier than `forgotten_nll` says, else 0."""
        known = answers.mean_of_each(-answers.log_p.detach()) < self.forgotten_nll
        return (known if per == "example" else known[answers.example]).to(answers.log_p.dtype)

    def _score(
        self, roles: Sequence[int], features: Features, reference: Features | None, labels: Tensor, role: Tensor
    ) -> dict[int, Answers]:
        """Everything but rows of logits, by role."""
        preferred = [PREFERRED] if self.has_preferred and FORGET in roles else []
        answers = {}
        for of in (*roles, *preferred):
            of_role = role == of
            answered = _answered(labels, role, of)
            example = (of_role.cumsum(0) - 1)[answered.nonzero()[:, 0]]
            answers[of] = Answers(example=example, examples=int(of_role.sum()), target=labels[:, 1:][answered])
            if features.hidden is not None:
                tokens = (labels != IGNORED) & of_role[:, None]
                answers[of] = replace(
                    answers[of],
                    hidden=features.hidden[tokens],
                    reference_hidden=ABSENT
                    if reference is None or reference.hidden is None
                    else reference.hidden[tokens],
                )
        scored = [of for of in roles if "log_p" in self.terms[of].method.needs] + preferred
        for of, log_p, log_complement in self._log_p(self.scorer, features, labels, role, scored):
            answers[of] = replace(answers[of], log_p=log_p, log_complement=log_complement)
        compared = [of for of in scored if "reference" in self.terms.get(of, self.terms[FORGET]).method.needs]
        if reference is not None and self.reference is not None and compared:
            with torch.no_grad():
                for of, log_p, _ in self._log_p(self.reference, reference, labels, role, compared):
                    answers[of] = replace(answers[of], reference_log_p=log_p)
        return answers

    @staticmethod
    def _log_p(
        scorer: Scorer, features: Features, labels: Tensor, role: Tensor, roles: list[int]
    ) -> Iterator[tuple[int, Tensor, Tensor]]:
        """(role, log p, log(1 − p)) of each of `roles`, with the head applied once for all of them."""
        if not roles:
            return
        wanted = _answered(labels, role, *roles)
        scores = scorer.score_targets(features.last[:, :-1][wanted], labels[:, 1:][wanted])
        role_of_token = role[:, None].expand_as(wanted)[wanted]
        for of in roles:
            chosen = role_of_token == of
            yield of, scores.log_p[chosen], scores.log_complement[chosen]

    def _sum_over_rows(
        self, term: Term, features: Features, reference: Features | None, target: Tensor, places: Tensor
    ) -> Tensor:
        """The sum of a loss on whole rows of logits, of which few exist at a time, in backward too."""

        def part(rows: Tensor, reference_rows: Tensor, wanted: Tensor) -> Tensor:
            before = ABSENT
            if self.reference is not None:
                with torch.no_grad():
                    before = self.reference.logits(reference_rows)
            answers = Answers(target=wanted, logits=self.scorer.logits(rows), reference_logits=before)
            return term.loss(answers).sum()

        rows = features.last[:, :-1][places]
        reference_rows = rows.detach() if reference is None else reference.last[:, :-1][places]
        parts = zip(*(of.split(_ROWS_AT_ONCE) for of in (rows, reference_rows, target)), strict=True)
        sums = [checkpoint(part, *each, use_reentrant=False, preserve_rng_state=False) for each in parts]
        return torch.stack(sums).sum()


def _of_scores(loss: Callable[[Answers], Tensor], scores: TargetLogProb) -> Tensor:
    return loss(Answers(log_p=scores.log_p, log_complement=scores.log_complement))


def _answered(labels: Tensor, role: Tensor, *roles: int) -> Tensor:
    """[B, T − 1]: where the next token is an answer's, in rows of one of `roles`."""
    rows = torch.stack([role == of for of in roles]).any(dim=0)
    return (labels[:, 1:] != IGNORED) & rows[:, None]
