"""Times of interleaved repeats, and the file that they go to. Knows nothing of what is measured."""

import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

RESULTS = Path(__file__).parent / "results"


class Seconds(NamedTuple):
    """How long something took, on the clock and on all processors together."""

    wall: float
    processor: float


def seconds(step: Callable[[], object]) -> Seconds:
    """The time of one call, with the work that it left to a GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    wall, processor = time.perf_counter(), time.process_time()
    step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return Seconds(time.perf_counter() - wall, time.process_time() - processor)


def interleaved(
    steps: Mapping[str, Callable[[], Seconds]], repeats: int
) -> Iterator[tuple[int, dict[str, dict[str, float]]]]:
    """Run every step once in each repeat, so that a busy moment hits all alike; one more repeat first, to warm up.

    Yields:
        After each repeat, how many there were and the median and least time of each step so far.
    """
    times: dict[str, list[Seconds]] = {name: [] for name in steps}
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            seconds = step()
            if repeat:
                times[name].append(seconds)
        print(f"repeat {repeat} of {repeats}", flush=True)
        if repeat:
            yield repeat, {name: _summary(measured) for name, measured in times.items()}


def _summary(measured: list[Seconds]) -> dict[str, float]:
    columns = Seconds(*zip(*measured, strict=True))._asdict()
    return {
        f"{kind}_seconds_{name}": function(column)
        for kind, column in columns.items()
        for name, function in (("median", statistics.median), ("min", min))
    }


def write_result(path: Path, device: str, result: dict[str, Any]) -> None:
    """Write a result with the hardware and the versions that it was found with."""
    circumstances = {
        "schema_version": 1,
        "device": device,
        "hardware": torch.cuda.get_device_name() if device == "cuda" else processor_name(),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**circumstances, **result}, indent=2) + "\n")


def processor_name() -> str:
    """What the processor calls itself."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
