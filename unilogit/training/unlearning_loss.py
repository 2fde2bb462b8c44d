"""Forget and retain term of one batch: runs the models and hands each loss what it declared to need.

Knows models, losses and which forget answers are paused. Knows nothing of optimisation.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from unilogit.kernels import TargetLogProb, group_chunks
from unilogit.losses.answers import ABSENT, Answers
from unilogit.losses.registry import Method
from unilogit.model import Features, Scorer
from unilogit.training.answer_tokens import AnswerTokens
from unilogit.training.examples import FORGET, PREFERRED, RETAIN
from unilogit.wrappers import run_as_forward

_ROWS_AT_ONCE = 1024  # of logits: bounds memory, not the result


class Term(NamedTuple):
    """A registered loss with its knobs filled in."""

    method: Method
    loss: Callable[[Answers], Tensor]


class Reference(NamedTuple):
    """What the model before unlearning makes of the answer tokens that a loss compares with it."""

    features: Features
    tokens: AnswerTokens


class UnlearningLoss:
    """Both terms over a batch, as sums; dividing by the number of items is left to the caller.

    Args:
        scorer: of the model that is trained.
        forget, retain: the terms; retain is None when there is none.
        reference: of the model before unlearning; None when no term needs that model.
        as_reference: what to enter for `reference` to be that model.
        layer: whose activations the losses on activations see, counted from 0.

    Raises:
        ValueError: a term needs `reference`, or in a call `reference_log_p`, and there is none.

    Attributes:
        forgotten_nll: nats per token. A forget answer whose mean NLL is not below it counts 0 in the forget term,
            value and gradient, whatever the method. Infinite: none is left out.
        drift: what log targets are multiplied by.
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        forget: Term,
        retain: Term | None = None,
        reference: Scorer | None = None,
        as_reference: Callable[[], AbstractContextManager[None]] = nullcontext,
        layer: int = 0,
    ) -> None:
        self.scorer, self.reference, self.as_reference = scorer, reference, as_reference
        self.terms = {FORGET: forget} | ({RETAIN: retain} if retain else {})
        needs = {need for term in self.terms.values() for need in term.method.needs}
        self.layer = layer if "hidden" in needs else None
        self.has_preferred = bool({"alternative", "idk"} & needs)
        self.compared = [role for role, term in self.terms.items() if term.method.needs_reference_model]
        if self.compared and reference is None:
            raise ValueError("these terms need the model before unlearning: pass `reference`")
        self.forgotten_nll, self.drift = math.inf, 1.0

    def count(self, labels: Tensor, role: Tensor) -> Tensor:
        """How many items (tokens or examples) each of the terms has a value for: [1] or [2], float64."""
        tokens = AnswerTokens.from_batch(labels, role)
        items = {"token": tokens.role, "example": role}
        counts = [(items[term.method.unit] == wanted).sum() for wanted, term in self.terms.items()]
        return torch.stack(counts).double()

    def __call__(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor,
        role: Tensor,
        scale: Sequence[float] = (1.0, 1.0),
        reference_log_p: Tensor | None = None,
        log_target: Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """The loss of a batch.

        Args:
            input_ids, attention_mask, labels: [B, T], as `collate` makes them.
            role: [B], FORGET, RETAIN or PREFERRED; a forget sequence's better answer follows it.
            scale: what each term's sum is multiplied by in the loss.
            reference_log_p: [B, T], log p of the tokens of forget and better answers under the model before
                unlearning; for terms that need it.
            log_target: [B, T], log of the probability that each token of a forget answer is driven to.

        Returns:
            The loss, and each term's sum before scaling, detached.
        """
        if reference_log_p is None and any(term.method.needs_reference_log_p for term in self.terms.values()):
            raise ValueError("these terms need log p under the model before unlearning: pass `reference_log_p`")
        tokens = AnswerTokens.from_batch(labels, role, reference_log_p, log_target)
        reference = self._run_reference(input_ids, attention_mask, labels, role)
        features = tokens.select(self.scorer.features(input_ids, attention_mask, self.layer))
        scales = dict(zip(self.terms, scale, strict=False))
        return self.scorer.within_head(self._terms, features, tokens, reference, scales)

    @property
    def _reference_is_inside(self) -> bool:
        """Whether it is the trained model without its adapters, whose forward is running already."""
        return self.reference is not None and self.reference.model is self.scorer.model

    @torch.no_grad()
    def _run_reference(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor, role: Tensor
    ) -> Reference | None:
        if self.reference is None:
            return None
        chosen = torch.isin(role, role.new_tensor(self.compared))
        chosen[0] |= ~chosen.any()  # a model runs on one sequence at least
        tokens = AnswerTokens.from_batch(labels[chosen], role[chosen])
        inputs = input_ids[chosen], attention_mask[chosen], self.layer
        with self.as_reference():
            if self._reference_is_inside:
                features = self.reference.features(*inputs)
            else:
                features = run_as_forward(self.reference.model, self.reference.features, *inputs)
        return Reference(tokens.select(features), tokens)

    def _terms(
        self, features: Features, tokens: AnswerTokens, reference: Reference | None, scales: dict[int, float]
    ) -> tuple[Tensor, list[Tensor]]:
        one_pass = [role for role, term in self.terms.items() if term.method.one_pass]
        parts: list[Tensor] = []
        sums: dict[int, Tensor] = {}
        if one_pass:
            total, sums = self._in_one_pass(one_pass, scales, features, tokens)
            parts.append(total)
        for role in self.terms:
            if role in one_pass:
                continue
            if "logits" in self.terms[role].method.needs:
                total = self._sum_over_logits(role, features, tokens, reference)
            else:
                total = self._values(role, self._answers(role, features, tokens, reference)).sum()
            parts.append(scales[role] * total)
            sums[role] = total.detach()
        return torch.stack(parts).sum(), [sums[role] for role in self.terms]

    def _in_one_pass(
        self, roles: Sequence[int], scales: dict[int, float], features: Features, tokens: AnswerTokens
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """The scaled total of terms whose losses know a token's log p and log(1 − p) alone, and their sums."""
        chosen = tokens.of_roles(*roles)
        tokens = tokens.take(chosen)
        has_targets = tokens.log_target is not ABSENT

        def loss(scores: TargetLogProb, rows: slice) -> Tensor:
            values = torch.zeros_like(scores.log_p)
            for role in roles:
                places = tokens.role[rows] == role
                answers = Answers(
                    log_p=scores.log_p[places],
                    log_complement=scores.log_complement[places],
                    example=tokens.example[rows][places],
                    examples=tokens.examples[role],
                    vocabulary=self.scorer.vocabulary,
                    log_target=tokens.log_target[rows][places] * self.drift if has_targets else ABSENT,
                )
                values = values.index_put((places,), self._values(role, answers))
            return values

        weights = torch.where(tokens.role == FORGET, scales.get(FORGET, 0.0), scales.get(RETAIN, 0.0))
        groups = tokens.sequence if any(self._pauses(role) for role in roles) else None
        result = self.scorer.one_pass_loss(features.rows[chosen], tokens.target, loss, weights, groups)
        return result.total, {role: result.per_token[tokens.role == role].sum() for role in roles}

    def _sum_over_logits(
        self, role: int, features: Features, tokens: AnswerTokens, reference: Reference | None
    ) -> Tensor:
        """The sum of a loss on whole rows of logits, of which few exist at a time, in backward too."""
        pauses, chosen = self._pauses(role), tokens.of_roles(role)
        tokens, rows = tokens.take(chosen), features.rows[chosen]
        before = None
        if reference is not None and role in self.compared:
            before = reference.features.rows[reference.tokens.of_roles(role)]

        def part(rows: Tensor, chunk: slice) -> Tensor:
            logits, target = self.scorer.logits(rows), tokens.target[chunk]
            answers = Answers(
                log_p=-cross_entropy(logits.detach(), target, reduction="none") if pauses else ABSENT,
                example=tokens.example[chunk],
                examples=tokens.examples[role],
                target=target,
                vocabulary=self.scorer.vocabulary,
                logits=logits,
                reference_logits=ABSENT if before is None else self._reference_logits(before[chunk]),
            )
            return self._values(role, answers).sum()

        groups = tokens.sequence if pauses else torch.arange(len(chosen))
        chunks = group_chunks(groups, _ROWS_AT_ONCE) or [slice(0, 0)]
        sums = [checkpoint(part, rows[chunk], chunk, use_reentrant=False, preserve_rng_state=False) for chunk in chunks]
        return torch.stack(sums).sum()

    @torch.no_grad()
    def _reference_logits(self, rows: Tensor) -> Tensor:
        assert self.reference is not None
        if self._reference_is_inside:
            return self.reference.logits(rows)
        return self.reference.within_head(self.reference.logits, rows)

    def _answers(self, role: int, features: Features, tokens: AnswerTokens, reference: Reference | None) -> Answers:
        """What the losses on log p and on activations see; better answers are scored together with the worse."""
        needs = self.terms[role].method.needs
        roles = (role, PREFERRED) if role == FORGET and self.has_preferred else (role,)
        chosen = tokens.of_roles(*roles)
        tokens, rows = tokens.take(chosen), features.rows[chosen]
        log_p = log_complement = reference_hidden = ABSENT
        hidden = ABSENT if features.hidden is None else features.hidden[chosen]
        if "log_p" in needs:
            log_p, log_complement = self.scorer.score_targets(rows, tokens.target)
        elif self._pauses(role):
            with torch.no_grad():
                log_p, _ = self.scorer.score_targets(rows, tokens.target)
        if reference is not None and role in self.compared:
            before = reference.features.hidden
            reference_hidden = ABSENT if before is None else before[reference.tokens.of_roles(role)]
        scored = Answers(
            log_p=log_p,
            log_complement=log_complement,
            reference_log_p=tokens.reference_log_p,
            example=tokens.example,
            target=tokens.target,
            vocabulary=self.scorer.vocabulary,
            hidden=hidden,
            reference_hidden=reference_hidden,
        )
        by_role = {wanted: scored.take(tokens.role == wanted, tokens.examples[wanted]) for wanted in roles}
        return replace(by_role[role], preferred=by_role.get(PREFERRED))

    def _pauses(self, role: int) -> bool:
        return role == FORGET and math.isfinite(self.forgotten_nll)

    def _values(self, role: int, answers: Answers) -> Tensor:
        """The loss of each item; 0 for those of forget answers that are no likelier than `forgotten_nll` says."""
        term = self.terms[role]
        values = term.loss(answers)
        if not self._pauses(role):
            return values
        paused = answers.mean_by_example(-answers.log_p.detach()) >= self.forgotten_nll
        return torch.where(paused if term.method.unit == "example" else paused[answers.example], 0.0, values)
