"""Going on from the weights of an earlier run of the same model, whose forgetting fell short.

What a run compares with stays the model before any unlearning: it is measured, and copied where a loss needs a copy,
before the weights are put in its place. Knows weights by their names; nothing of who made them.
"""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from unilogit.errors import InputError
from unilogit.wrappers import weights_are_shared_out

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class StartingWeights(TrainerCallback):
    """Puts weights into a model, once: before its first step, after the model before unlearning was measured.

    Args:
        model: before anything is added to it; the same parameters are trained, or stand below adapters.
        weights: by the names of its parameters, tied ones once; of any floating-point dtype. Let go of once put.

    Attributes:
        digest: of the weights.

    Raises:
        InputError: they are of another model, or processes have a part of the weights each (FSDP).
    """

    def __init__(self, model: "PreTrainedModel", weights: Mapping[str, Tensor]) -> None:
        self.parameters, self.weights = dict(model.named_parameters()), weights
        if weights_are_shared_out():
            raise InputError(
                "model.start: processes that have a part of the weights each (FSDP) cannot go on from a version; set"
                " unlearn.sharding to none, or model.start to null"
            )
        shapes = [{name: tuple(tensor.shape) for name, tensor in part.items()} for part in (self.parameters, weights)]
        if shapes[0] != shapes[1]:
            unlike = sorted(name for name, _ in set(shapes[0].items()) ^ set(shapes[1].items()))
            raise InputError(
                f"model.start: is another model than the one that is unlearned from ({unlike[0]} is not the same in"
                " both); set it to null"
            )

        digest = hashlib.sha256()
        for name, tensor in sorted(weights.items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        self.digest = digest.hexdigest()

    def put(self) -> None:
        """Have the model's parameters hold these weights, in the dtype and on the device that they have now."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(self.weights[name])
        self.weights = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if state.global_step == 0:
            self.put()
