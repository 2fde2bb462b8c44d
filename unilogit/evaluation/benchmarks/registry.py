"""The suites (benchmarks of evaluation) by name, each with its reader. Adding one is one module and one line here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unilogit.errors import InputError
from unilogit.evaluation.benchmarks.corpora import read_corpora
from unilogit.evaluation.benchmarks.muse import read_muse
from unilogit.evaluation.benchmarks.suite import Suite
from unilogit.evaluation.benchmarks.tofu import SPLITS, read_tofu


@dataclass(frozen=True)
class SuiteReader:
    """How one suite is read.

    Attributes:
        read: a function of a folder or hub dataset and, where there are splits, of one of them.
        source: where it is published.
        splits: the forget splits to choose from; the last is the one taken when none is named.
    """

    read: Callable[..., Suite]
    source: str
    splits: tuple[str, ...] = ()


SUITES = {
    "tofu": SuiteReader(read_tofu, "Maini et al. 2024, arXiv 2401.06121", SPLITS),
    "muse": SuiteReader(read_muse, "Shi et al. 2024, arXiv 2407.06460"),
    "corpora": SuiteReader(read_corpora, "a folder of corpus records, a file for each set"),
}


def read_suite(name: str, source: Path | str, split: str | None = None) -> Suite:
    """Read a suite.

    Args:
        name: one of SUITES.
        source: a folder, or for published suites the name of a hub dataset.
        split: a forget split, for suites that have several.

    Raises:
        InputError: the name or the split is not known, or the data cannot be used.
    """
    if name not in SUITES:
        raise InputError(f"{name}: is no suite; write one of {', '.join(SUITES)}")
    reader = SUITES[name]
    if not reader.splits:
        if split is not None:
            raise InputError(f"{split}: {name} has no forget splits; leave it out")
        return reader.read(source)
    return reader.read(source, split or reader.splits[-1])
