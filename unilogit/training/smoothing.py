"""Steps whose forget term is minimised where it is highest near the weights: sharpness-aware minimisation of it alone.

The direction is that of the whole step, whatever its micro-batches and processes. Knows no loss.
Source: Fan et al. 2025, arxiv.org/abs/2502.05374, algorithm of SAM-based unlearning.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer

from unilogit.data.tokenisation import IGNORED
from unilogit.training.examples import FORGET, PREFERRED, RETAIN

Batch = dict[str, Tensor]


class SmoothedSteps(Trainer):
    """A Trainer with three passes a step: where forgetting is worst nearby, its gradient there, retaining here.

    Attributes:
        radius: how far nearby is, as a Euclidean distance over all trained weights; None for plain steps.
        pieces: of each term, what was logged of it.
    """

    radius: float | None = None
    pieces: dict[str, list[Tensor]]
    _batches: Sequence[Batch] = ()
    _moves: Sequence[Tensor] = ()

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], Any]:
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._batches, self._moves = batches, ()
        return batches, items

    def training_step(self, model: nn.Module, inputs: Batch, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        """Add a micro-batch's gradient of both terms; the loss is that of the moved weights and of the others."""
        if self.radius is None:
            return super().training_step(model, inputs, num_items_in_batch)
        if not self._moves:
            self._moves = self._uphill(model, num_items_in_batch)
        weights = [parameter.detach() for parameter in _trained(model)]
        kept = [weight.clone() for weight in weights]
        for weight, move in zip(weights, self._moves, strict=True):
            weight.add_(move)
        loss = self._pass(model, inputs, (FORGET, PREFERRED), num_items_in_batch)
        for weight, before in zip(weights, kept, strict=True):
            weight.copy_(before)
        return loss + self._pass(model, inputs, (RETAIN,), num_items_in_batch)

    def _uphill(self, model: nn.Module, items: Tensor | int | None) -> list[Tensor]:
        """`radius` along the gradient of the step's forget term, for each trained weight."""
        logged = {name: len(values) for name, values in self.pieces.items()}
        for batch in self._batches:
            self._pass(model, batch, (FORGET, PREFERRED), items)
        for name, count in logged.items():
            del self.pieces[name][count:]
        gradients = []
        for parameter in _trained(model):
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            gradients.append(self.accelerator.reduce(gradient, "mean") if self.args.world_size > 1 else gradient)
            parameter.grad = None
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
        return [gradient * (self.radius / norm.clamp_min(torch.finfo(norm.dtype).tiny)) for gradient in gradients]

    def _pass(self, model: nn.Module, batch: Batch, roles: Sequence[int], items: Tensor | int | None) -> Tensor:
        """Forward and backward of the sequences in these roles; 0 where there are none."""
        chosen = torch.isin(batch["role"], batch["role"].new_tensor(roles))
        if not chosen.any():
            if self.args.world_size == 1:
                return torch.zeros((), device=self.args.device)
            # The others wait for this process's gradients: those of a sequence that counts nothing.
            chosen[0] = True
            batch = batch | {"labels": torch.full_like(batch["labels"], IGNORED)}
        part = {name: tensor[chosen] for name, tensor in batch.items()}
        return super().training_step(model, part, items)


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]
