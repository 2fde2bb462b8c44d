"""The benchmarks by name, each with its reader. Adding one is one module and one line here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unilogit.data.suites.corpora import read_corpora
from unilogit.data.suites.muse import read_muse
from unilogit.data.suites.suite import Suite
from unilogit.data.suites.tofu import SPLITS, read_tofu
from unilogit.errors import InputError


@dataclass(frozen=True)
class Benchmark:
    """One kind of benchmark.

    Attributes:
        read: a function of a folder or hub dataset and, where there are splits, of one of them.
        source: where it is published.
        splits: the forget splits to choose from; the last is the one taken when none is named.
    """

    read: Callable[..., Suite]
    source: str
    splits: tuple[str, ...] = ()


SUITES = {
    "tofu": Benchmark(read_tofu, "Maini et al. 2024, arXiv 2401.06121", SPLITS),
    "muse": Benchmark(read_muse, "Shi et al. 2024, arXiv 2407.06460"),
    "corpora": Benchmark(read_corpora, "a folder of corpus records: forget, retain, holdout and others"),
}


def read_suite(name: str, source: Path | str, split: str | None = None) -> Suite:
    """Read a benchmark.

    Args:
        name: one of SUITES.
        source: a folder, or for published benchmarks the name of a hub dataset.
        split: a forget split, for benchmarks that have several.

    Raises:
        InputError: the name or the split is not known, or the data cannot be used.
    """
    if name not in SUITES:
        raise InputError(f"{name}: is no suite; write one of {', '.join(SUITES)}")
    benchmark = SUITES[name]
    if not benchmark.splits:
        if split is not None:
            raise InputError(f"{split}: {name} has no forget splits; leave it out")
        return benchmark.read(source)
    return benchmark.read(source, split or benchmark.splits[-1])
