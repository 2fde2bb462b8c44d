"""DPO (Rafailov et al., NeurIPS 2023, arXiv 2305.18290, eq. 7), with the answer to forget as the worse one.

    L = −(2/β) · E_x [ log σ( β · log( π(w|x) / π_ref(w|x) ) − β · log( π(y|x) / π_ref(y|x) ) ) ]

y is the answer to forget and w a better one: the record's own alternative (`dpo`, as in AltPO, Mekala et al.
2024, arXiv 2409.13474) or a way of saying "I don't know" (`idk_dpo`, as in TOFU, Maini et al. 2024,
arXiv 2401.06121). The factor 2/β, as in OpenUnlearning and NPO, makes the step comparable with gradient
ascent's.
"""

from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from unilogit.losses.knobs import STRICT, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from unilogit.losses.answers import Answers


@dataclass(frozen=True, config=STRICT)
class Dpo:
    """Knobs of DPO, as published.

    Attributes:
        beta: more stays nearer to the model before unlearning.
    """

    beta: Positive = 0.1


def dpo_loss(answers: "Answers", knobs: Dpo) -> "Tensor":
    """Per-example DPO loss, shape [E]; needs `answers.preferred`."""
    from torch.nn.functional import logsigmoid

    assert answers.preferred is not None
    beta = knobs.beta
    return -2 / beta * logsigmoid(beta * (answers.preferred.log_ratio() - answers.log_ratio()))
