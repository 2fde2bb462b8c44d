"""A benchmark of one's own: a folder with a file of corpus records for each set. Knows nothing of models."""

from pathlib import Path

from unilogit.data.corpus import read_record_sets
from unilogit.errors import InputError
from unilogit.evaluation.benchmarks.suite import Suite


def read_corpora(source: Path | str) -> Suite:
    """Read forget, retain, holdout (may be missing: nobody to compare with), and further sets to measure utility on.

    Args:
        source: a folder of .jsonl or .parquet files of CorpusRecord, each named as its set is.

    Raises:
        InputError: forget or retain is missing, or what `read_record_sets` raises.
    """
    sets = read_record_sets(source)
    missing = [name for name in ("forget", "retain") if name not in sets]
    if missing:
        raise InputError(*[f"{source}: the set `{name}` is missing; add {name}.jsonl" for name in missing])
    sets.setdefault("holdout", [])
    groups = [name for name in sets if name not in ("forget", "retain", "holdout")]
    return Suite(name="corpora", sets=sets, utility_sets=("retain", *groups))
