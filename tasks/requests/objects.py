"""What DVC keeps of the runs' data: objects by their content, in the cache of all runs and in the default remote.

Knows DVC. Knows nothing of what is to be erased: the caller says of a file whether it holds it.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from tasks.steps.store import REMOTE, default_remote, remote_error, runs_repository
from tasks.workspace import Place, home

SCRATCH = ".purge."  # how folders begin that are to be removed: a kill may leave one


class StoredObjects:
    """The objects of all runs.

    Args:
        cache, remote: DVC's databases of objects.
        runs: the folder of all runs.
    """

    def __init__(self, cache: Any, remote: Any, runs: Path) -> None:
        self._cache, self._remote, self._runs = cache, remote, runs

    @property
    def folders(self) -> list[Path]:
        """Where objects lie on this machine."""
        places = [self._cache.path, *([self._remote.path] if self._remote.fs.protocol == "local" else [])]
        return [Path(place) for place in places]

    def remove_those(self, holds: Callable[[Path], bool]) -> int:
        """Remove from cache and remote every object that holds what is to be erased; how many there were.

        What is in the remote alone, and not on this machine, is fetched to be asked about. A kill at any instant leaves
        what the next call finds again.
        """
        here = {file.parent.name + file.name: file for folder in self.folders for file in folder.glob("*/*")}
        doomed = {name for name, file in here.items() if holds(file)}
        doomed |= {name for name in self._listed() - here.keys() if self._fetched_holds(name, holds)}
        for name in sorted(doomed):
            for place in (self._remote, self._cache):  # what is in the cache is asked about again, so it goes last
                if place.exists(name):
                    place.delete(name)
        return len(doomed)

    def _listed(self) -> set[str]:
        """The objects that runs' data are made of; not of those whose list itself is gone."""
        names: set[str] = set()
        for pointer in self._runs.glob(f"*/{Place.DATA_POINTER}"):
            folder = str(yaml.safe_load(pointer.read_text(encoding="utf-8"))["outs"][0]["md5"])
            if place := next((place for place in (self._cache, self._remote) if place.exists(folder)), None):
                with place.fs.open(place.oid_to_path(folder), "r") as stream:
                    names.update(str(entry["md5"]) for entry in json.load(stream))
        return names

    def _fetched_holds(self, name: str, holds: Callable[[Path], bool]) -> bool:
        if not self._remote.exists(name):
            return False
        with TemporaryDirectory(prefix=SCRATCH, dir=home()) as folder:
            file = Path(folder) / "object"
            self._remote.fs.get_file(self._remote.oid_to_path(name), str(file))
            return holds(file)


@contextmanager
def stored_objects() -> Iterator[StoredObjects | None]:
    """The objects of this home's runs; None while no run has stored any.

    Raises:
        InputError: .dvc/config is wrong.
        TemporaryError: the remote cannot be reached, or refuses.
    """
    runs = home() / "runs"
    if not (runs / ".dvc" / "config").exists():
        yield None
        return
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    remote = default_remote()
    try:
        with runs_repository(Repo, runs, remote) as repository:
            yield StoredObjects(repository.cache.local, repository.cloud.get_remote_odb(REMOTE), runs)
    except (DvcException, ImportError, OSError) as error:  # an import: what its kind of remote needs
        raise remote_error(f"what is stored in {remote['url']} could not be purged ({error})", error) from error
