"""How far a long piece of work is, on standard error: a bar on a terminal, else a line a minute.

Without a terminal (a worker's log, CI) lines are whole: no carriage returns, one every `LINE_SECONDS` at most, and
one when the work ends. Of several processes the first alone shows anything. Knows nothing of what the work is.
"""

import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar

from tqdm import tqdm

LINE_SECONDS = 60.0

T = TypeVar("T")


class ProgressBar:
    """Use as `with ProgressBar(total, title) as bar: … bar.update()`.

    Whether standard error is a terminal is asked when this is called.

    Args:
        total: units of work in all.
        title: what the bar or line begins with; None shows nothing, as does work that is already done.
        unit: what is counted, in the singular.
        done: units that an earlier call already did.
        line_seconds: without a terminal, the least time between two lines, in seconds.
    """

    def __init__(
        self,
        total: int,
        title: str | None,
        unit: str = "record",
        *,
        done: int = 0,
        line_seconds: float = LINE_SECONDS,
    ) -> None:
        self.total, self.title, self.unit, self.done = total, title, unit, done
        self.line_seconds, self.figures = line_seconds, dict[str, str]()
        shown = title is not None and done < total and os.environ.get("RANK", "0") == "0"
        self.bar = (
            tqdm(total=total, initial=done, desc=title, unit=f" {unit}s") if shown and sys.stderr.isatty() else None
        )
        self.writes_lines = shown and self.bar is None
        self.done_before, self.start = done, time.monotonic()
        self.last_line = self.start

    def update(self, count: int = 1, figures: Mapping[str, float] | None = None) -> None:
        """`count` more units are done. `figures` stand beside them from now on, each until it gets another value."""
        self.done += count
        self.figures |= {name: f"{value:.3g}" for name, value in (figures or {}).items()}
        if self.bar is not None:
            self.bar.update(count)
            if figures:
                self.bar.set_postfix(self.figures)
        elif self.writes_lines and time.monotonic() - self.last_line >= self.line_seconds:
            elapsed = time.monotonic() - self.start
            self._write(f"{_clock(elapsed)} elapsed", self._rest(elapsed))
            self.last_line = time.monotonic()

    def close(self) -> None:
        """The work ended; of lines, this is the last."""
        if self.bar is not None:
            self.bar.close()
        elif self.writes_lines:
            self.writes_lines = False
            self._write(f"ended after {_clock(time.monotonic() - self.start)}")

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _rest(self, elapsed: float) -> str:
        worked = self.done - self.done_before
        return f"about {_clock(elapsed / worked * (self.total - self.done))} left" if worked else ""

    def _write(self, *parts: str) -> None:
        figures = (f"{name} {value}" for name, value in self.figures.items())
        line = f"{self.title}: {self.done}/{self.total} {self.unit}s, {', '.join(filter(None, (*parts, *figures)))}"
        if time.monotonic() - self.start < self.line_seconds:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
        else:  # long work is worth a line in the log of a flow, which is of what is printed
            print(line, file=sys.stderr, flush=True)


def track(items: Collection[T], title: str | None, unit: str = "record") -> Iterator[T]:
    """The items one by one, with a `ProgressBar` over them."""
    with ProgressBar(len(items), title, unit) as bar:
        for item in items:
            yield item
            bar.update()


@contextmanager
def transformers_progress(title: str | None) -> Iterator[None]:
    """Within, transformers' loops over weights (loading, saving) show a `ProgressBar` with this title.

    Args:
        title: what a progress bar on standard error says; None for no bar.
    """
    from transformers.utils import logging

    def show(factory: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> _Loop:
        return _Loop(*arguments, **keywords | {"disable": True, "desc": title})

    before = logging.set_tqdm_hook(show)
    try:
        yield
    finally:
        logging.set_tqdm_hook(before)


class _Loop(tqdm):
    """Takes the place of a tqdm around an iterable, and shows it as `ProgressBar` does."""

    def __init__(self, *arguments: Any, desc: str | None = None, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.title = desc

    def __iter__(self) -> Iterator[Any]:
        return track(self.iterable, self.title, "tensor")


def _clock(seconds: float) -> str:
    """[hours:]minutes:seconds."""
    clock: str = tqdm.format_interval(seconds)
    return clock
