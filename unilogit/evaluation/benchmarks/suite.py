"""A suite: a benchmark of evaluation, as named sets of corpus records. Knows nothing of files, models or metrics."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from unilogit.data.records import CorpusRecord


@dataclass(frozen=True)
class Suite:
    """A benchmark of evaluation, read.

    Attributes:
        name: of the benchmark, and of the split where it has several.
        sets: name -> records to evaluate on, among them "forget", "retain" and "holdout". Every record_id is
            unique among them and the same at every reading.
        utility_sets: the sets that utility is measured on.
        training: name -> reader of the records of a training set, from which models can be trained.
        few_shot: name of a set -> solved examples that stand before each of its prompts.
        sustainability: names in `training` of forget sets to unlearn one after the other; they are disjoint.
        scalability: names in `training` of forget sets of growing size; each holds the one before.
    """

    name: str
    sets: Mapping[str, list[CorpusRecord]]
    utility_sets: tuple[str, ...]
    training: Mapping[str, Callable[[], list[CorpusRecord]]] = field(default_factory=dict)
    few_shot: Mapping[str, list[CorpusRecord]] = field(default_factory=dict)
    sustainability: tuple[str, ...] = ()
    scalability: tuple[str, ...] = ()
