"""Time and peak memory of one forward and backward pass through head and loss, for each way to compute it.

    python -m benchmarks.loss --tokens 2048 --hidden 1024 --vocabulary 128256 --dtype float32

Times are interleaved: every repeat runs every variant once, so that a busy moment hits all alike. Memory is
measured in a fresh process for each variant. Writes benchmarks/results/loss-<device>.json, which
`python -m benchmarks.table` turns into docs/performance.md. Knows no model: hidden states are random.
"""

import argparse
import json
import math
import multiprocessing
import platform
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, linear

from unilogit.kernels import every_row, fused_target_loss, target_log_prob
from unilogit.kernels.prepare import Implementation
from unilogit.losses.unilogit import unilogit_loss

RESULTS = Path(__file__).parent / "results"
Step = Callable[[Tensor, Tensor, Tensor], None]


def naive_unilogit(hidden: Tensor, weight: Tensor, target: Tensor) -> None:
    """The paper's definition, step by step: full logits, modified logits, two softmaxes, KL."""
    logits = linear(hidden, weight).float()
    with torch.no_grad():
        modified = logits.clone()
        others = modified.scatter(1, target[:, None], float("-inf")).logsumexp(dim=1)
        modified.scatter_(1, target[:, None], (others - math.log(weight.shape[0] - 1))[:, None])
        log_q = torch.log_softmax(modified, dim=1)
    kl_div(log_q, torch.log_softmax(logits, dim=1), reduction="sum", log_target=True).backward()


def reference_unilogit(hidden: Tensor, weight: Tensor, target: Tensor) -> None:
    scores = target_log_prob(hidden, weight, target, implementation="reference")
    unilogit_loss(scores, weight.shape[0]).sum().backward()


def recomputing_unilogit(hidden: Tensor, weight: Tensor, target: Tensor) -> None:
    scores = target_log_prob(hidden, weight, target, implementation="chunked")
    unilogit_loss(scores, weight.shape[0]).sum().backward()


def one_pass_unilogit(hidden: Tensor, weight: Tensor, target: Tensor, triton: bool = False) -> None:
    loss = every_row(partial(unilogit_loss, vocabulary=weight.shape[0]))
    implementation: Implementation = "triton" if triton else "chunked"
    fused_target_loss(hidden, weight, target, loss, implementation=implementation).total.backward()


def full_cross_entropy(hidden: Tensor, weight: Tensor, target: Tensor) -> None:
    cross_entropy(linear(hidden, weight).float(), target, reduction="sum").backward()


def one_pass_cross_entropy(hidden: Tensor, weight: Tensor, target: Tensor) -> None:
    fused_target_loss(hidden, weight, target, every_row(lambda scores: -scores.log_p)).total.backward()


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
if torch.cuda.is_available() and find_spec("triton"):
    VARIANTS["one-pass Unilogit, Triton"] = partial(one_pass_unilogit, triton=True)


def inputs(options: argparse.Namespace) -> tuple[Tensor, Tensor, Tensor]:
    device, dtype = options.device, getattr(torch, options.dtype)
    torch.manual_seed(0)
    hidden = torch.randn(options.tokens, options.hidden, device=device, dtype=dtype, requires_grad=True)
    weight = torch.empty(options.vocabulary, options.hidden, device=device, dtype=dtype)
    weight.normal_(std=options.hidden**-0.5).requires_grad_()
    return hidden, weight, torch.randint(options.vocabulary, (options.tokens,), device=device)


def run_once(step: Step, hidden: Tensor, weight: Tensor, target: Tensor) -> tuple[float, float]:
    """Wall and processor seconds of one forward and backward pass."""
    hidden.grad = weight.grad = None
    if hidden.is_cuda:
        torch.cuda.synchronize()
    wall, processor = time.perf_counter(), time.process_time()
    step(hidden, weight, target)
    if hidden.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - processor


def peak_extra_bytes(name: str, options: argparse.Namespace) -> int:
    """Peak memory beyond the inputs, gradients included; for a fresh process, as the counter never falls."""
    torch.set_num_threads(options.threads)
    tensors = inputs(options)
    if options.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run_once(VARIANTS[name], *tensors)
        return torch.cuda.max_memory_allocated() - before
    # A small pass first, so that libraries loaded on first use do not count.
    small = [part[:2].detach().requires_grad_(part.is_floating_point()) for part in tensors]
    run_once(VARIANTS[name], small[0], small[1], small[2] % 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run_once(VARIANTS[name], *tensors)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def processor_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


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

    spawn = multiprocessing.get_context("spawn")
    rows: dict[str, dict[str, float]] = {}
    for name in options.variants:
        with spawn.Pool(1) as pool:
            rows[name] = {"peak_extra_bytes": pool.apply(peak_extra_bytes, (name, options))}
        print(f"{name}: {rows[name]['peak_extra_bytes'] / 1e6:.0f} MB", flush=True)

    torch.set_num_threads(options.threads)
    tensors = inputs(options)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in options.variants}
    path = options.out or RESULTS / f"loss-{options.device}.json"
    for repeat in range(options.repeats + 1):
        for name in options.variants:
            pair = run_once(VARIANTS[name], *tensors)
            if repeat:  # the first warms up
                times[name].append(pair)
        if repeat:
            write(path, options, repeat, rows, times)  # after each, so that a run cut short keeps what it has
        print(f"repeat {repeat} of {options.repeats}", flush=True)
    print(path)


def write(
    path: Path,
    options: argparse.Namespace,
    repeats: int,
    rows: dict[str, dict[str, float]],
    times: dict[str, list[tuple[float, float]]],
) -> None:
    """The result file of the repeats so far."""
    for name, pairs in times.items():
        for index, kind in enumerate(("wall", "processor")):
            seconds = [pair[index] for pair in pairs]
            rows[name][f"{kind}_seconds_median"] = statistics.median(seconds)
            rows[name][f"{kind}_seconds_min"] = min(seconds)
    shape = {key: getattr(options, key) for key in ("tokens", "hidden", "vocabulary", "dtype", "threads")}
    hardware = torch.cuda.get_device_name() if options.device == "cuda" else processor_name()
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    result = {"schema_version": 1, "device": options.device, "hardware": hardware, **shape, "repeats": repeats}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**result, "versions": versions, "variants": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
