"""What was measured of models, kept by what it depends on: a retry, or the next batch, does not measure it again.

An entry is a folder in UNILOGIT_HOME; what is measured anew and what is kept are read alike, so that they are the same
to the last bit. An entry may hold what models said of people: a purge removes one that names somebody who is forgotten,
and one that nothing has used for long. Knows nothing of what is measured.
"""

import os
import platform
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import pandas as pd

from tasks.stamp import Keeper
from tasks.workspace import measurements
from unilogit.files import Json, sha256_json, write_parquet

Result = TypeVar("Result")

STAMP = "stamp.json"
_PACKAGES = ("torch", "transformers", "tokenizers", "peft", "numpy")  # by which a measurement may differ


class Measurement(NamedTuple, Generic[Result]):
    """What was measured.

    Attributes:
        result: that which is no table.
        frames: name → table.
        is_earlier: whether it was kept from an earlier measurement.
    """

    result: Result
    frames: dict[str, pd.DataFrame]
    is_earlier: bool


def measure_once(
    inputs: Json,
    kind: type[Result],
    measure: Callable[[], tuple[Result, Mapping[str, pd.DataFrame]]],
    frames: tuple[str, ...] = (),
    title: str = "",
) -> Measurement[Result]:
    """What an earlier measurement from the same inputs gave, or what is measured now.

    Args:
        inputs: all that it depends on: models, records, knobs and code by their digests. Versions of libraries and the
            processor are added.
        kind: type of the result.
        measure: gives the result and the tables.
        frames: names of the tables.
        title: of what is measured; it is printed that it was measured earlier. Empty where the caller says so itself.
    """
    everything = {"inputs": inputs, "machine": _machine()}
    folder = measurements() / sha256_json(everything)[:32]
    files = {name: folder / f"{name}.parquet" for name in frames}
    keeper = Keeper(folder / STAMP, everything, files, kind)
    kept = keeper.kept()
    is_earlier = kept is not None
    if kept is None:
        result, tables = measure()
        for name, file in files.items():
            write_parquet(file, tables[name])
        keeper.done(result)
        kept = keeper.kept()
        assert kept is not None
    else:
        if title:
            print(f"{title}: taken from an earlier measurement", flush=True)
        os.utime(folder)  # by which a purge sees that it was used
    return Measurement(kept.result, {name: pd.read_parquet(file) for name, file in files.items()}, is_earlier)


def unused_since(latest: datetime) -> list[Path]:
    """Entries that were neither measured nor used after that."""
    return [entry for entry in sorted(measurements().glob("*")) if entry.stat().st_mtime <= latest.timestamp()]


def entry_with(file: Path) -> Path | None:
    """The entry that a file lies in; None where it lies elsewhere."""
    return next((folder for folder in file.parents if folder.parent == measurements()), None)


@cache
def _machine() -> Json:
    import torch

    processor = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return {"processor": processor, "packages": {name: _version(name) for name in _PACKAGES}}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # what is not needed by everybody
        return None
