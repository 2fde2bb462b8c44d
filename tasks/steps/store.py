"""Step: version a run's data with DVC and push it to the default remote of `.dvc/config`.

Runs live outside the project's own DVC pipeline, so `runs/` is a DVC repository of its own; `data.dvc`
beside the data holds its hash, and is enough to `dvc pull` it again. `dvc repro` versions its data by itself.
"""

import logging
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from tasks.params import Params
from tasks.step import Step
from tasks.workspace import DEFAULT_HOME, Place, Workspace, home, use_home
from unilogit.data.locations import is_url
from unilogit.errors import InputError, TemporaryError
from unilogit.files import write_text

REMOTE = "storage"
REMOTE_FOLDER = "dvc-remote"
_WRONG = (ImportError, FileNotFoundError, NotADirectoryError, PermissionError)  # what waiting does not mend
_MODE = 0o400  # of an object: DVC's own 0444 lets everybody read it


class StoredData(BaseModel):
    """The DVC hash of a run's data and where it was pushed."""

    data_md5: str
    remote: str

    def __str__(self) -> str:
        return f"data {self.data_md5} pushed to {self.remote}"


def run_store(workspace: Workspace, params: Params) -> StoredData:
    """Put the workspace's data under DVC and push it; repeating it pushes what is missing.

    Raises:
        InputError: .dvc/config is wrong.
        TemporaryError: the remote cannot be reached, or refuses.
    """
    use_home()
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    remote = default_remote()
    try:
        with runs_repository(Repo, workspace.root.parent, remote) as repository:
            repository.add(str(workspace.path(Place.DATA).resolve()))
            repository.push([str(workspace.path(Place.DATA_POINTER).resolve())])
    except (DvcException, ImportError, OSError) as error:  # an import: what its kind of remote needs
        problem = f"the data of {workspace.root.name} could not be pushed to {remote['url']} ({error})"
        raise remote_error(problem, error) from error
    return StoredData(data_md5=data_md5(workspace) or "", remote=remote["url"])


def check_out(md5: str, workspace: Workspace) -> None:
    """Put the data of a DVC hash into a workspace, from the default remote; what is whole there is not fetched again.

    The folder that the workspace lies in becomes a DVC repository, with a cache of its own.

    Raises:
        InputError: .dvc/config is wrong, the remote cannot be reached, or not all of it is there.
    """
    use_home()
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    remote, pointer = default_remote(), workspace.path(Place.DATA_POINTER)
    pointer.parent.mkdir(parents=True, exist_ok=True)
    entry = {"md5": md5, "hash": "md5", "path": Place.DATA.value}
    write_text(pointer, yaml.safe_dump({"outs": [entry]}, sort_keys=False))
    try:
        with runs_repository(Repo, workspace.root.parent, remote) as repository:
            repository.pull([str(pointer.resolve())], force=True)
    except (DvcException, ImportError, OSError) as error:
        raise InputError(f"the data {md5} could not be fetched from {remote['url']} ({error})") from error


def data_md5(workspace: Workspace) -> str | None:
    """DVC's hash of the data: from data.dvc of a run, or from dvc.lock of `dvc repro`; None without either."""
    pointer, data = workspace.path(Place.DATA_POINTER), workspace.path(Place.DATA).absolute()
    if pointer.exists():
        return str(yaml.safe_load(pointer.read_text())["outs"][0]["md5"])
    lock = Path("dvc.lock")
    if lock.exists():
        for stage in yaml.safe_load(lock.read_text()).get("stages", {}).values():
            for made in stage.get("outs", []):
                if Path(made["path"]).absolute() == data:
                    return str(made["md5"])
    return None


def remote_error(problem: str, error: BaseException) -> InputError | TemporaryError:
    """What to raise when a remote cannot be used, told from what came first: whether it may pass by itself."""
    from dvc.exceptions import DvcException, UploadError

    causes: list[BaseException] = [error]
    while cause := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(cause)
    is_wrong = any(isinstance(cause, _WRONG) for cause in causes)
    if not is_wrong and any(isinstance(cause, UploadError) or not isinstance(cause, DvcException) for cause in causes):
        return TemporaryError(f"{problem}; it is tried again, but if it stays so, check .dvc/config")
    return InputError(f"{problem}; check .dvc/config")


def default_remote() -> dict[str, Any]:
    """The default remote of the project in the current folder, in `home()`: see `_in_home`.

    Without one, it is a folder there.
    """
    remote = _configured_remote()
    if remote is None:
        return {"url": str(home() / REMOTE_FOLDER)}
    return {**remote, "url": _in_home(remote["url"])}


def configured_folder() -> Path | None:
    """Where `.dvc/config` itself says that the default remote lies, if that is a folder of this machine.

    Raises:
        InputError: .dvc/config is wrong.
    """
    remote = _configured_remote()
    return Path(remote["url"]) if remote and not is_url(remote["url"]) else None


def _in_home(url: str) -> str:
    """A remote in the default home moves with UNILOGIT_HOME, as all does that is there: no file of DVC can say so."""
    default = Path(DEFAULT_HOME).absolute()
    if is_url(url) or not Path(url).is_relative_to(default):
        return url
    return str(home() / Path(url).relative_to(default))


def _configured_remote() -> dict[str, Any] | None:
    from dvc.config import Config, ConfigError

    try:
        config = Config(str(Path(".dvc").absolute())) if Path(".dvc").is_dir() else {}
    except ConfigError as error:
        raise InputError(f".dvc/config cannot be used ({error}); correct it") from error
    name = config.get("core", {}).get("remote")
    if not name:
        return None
    remote = config["remote"].get(name, {})
    if "url" not in remote:
        raise InputError(f".dvc/config: there is no URL for the default remote {name}; add it, or correct core.remote")
    return {**remote, "url": str(remote["url"])}


def runs_repository(repo: Any, folder: Path, remote: dict[str, Any]) -> Any:
    """The DVC repository of all runs, made when it is not there yet."""
    from dvc_data.hashfile.db.local import LocalHashFileDB

    LocalHashFileDB.CACHE_MODE = _MODE  # by which DVC knows, too, that an object was checked and is whole
    if not (folder / ".dvc" / "config").exists():
        with redirect_stdout(StringIO()):  # it greets twice
            logging.getLogger("dvc.repo.init").setLevel(logging.WARNING)
            repo.init(str(folder), no_scm=True, force=True).close()
    repository = repo(str(folder))
    with repository.config.edit() as config:
        config["core"].update({"remote": REMOTE, "analytics": False})
        config["remote"][REMOTE] = remote
    repository.config.load()
    return repository


STEP = Step(
    name="store",
    function=run_store,
    reads=(Place.DATA,),
    writes=(Place.DATA_POINTER,),
    retries=3,
    timeout=3600,
)

if __name__ == "__main__":
    STEP.command()
