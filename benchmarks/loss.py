"""Time and peak memory of one forward and backward pass through head and loss, for each way to compute it.

    python -m benchmarks.loss --tokens 2048 --hidden 1024 --vocabulary 128256 --dtype float32

Memory is measured in a fresh process for each variant, and on a GPU in this one. Writes
benchmarks/results/loss-<device>.json, which `python -m benchmarks.table` turns into docs/performance.md. Knows no
model: hidden states are random.
"""

import argparse
import math
import multiprocessing
import resource
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, linear

from benchmarks.measure import RESULTS, Seconds, interleaved, seconds, write_result
from unilogit.kernels import HeadSpec, TargetLogProb, every_row, fused_target_loss, target_log_prob
from unilogit.kernels.spec import LINEAR
from unilogit.losses.answers import Answers
from unilogit.losses.unilogit import Unilogit, unilogit_loss

Step = Callable[[Tensor, Tensor, Tensor], None]


def naive_unilogit(hidden: Tensor, weight: Tensor, target: Tensor) -> None:
    """The paper's definition, step by step: full logits, modified logits, two softmaxes, KL."""
    logits = linear(hidden, weight).float()
    with torch.no_grad():
        modified = logits.clone()
        complement = modified.scatter(1, target[:, None], float("-inf")).logsumexp(dim=1)
        modified.scatter_(1, target[:, None], (complement - math.log(weight.shape[0] - 1))[:, None])
        log_q = torch.log_softmax(modified, dim=1)
    kl_div(log_q, torch.log_softmax(logits, dim=1), reduction="sum", log_target=True).backward()


def unilogit(scores: TargetLogProb, vocabulary: int) -> Tensor:
    return unilogit_loss(Answers(scores.log_p, scores.log_complement, vocabulary=vocabulary), Unilogit())


def reference_unilogit(hidden: Tensor, weight: Tensor, target: Tensor) -> None:
    scores = target_log_prob(hidden, weight, target, HeadSpec(implementation="reference"))
    unilogit(scores, weight.shape[0]).sum().backward()


def recomputing_unilogit(hidden: Tensor, weight: Tensor, target: Tensor) -> None:
    scores = target_log_prob(hidden, weight, target)
    unilogit(scores, weight.shape[0]).sum().backward()


def one_pass_unilogit(hidden: Tensor, weight: Tensor, target: Tensor, spec: HeadSpec = LINEAR) -> None:
    loss = every_row(partial(unilogit, vocabulary=weight.shape[0]))
    fused_target_loss(hidden, weight, target, loss, spec=spec).total.backward()


def full_cross_entropy(hidden: Tensor, weight: Tensor, target: Tensor) -> None:
    cross_entropy(linear(hidden, weight).float(), target, reduction="sum").backward()


def one_pass_cross_entropy(hidden: Tensor, weight: Tensor, target: Tensor) -> None:
    fused_target_loss(hidden, weight, target, every_row(lambda scores: -scores.log_p)).total.backward()


def native_cross_entropy(hidden: Tensor, weight: Tensor, target: Tensor, is_chunked: bool) -> None:
    """PyTorch's own, from 2.13 on: its reference implementation, or the logits of some rows at a time."""
    options = torch.nn.LinearCrossEntropyOptions() if is_chunked else None
    torch.nn.functional.linear_cross_entropy(hidden, weight, target, reduction="sum", options=options).backward()


def liger_cross_entropy(hidden: Tensor, weight: Tensor, target: Tensor) -> None:
    from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

    liger_fused_linear_cross_entropy(hidden, weight, target, reduction="sum").backward()


def cut_cross_entropy(hidden: Tensor, weight: Tensor, target: Tensor, smallest_gradient: str | None) -> None:
    from cut_cross_entropy import linear_cross_entropy

    linear_cross_entropy(hidden, weight, target, reduction="sum", filter_eps=smallest_gradient).backward()


@torch.no_grad()
def bare_products(hidden: Tensor, weight: Tensor, target: Tensor) -> None:
    """The three matrix products that any exact method needs: the limit."""
    logits = hidden @ weight.T
    hidden.grad, weight.grad = logits @ weight, logits.T @ hidden


VARIANTS: dict[str, Step] = {
    "bare products": bare_products,
    "one-pass Unilogit": one_pass_unilogit,
    "one-pass cross-entropy": one_pass_cross_entropy,
    "recomputing Unilogit": recomputing_unilogit,
    "full cross-entropy": full_cross_entropy,
    "reference Unilogit": reference_unilogit,
    "naive Unilogit": naive_unilogit,
}
if hasattr(torch.nn, "LinearCrossEntropyOptions"):
    VARIANTS["PyTorch's linear cross-entropy"] = partial(native_cross_entropy, is_chunked=False)
    VARIANTS["PyTorch's linear cross-entropy, chunked"] = partial(native_cross_entropy, is_chunked=True)
if torch.cuda.is_available() and find_spec("triton"):
    VARIANTS["one-pass Unilogit, without Triton"] = partial(one_pass_unilogit, spec=HeadSpec(implementation="chunked"))
if torch.cuda.is_available() and find_spec("liger_kernel"):
    VARIANTS["Liger fused cross-entropy"] = liger_cross_entropy
if torch.cuda.is_available() and find_spec("cut_cross_entropy"):
    # The default filter gives no gradient to tokens with p above about 1 − 2.4e-4.
    VARIANTS["cut cross-entropy"] = partial(cut_cross_entropy, smallest_gradient="high")
    VARIANTS["cut cross-entropy, exact"] = partial(cut_cross_entropy, smallest_gradient=None)


def inputs(options: argparse.Namespace) -> tuple[Tensor, Tensor, Tensor]:
    device, dtype = options.device, getattr(torch, options.dtype)
    torch.manual_seed(0)
    hidden = torch.randn(options.tokens, options.hidden, device=device, dtype=dtype, requires_grad=True)
    weight = torch.empty(options.vocabulary, options.hidden, device=device, dtype=dtype)
    weight.normal_(std=options.hidden**-0.5).requires_grad_()
    return hidden, weight, torch.randint(options.vocabulary, (options.tokens,), device=device)


def run_once(step: Step, hidden: Tensor, weight: Tensor, target: Tensor) -> Seconds:
    """The time of one forward and backward pass."""
    hidden.grad = weight.grad = None
    return seconds(lambda: step(hidden, weight, target))


def peak_extra_bytes(name: str, options: argparse.Namespace) -> int:
    """Peak memory beyond the inputs, gradients included; on the CPU for a fresh process, as the counter never falls."""
    torch.set_num_threads(options.threads)
    tensors = inputs(options)
    # A small pass first, so that what libraries take on first use does not count.
    small = [tensor[:2].detach().requires_grad_(tensor.is_floating_point()) for tensor in tensors]
    run_once(VARIANTS[name], small[0], small[1], small[2] % 2)
    if options.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run_once(VARIANTS[name], *tensors)
        return torch.cuda.max_memory_allocated() - before
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run_once(VARIANTS[name], *tensors)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--vocabulary", type=int, default=128256)
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the processor")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/loss-<device>.json")
    options = parser.parse_args()
    if options.dtype == "float32":  # which it does not do
        options.variants = [name for name in options.variants if not name.startswith("cut ")]

    spawn = multiprocessing.get_context("spawn")
    rows: dict[str, dict[str, float]] = {}
    for name in options.variants:
        if options.device == "cuda":
            rows[name] = {"peak_extra_bytes": peak_extra_bytes(name, options)}
        else:
            with spawn.Pool(1) as pool:
                rows[name] = {"peak_extra_bytes": pool.apply(peak_extra_bytes, (name, options))}
        print(f"{name}: {rows[name]['peak_extra_bytes'] / 1e6:.0f} MB", flush=True)

    torch.set_num_threads(options.threads)
    tensors = inputs(options)
    steps = {name: partial(run_once, VARIANTS[name], *tensors) for name in options.variants}
    shape = {key: getattr(options, key) for key in ("tokens", "hidden", "vocabulary", "dtype")}
    path = options.out or RESULTS / f"loss-{options.device}.json"
    for repeats, times in interleaved(steps, options.repeats):
        for name, summary in times.items():
            rows[name].update(summary)
        write_result(path, options.device, {**shape, "repeats": repeats, "variants": rows})
    print(path)


if __name__ == "__main__":
    main()
