"""How long each part of an evaluation takes, and what its progress bar says meanwhile."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager


class Stopwatch:
    """Use as `with watch(part) as label:`; label is what a progress bar is to say, or None for no bar.

    Args:
        progress: what labels begin with; None for no bars.

    Attributes:
        seconds: part -> seconds on the clock; of a part that is entered twice, the sum.
    """

    def __init__(self, progress: str | None) -> None:
        self.progress, self.seconds = progress, dict[str, float]()

    @contextmanager
    def __call__(self, part: str) -> Iterator[str | None]:
        """Time a part, from here to the end of the block."""
        start = time.perf_counter()
        yield self.progress and f"{self.progress}: {part}"
        self.seconds[part] = round(self.seconds.get(part, 0.0) + time.perf_counter() - start, 3)


def add_seconds(watches: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The sums of what several watches say, part by part."""
    total: dict[str, float] = {}
    for seconds in watches:
        for part, took in seconds.items():
            total[part] = round(total.get(part, 0.0) + took, 3)
    return total


def tell_seconds(seconds: Mapping[str, float], generated_tokens: int | None = None) -> str:
    """Where the time went, in one line, and how fast the part `generate` was.

    Args:
        seconds: of a Stopwatch.
        generated_tokens: in the part `generate`; None where nothing was counted.
    """
    parts = ", ".join(f"{part} {took:.1f} s" for part, took in seconds.items())
    if generated_tokens is None or "generate" not in seconds:
        return parts
    return f"{parts}; {generated_tokens / max(seconds['generate'], 1e-3):.0f} generated tokens/s"
