"""What a purge leaves: files that it may not change, and models in which nothing can be read.

Changes nothing.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from tasks.params import Params
from tasks.requests.decoding import WEIGHTS
from tasks.requests.erasure import Erasure
from tasks.workspace import ParentModel, Place, RetainModel, Training, Verdict, Workspace, home, ledger_location
from unilogit.adapters import CONFIG, base_folder
from unilogit.files import sha256_weights


class Search:
    """Asks files whether they hold something.

    Attributes:
        unreadable: file → why it could not be asked.
    """

    def __init__(self, wanted: Erasure) -> None:
        self.wanted = wanted
        self.unreadable: dict[Path, str] = {}

    def finds(self, file: Path) -> bool:
        """Whether it is in a file; False where that cannot be read."""
        try:
            return self.wanted.holds(file)
        except (OSError, sqlite3.Error, pa.ArrowException, ValueError, EOFError) as error:
            self.unreadable[file] = type(error).__name__  # not its words, which may quote the file
            return False


def files_of(folder: Path, left_out: Iterable[Path] = ()) -> Iterator[Path]:
    """A file, or every file of a folder but of those left out; no link is followed."""
    left_out = list(left_out)
    if folder in left_out:
        return
    if folder.is_file():
        yield folder
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if Path(parent, name) not in left_out]
        yield from (path for name in names if (path := Path(parent, name)).is_file() and not path.is_symlink())


def is_of_model(file: Path) -> bool:
    """Whether a file of this home belongs to a model: weights, or what lies with them or with MLflow's description."""
    folders = [folder for folder in file.parents if home() in folder.parents]
    return _has_weights(file.parent) or any((folder / "MLmodel").exists() for folder in folders)


def _has_weights(folder: Path) -> bool:
    return any(file.suffix in WEIGHTS for file in folder.iterdir())


def why_left(file: Path, params: Params) -> str:
    """What a file is that is not changed, and what to do."""
    if is_of_model(file):
        return "a model's tokenizer or description: no model is changed; remove the version when it is needed no longer"
    for source, remedy in (
        (
            params.data.corpus,
            "the corpus: remove them there; whole records are left out of the next batches, what quotes them is not",
        ),
        (params.data.holdout, "the holdout: remove them there"),
        (params.data.requests, "what requests came in: others' in it have not ended, or it was taken in elsewhere"),
    ):
        if source and Path(source).absolute() in (file, *file.parents):
            return remedy
    if str(file).startswith(str(ledger_location())):
        return "the ledger: other requests name them as well, or its database keeps what was deleted; purge again"
    if any(file.is_relative_to(home() / folder) for folder in ("runs", "intake")):
        return "counts and hashes that have a word in common with them, or a folder of no batch; look, and remove it"
    return "nothing that a purge may change: look, and remove it"


def models_that_may_know(batches: list[str], runs: list[Workspace]) -> list[str]:
    """Models that were made before people were forgotten, or that did not pass the gates afterwards.

    Args:
        batches: in which they were forgotten.
        runs: of all batches.
    """
    if not batches:
        return []
    newest = max(batches)
    known = {digest for run in runs if run.root.name >= newest for digest in _without_them(run)}
    folders = sorted({Path(parent) for parent, _, _ in os.walk(home()) if _has_weights(Path(parent))})
    parents = {run.read(ParentModel).model for run in runs if run.has(Place.PARENT) and run.root.name <= newest}
    base = parents | {str(folder) for parent in parents if (folder := base_folder(Path(parent) / CONFIG))}
    elsewhere = sorted(model for model in base if home() not in Path(model).absolute().parents)
    return [*elsewhere, *(str(folder) for folder in folders if sha256_weights(folder) not in known)]


def _without_them(run: Workspace) -> Iterator[str]:
    """Digests of the weights that a batch made without those whom it forgot."""
    if run.has(Place.VERDICT) and run.has(Place.TRAINING) and run.read(Verdict).passed:
        yield run.read(Training).weights_sha256
    if run.has(Place.RETAIN_MODEL) and (model := run.read(RetainModel).model):
        yield sha256_weights(model)
