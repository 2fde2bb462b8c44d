"""Versions of a registered model: which there are, their files, and whether those are the registered ones.

Knows neither how a version came about (run.py) nor which may be champion (lineage.py). MLflow is imported inside
functions.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

from tasks.stamp import Keeper, digest
from tasks.workspace import home
from unilogit.adapters import CONFIG, base_of, lasting, put_on_base
from unilogit.errors import InputError
from unilogit.files import atomic_folder, sha256_json, sha256_weights, weight_digests

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CANDIDATE, PREVIOUS = "champion", "candidate", "previous"  # aliases
PASSED, FAILED = "passed", "failed"  # what tag `gates` says
WEIGHTS = "weights_sha256"  # the tag that says which weights a version has
BASE, BASE_WEIGHTS = "base_model", "base_weights_sha256"  # tags of a version that is an adapter: which model it is on
ADAPTER = "peft"  # the folder in which MLflow keeps one
REGISTRATION = "registration"  # the tag by which a run and its version are found again

Asked = TypeVar("Asked")
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # how the registry says so


def _number(version: "ModelVersion") -> int:
    return int(version.version)


def find_version(store: "MlflowClient", name: str, registration: str) -> "ModelVersion | None":
    """The version that an earlier call registered."""
    versions = store.search_model_versions(f"name = '{name}' and tags.{REGISTRATION} = '{registration}'")
    return min(versions, key=_number, default=None)


def create_version(
    store: "MlflowClient", name: str, run: "Run", model_id: str, tags: Mapping[str, str]
) -> "ModelVersion":
    """Register the logged model of a run as the next version."""
    from mlflow.exceptions import MlflowException

    try:
        store.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"models:/{model_id}"
    return store.create_model_version(name, source, run_id=run.info.run_id, tags=dict(tags), model_id=model_id)


def every_version(store: "MlflowClient", name: str) -> "list[ModelVersion]":
    """Every version of a registered model, the newest first."""
    token: str | None = None
    versions: list[ModelVersion] = []
    while token != "":
        page = store.search_model_versions(f"name = '{name}'", page_token=token)
        versions += page
        token = page.token or ""
    return sorted(versions, key=_number, reverse=True)


def fetch(store: "MlflowClient", name: str, version: str, folder: Path) -> Path:
    """Fetch the model of a version; one that was fetched before and is whole is not fetched again.

    Args:
        folder: to fetch into, replaced as a whole.

    Returns:
        A Hugging Face folder with model and tokenizer, inside `folder`.

    Raises:
        InputError: the version holds no transformers model, or its weights are not the registered ones.
    """
    title = f"{name} version {version}"
    registered, model = store.get_model_version(name, version).tags.get(WEIGHTS), folder / "model"
    if not registered or sha256_weights(model) != registered:
        import mlflow

        with atomic_folder(folder) as fetched:
            mlflow.artifacts.download_artifacts(f"models:/{name}/{version}", dst_path=str(fetched))
            if (fetched / ADAPTER).is_dir():
                (fetched / ADAPTER).rename(fetched / "model")
            _gather_tokenizer(fetched, title)
            if sha256_weights(fetched / "model") != registered:
                raise InputError(
                    f"{title}: its weights are not those that were registered (tag {WEIGHTS}); put its files back"
                    " from a backup, or promote another version"
                )
    return model


def fetch_on_base(store: "MlflowClient", name: str, version: str, folder: Path, base: str) -> Path:
    """As `fetch`; a version that is an adapter names the present place of its base afterwards.

    Args:
        base: the model that the version is on, or an adapter on the same one.

    Raises:
        InputError: as `fetch`, or that is not the base that the version was registered on.
    """
    model, tags = fetch(store, name, version, folder), store.get_model_version(name, version).tags
    if BASE in tags:
        whole = base_of(base)
        if base_tags(whole)[BASE_WEIGHTS] != tags[BASE_WEIGHTS]:
            raise InputError(
                f"{name} version {version} is an adapter on {tags[BASE]}, and {whole} has other weights (tag"
                f" {BASE_WEIGHTS}); put those back, or name the place of that model in model.base"
            )
        put_on_base(model, whole)
    return model


def base_tags(base: str) -> dict[str, str]:
    """The tags of a version that is an adapter, by which its base is known again; a hub name stands for itself."""
    return {BASE: lasting(base), BASE_WEIGHTS: _base_weights(base) if Path(base).is_dir() else base}


def _base_weights(folder: str) -> str:
    """The digest of a base's weights; of all its files where they are in another format than ours."""
    return sha256_weights(folder) if weight_digests(folder) else str(digest(Path(folder)))


def why_not_whole(store: "MlflowClient", name: str, version: str) -> str | None:
    """Why the files of a version are not those that were registered, in a clause; None where they are.

    Files are read again only when their names, sizes or times differ from when they were read last.
    """
    tags = store.get_model_version(name, version).tags
    registered = tags.get(WEIGHTS, "")
    place = f"{store.get_model_version_download_uri(name, version)}/{ADAPTER if BASE in tags else 'model'}"
    if not _listed(place):
        return "its weights are gone"
    key = [store.tracking_uri, name, version]
    if _checked(key, place, lambda: _digest(place)) != registered:
        return f"its weights are not those that were registered (tag {WEIGHTS})"
    base = tags.get(BASE)
    if base and Path(base).is_dir() and _checked([*key, BASE], base, lambda: _base_weights(base)) != tags[BASE_WEIGHTS]:
        return f"it is an adapter on {base}, whose weights are not those it was registered on (tag {BASE_WEIGHTS})"
    return None


def _checked(key: list[str], place: str, read: Callable[[], str]) -> str:
    """What `read` said of a place when its weights were last changed."""
    seen = home() / "checked_weights" / f"{sha256_json(key)[:32]}.json"
    return Keeper(seen, {"place": place, "files": _listed(place)}, {}, str).run(read)


def _listed(place: str) -> dict[str, list[int | None]]:
    """The weights in a folder of artifacts: name → size and, on this machine, when it was changed and its inode."""
    import mlflow

    if folder := _folder(place):
        states = {file.name: file.stat() for file in sorted(folder.glob("*.safetensors"))}
        return {name: [state.st_size, state.st_mtime_ns, state.st_ino] for name, state in states.items()}
    files = mlflow.artifacts.list_artifacts(artifact_uri=place)
    return {Path(file.path).name: [file.file_size] for file in files if file.path.endswith(".safetensors")}


def _digest(place: str) -> str:
    import mlflow

    if folder := _folder(place):
        return sha256_weights(folder)
    with TemporaryDirectory(dir=home()) as folder_name:
        return sha256_weights(mlflow.artifacts.download_artifacts(artifact_uri=place, dst_path=folder_name))


def _folder(place: str) -> Path | None:
    """Where MLflow finds artifacts on this machine; None if they lie elsewhere."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    repository = get_artifact_repository(place)
    return Path(repository.artifact_dir) if isinstance(repository, LocalArtifactRepository) else None


def unless_missing(ask: Callable[[], Asked]) -> Asked | None:
    """What the registry answers; None when it says that there is no such thing."""
    from mlflow.exceptions import MlflowException

    try:
        return ask()
    except MlflowException as error:
        if error.error_code not in _MISSING:
            raise
        return None


def _gather_tokenizer(folder: Path, title: str) -> None:
    """Put the tokenizer, which MLflow keeps apart, beside the weights."""
    if not any((folder / "model" / file).is_file() for file in ("config.json", CONFIG)):
        raise InputError(
            f"{title}: not a transformers model; log it with mlflow.transformers.log_model or promote another version"
        )
    tokenizer = folder / "components" / "tokenizer"
    if tokenizer.is_dir():
        shutil.copytree(tokenizer, folder / "model", dirs_exist_ok=True)
