"""How much slower unlearning is beside other busy processes, when threads that wait spin and when they sleep.

    python -m benchmarks.threads --repeats 3

Each measurement is a process of its own that trains a model of the example's size for some seconds, alone or beside a
neighbour: a Python loop, or another training run on one core or on all. Spinning is what torch's threads do where
torch is imported before unilogit, sleeping is what unilogit has them do, and one thread waits for nobody. Writes
benchmarks/results/threads-cpu.json for `python -m benchmarks.table`. Imports torch late: its import decides.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil

SIZE = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 2, "num_attention_heads": 4}
VOCABULARY = 512
ROWS = {"forget": 8, "retain_per_forget": 4, "length": 48}
ALONE = "alone"
FIRST = {"spinning": "torch", "sleeping": "unilogit", "one thread": "unilogit"}  # what is imported first decides


def train(wait: str, threads: int, seconds: float) -> None:
    """Train for `seconds`. Prints a line when that begins; then steps, wall seconds and processor seconds as JSON."""
    import_module(FIRST[wait])

    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from benchmarks.step import make_batch, with_one_pass
    from unilogit.losses.registry import METHODS, RETAIN_TERMS
    from unilogit.model import make_scorer
    from unilogit.training.config import UnlearnConfig
    from unilogit.training.unlearning_loss import Term, UnlearningLoss

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, tie_word_embeddings=True, **SIZE)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    batch = make_batch(argparse.Namespace(**ROWS, device="cpu"), VOCABULARY)
    method, nll = METHODS["unilogit"], RETAIN_TERMS["nll"]
    config = UnlearnConfig()
    loss = UnlearningLoss(
        make_scorer(model), forget=Term(method, method.bind(config)), retain=Term(nll, nll.bind(config))
    )

    def step() -> None:
        with_one_pass(loss, batch).backward()
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(3):
        step()
    print("ready", flush=True)
    steps, wall, processor = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        step()
        steps += 1
    print(json.dumps([steps, time.perf_counter() - wall, time.process_time() - processor]), flush=True)


@contextmanager
def started(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has said "ready", on torch's and OpenMP's own settings; killed in the end."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    process = subprocess.Popen([sys.executable, *command], env=own, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", f"{command} failed"
        yield process
    finally:
        process.terminate()  # servers end their children
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def busy_seconds() -> float:
    """Processor seconds that all processes of the machine have used so far."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)


def measured(wait: str, neighbour: str, options: argparse.Namespace, strangers: list[float]) -> Any:
    """Seconds of one step; how many cores processes that are not ours had meanwhile is added to `strangers`."""
    from benchmarks.measure import Seconds

    def training(threads: int, seconds: float) -> list[str]:
        return ["-m", "benchmarks.threads", "--train", wait, "--threads", str(threads), "--seconds", str(seconds)]

    commands = {
        ALONE: ["-c", "import time\nprint('ready', flush=True)\ntime.sleep(1e6)"],
        "a Python loop": ["-c", "print('ready', flush=True)\nwhile True: pass"],
        "Prefect and MLflow": ["-m", "benchmarks.servers"],
        "training on one core": training(1, 1e6),
        "training on all cores": training(options.threads, 1e6),
    }
    threads = 1 if wait == "one thread" else options.threads
    run = training(threads, options.seconds)
    with started(*commands[neighbour]) as neighbour_process, started(*run) as ours:
        assert ours.stdout is not None
        total, neighbours = busy_seconds(), sum(psutil.Process(neighbour_process.pid).cpu_times()[:2])
        steps, wall, processor = json.loads(ours.stdout.readline())
        neighbours = sum(psutil.Process(neighbour_process.pid).cpu_times()[:2]) - neighbours
        strangers.append((busy_seconds() - total - neighbours - processor) / wall)
    return Seconds(wall / max(steps, 1), processor / max(steps, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=psutil.cpu_count(logical=False), help="of the training")
    parser.add_argument("--seconds", type=float, default=5.0, help="of one measurement")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/threads-cpu.json")
    parser.add_argument("--train", choices=list(FIRST), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        train(options.train, options.threads, options.seconds)
        return

    import torch

    from benchmarks.measure import RESULTS, interleaved, write_result

    torch.set_num_threads(options.threads)
    neighbours = (ALONE, "Prefect and MLflow", "a Python loop", "training on one core", "training on all cores")
    cases = {f"{wait}, {neighbour}": (wait, neighbour) for neighbour in neighbours for wait in FIRST}
    strangers: dict[str, list[float]] = {name: [] for name in cases}
    steps = {name: partial(measured, *case, options, strangers[name]) for name, case in cases.items()}
    shape = {"vocabulary": VOCABULARY, "seconds": options.seconds, **SIZE, **ROWS, "dtype": "float32"}
    path = options.out or RESULTS / "threads-cpu.json"
    for repeats, times in interleaved(steps, options.repeats):
        rows = {name: {**times[name], "other_cores_median": statistics.median(strangers[name][1:])} for name in times}
        write_result(path, "cpu", {**shape, "repeats": repeats, "variants": rows})
    print(path)


if __name__ == "__main__":
    main()
