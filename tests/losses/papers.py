"""The losses as their papers write them, plainly, on whole logits: what the library's are compared with.

z [N, V] are the logits of answer tokens, and `b` holds what belongs to them: target and example [N], z_ref
[N, V] of the model before unlearning, and the same of better answers.
"""

import math

import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax, one_hot, sigmoid, softmax


def log_p(logits, target):
    return torch.stack([log_softmax(row, 0)[t] for row, t in zip(logits, target, strict=True)])


def whole(values, example):
    """Sum over each example's tokens, one example at a time."""
    return torch.stack([values[example == e].sum() for e in range(int(example.max()) + 1)])


def unilogit_target(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """log q: the target's logit replaced so that softmax gives it exactly 1/V; detached."""
    modified = logits.detach().clone()
    for row, t in enumerate(target.tolist()):
        others = torch.cat([modified[row, :t], modified[row, t + 1 :]])
        modified[row, t] = torch.logsumexp(others, dim=0) - math.log(logits.shape[1] - 1)
    return torch.log_softmax(modified, dim=1)


def unilogit(logits: torch.Tensor, target: torch.Tensor, direction: str) -> torch.Tensor:
    log_q, log_p = unilogit_target(logits, target), torch.log_softmax(logits, dim=1)
    if direction == "reverse":
        return torch.nn.functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(dim=1)
    return torch.nn.functional.kl_div(log_p, log_q, reduction="none", log_target=True).sum(dim=1)


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


def pdu(z, b):
    return torch.stack([(row.max() - row.sum() / len(row)) ** 2 for row in z])


def jensen_shannon(p, q):
    log_mean = ((p + q) / 2).log()
    return sum(kl_div(log_mean, one, reduction="none").sum(dim=-1) for one in (p, q)) / 2


def jensun(z, b):
    refused = one_hot(b["better"], z.shape[1]).to(z)
    divergence = jensen_shannon(softmax(b["z_better"], 1), refused)
    return whole(divergence, b["better_example"]) / torch.bincount(b["better_example"])


def kl(z, b):
    return kl_div(log_softmax(z, 1), softmax(b["z_ref"], 1), reduction="none").sum(dim=1)


PAPERS = {
    "unilogit": lambda z, b: unilogit(z, b["target"], "reverse"),
    "gradient_ascent": gradient_ascent,
    "grad_diff": gradient_ascent,
    "kl_to_reference": gradient_ascent,
    "npo": npo,
    "npo_sam": npo,
    "simnpo": simnpo,
    "dpo": dpo,
    "idk_dpo": dpo,
    "undial": undial,
    "wga": wga,
    "satimp": satimp,
    "ceu": ceu,
    "pdu": pdu,
    "jensun": jensun,
}
RETAIN = {
    "nll": lambda z, b: -gradient_ascent(z, b),
    "kl": kl,
    "jsd": lambda z, b: jensen_shannon(softmax(z, 1), softmax(b["z_ref"], 1)),
}
