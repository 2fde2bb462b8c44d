"""Can an attacker tell people of the forget set from people whom the model never saw?

Each attack gives an answer a score that is low for what the model was trained on; the area under the ROC curve
says how well it tells the two apart. As OpenUnlearning computes them. Knows nothing of records or sets.

- loss: NLL (Yeom et al. 2018, arXiv 1709.01604)
- zlib: NLL / bytes of the compressed answer (Carlini et al. 2021, arXiv 2012.07805)
- min_k: −mean of the lowest 40% of token log-probabilities (Shi et al. 2024, arXiv 2310.16789)
- min_k_plus_plus: the same of log-probabilities standardised by those of a token that the model would draw
  itself (Zhang et al. 2025, arXiv 2404.02936)
- reference: NLL − NLL of a model that never saw the forget set (Carlini et al. 2021)
- gradient_norm: mean over the parameters of the norm of the NLL's gradient (Duan et al. 2024, arXiv 2402.07841)
"""

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unilogit.data.prompt_format import Prompt
from unilogit.data.tokenisation import Encoded, collate, encode_all
from unilogit.evaluation.token_scores import TokenScores, answer_rows
from unilogit.model import Scorer, context_length, make_scorer
from unilogit.progress import track

ATTACKS = ("loss", "zlib", "min_k", "min_k_plus_plus", "reference", "gradient_norm")
K = 0.4  # share of tokens that both Min-K attacks look at
LOWEST_RETAIN_AUC = 0.05  # of Min-K% on a retain model that PrivLeak compares with; 1 − it is the highest


def attack_scores(tokens: TokenScores, answer: str) -> dict[str, float]:
    """Scores of the attacks that need one forward pass: loss, zlib, min_k and min_k_plus_plus.

    Args:
        tokens: of the answer, with mean and deviation.
        answer: its text.
    """
    inner = tokens.without_end()
    return {
        "loss": tokens.nll,
        "zlib": tokens.nll / len(zlib.compress(answer.encode())),
        "min_k": _lowest(inner.log_p),
        "min_k_plus_plus": _lowest((inner.log_p - inner.mean) / inner.deviation),
    }


def _lowest(values: np.ndarray) -> float:
    """−mean of the lowest 40%, of one value at least; 0 where there are none."""
    if not len(values):
        return 0.0
    return float(-np.sort(values)[: max(1, int(len(values) * K))].mean())


def gradient_norms(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    answers: Sequence[str],
    *,
    max_length: int | None = None,
    progress: str | None = None,
) -> np.ndarray:
    """Score of the gradient-norm attack, of each whole answer; end-of-sequence is left out.

    One backward pass each, or one for each window of an answer too long for the model.

    Args:
        max_length: as in `score_tokens`.
        progress: what a progress bar on standard error says; None for no bar.

    Returns:
        float64 of shape [answers]; 0 for an answer without tokens. The model and its gradients are as before.

    Raises:
        InputError: as `score_tokens`.
    """
    answer_windows = encode_all(tokenizer, prompts, answers, context_length(model, max_length))
    scorer, parameters = make_scorer(model), list(model.parameters())
    needed_gradient, was_training = [parameter.requires_grad for parameter in parameters], model.training
    model.eval().requires_grad_(True)
    norms = np.zeros(len(prompts))
    try:
        for place, windows in enumerate(track(answer_windows, progress)):
            gradients = [part for part in _nll_gradients(scorer, parameters, windows) if part is not None]
            if gradients:
                norms[place] = torch.stack([part.norm() for part in gradients]).mean().item()
    finally:
        model.train(was_training)
        for parameter, needed in zip(parameters, needed_gradient, strict=True):
            parameter.requires_grad_(needed)
    return norms


def _nll_gradients(scorer: Scorer, parameters: Sequence[Tensor], windows: Sequence[Encoded]) -> list[Tensor | None]:
    """Of an answer's NLL, a mean over its tokens without the end: for each parameter, None where it has no part."""
    counts = [len(window.ids) - window.answer_start for window in windows]
    counts[-1] -= 1
    total: list[Tensor | None] = [None] * len(parameters)
    for window, count in zip(windows, counts, strict=True):
        if not count:
            continue
        rows, target = answer_rows(scorer, collate([window], None))
        nll = -scorer.score_targets(rows[:count], target[:count]).log_p.mean() * (count / sum(counts))
        gradients = torch.autograd.grad(nll, parameters, allow_unused=True)
        total = [
            part if old is None else old if part is None else old + part
            for old, part in zip(total, gradients, strict=True)
        ]
    return total


def attack_auc(member: np.ndarray, non_member: np.ndarray) -> float:
    """How often a member has the lower score of a random pair, a tie counting half (area under the ROC curve).

    Args:
        member, non_member: an attack's scores, finite, at least one each: forget set and holdout.

    Returns:
        0.5: the attacker guesses; 1: members always score lower.
    """
    from sklearn.metrics import roc_auc_score

    is_member = np.r_[np.ones(len(member)), np.zeros(len(non_member))]
    return float(roc_auc_score(is_member, -np.r_[member, non_member]))


def privleak(auc: float, retain_model_auc: float) -> float:
    """PrivLeak (MUSE, Shi et al. 2024, arXiv 2407.06460): how far an attack is from what it does to the retain model.

    Args:
        auc, retain_model_auc: `attack_auc` of Min-K% on the model and on the retain model.

    Returns:
        Per cent; 0: leaks as the retain model does; negative: not forgotten enough; positive: too much.
    """
    return ((1 - auc) - (1 - retain_model_auc)) / (1 - retain_model_auc + 1e-10) * 100


def auc_error(auc: float, members: int, non_members: int) -> float:
    """Standard error of an AUC of so many members and non-members (Hanley and McNeil 1982, eq. 2, their Q1 and Q2)."""
    first, second = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (non_members - 1) * (first - auc**2) + (members - 1) * (second - auc**2)
    return float(np.sqrt(variance / (members * non_members)))


def why_no_privleak(retain_model_auc: float) -> str | None:
    """Why PrivLeak says nothing beside such a retain model; None where it does.

    It divides by how far the attack is from telling everybody on the retain model: next to nothing when that knows the
    forget set, and 4.9e11 is no measure of a leak. Where it tells everybody the wrong way round, the sets differ in
    more than in whether the model saw them.

    Args:
        retain_model_auc: as for `privleak`.
    """
    if not (retain_model_auc < LOWEST_RETAIN_AUC or retain_model_auc > 1 - LOWEST_RETAIN_AUC):
        return None  # a NaN is none here, either
    return (
        f"Min-K% tells forget set and holdout apart on the retain model itself (AUC {retain_model_auc:.3f}, which must"
        f" be {LOWEST_RETAIN_AUC:g} to {1 - LOWEST_RETAIN_AUC:g}), so there is nothing to compare a leak with"
    )
