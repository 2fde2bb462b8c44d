"""Work that was finished before a kill is kept: the one way in which anything here remembers that it is done.

A stamp names, by digest, what the work was made from and what it made. Knows nothing of what the work is.
"""

import ast
import os
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError

from unilogit.adapters import CONFIG, base_folder
from unilogit.files import Json, JsonObject, read_json, sha256_file, sha256_json, write_json

Result = TypeVar("Result")

_DECLARATIONS = {
    "tasks",
    "tasks.step",
    "tasks.outcome",
    "tasks.defects",
    "tasks.stamp",
    "tasks.workspace",
    "tasks.params",
    "tasks.steps",
    "unilogit",
}
_OURS = ("tasks", "unilogit")
_TOKENIZER_CONFIG = "tokenizer_config.json"
_OF_LOADING = ("is_local", "local_files_only", "name_or_path", "padding_side")
"""What a tokenizer's configuration says of how it was loaded last: it changes nothing that is measured."""


class Stamp(BaseModel):
    """What a stamp file holds.

    Attributes:
        inputs: digest of what the work was made from.
        outputs: path in the workspace → digest of what was made there; None where nothing was.
        result: what the work returned.
    """

    schema_version: Literal[1] = 1
    inputs: str
    outputs: dict[str, str | None]
    result: JsonValue


class Keeper(Generic[Result]):
    """Does work once for the same inputs, as long as its outputs are whole.

    Args:
        file: where the stamp lies.
        inputs: all that the work depends on, as JSON.
        outputs: name → file or folder that the work makes.
        kind: type of what the work returns.
    """

    def __init__(
        self, file: Path, inputs: "Json | JsonObject", outputs: Mapping[str, Path], kind: type[Result]
    ) -> None:
        self.file, self.inputs, self.outputs = file, sha256_json(inputs), dict(outputs)
        self.adapter: TypeAdapter[Result] = TypeAdapter(kind)

    def kept(self, whatever_inputs: bool = False) -> "Kept[Result] | None":
        """What earlier work returned, if its inputs were these and all that it made is still there, unchanged.

        Args:
            whatever_inputs: it may have been made from other inputs.
        """
        stamp = _read(self.file)
        if stamp is None:
            return None
        try:
            result = self.adapter.validate_python(stamp.result)
        except ValidationError:
            return None
        if not (whatever_inputs or stamp.inputs == self.inputs) or stamp.outputs != self._digests():
            return None
        return Kept(result)

    def done(self, result: Result) -> None:
        """Stamp the work: call it when every output is written."""
        stamp = Stamp(inputs=self.inputs, outputs=self._digests(), result=self.adapter.dump_python(result, mode="json"))
        write_json(self.file, stamp.model_dump())

    def run(self, work: Callable[[], Result]) -> Result:
        """What was kept, or else the work's result, stamped."""
        if kept := self.kept():
            return kept.result
        result = work()
        self.done(result)
        return result

    def _digests(self) -> dict[str, str | None]:
        return {name: digest(path) for name, path in self.outputs.items()}


class Kept(Generic[Result]):
    """Work that was not done again; a box, because its result may be None."""

    def __init__(self, result: Result) -> None:
        self.result = result


def _read(file: Path) -> Stamp | None:
    try:
        return Stamp.model_validate(read_json(file))
    except (FileNotFoundError, ValueError):  # one of another version is none
        return None


def stamped_outputs(file: Path) -> dict[str, str | None]:
    """What a stamp names as made, path → digest; empty where there is no stamp."""
    stamp = _read(file)
    return stamp.outputs if stamp else {}


def digest(path: Path) -> str | None:
    """Of a file's bytes, or of the names and bytes of all files in a folder; None where there is neither.

    An adapter is what it is only on its base: where a folder has one, the digest is of its base's files as well.
    """
    if not path.is_dir():
        return _digest_of_file(path) if path.is_file() else None
    return sha256_json(_digests_with_base(path))


def model_digest(location: str) -> str:
    """Of a model's folder, the same wherever a copy of it lies and whoever has loaded it; a hub name for itself."""
    folder = Path(location)
    if not folder.is_dir():
        return location
    files = _digests_with_base(folder)
    if _TOKENIZER_CONFIG in files:
        said = read_json(folder / _TOKENIZER_CONFIG)
        files[_TOKENIZER_CONFIG] = sha256_json({key: said[key] for key in said.keys() - set(_OF_LOADING)})
    return sha256_json(files)


def _digests_with_base(folder: Path) -> dict[str, str]:
    files = _digests_of_files(folder)
    for name in [name for name in files if Path(name).name == CONFIG]:
        if base := base_folder(folder / name):
            files[f"base of {name}"] = sha256_json(_digests_of_files(base))
    return files


def _digests_of_files(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): _digest_of_file(file) for file in files}


def _digest_of_file(file: Path) -> str:
    return _file_digest(str(file), file.stat().st_size, file.stat().st_mtime_ns, file.stat().st_ino)


@cache
def _file_digest(path: str, size: int, changed: int, inode: int) -> str:
    """A file of the same size, time and inode is not read twice by one process."""
    return sha256_file(path)


@cache
def code_files(module: str) -> tuple[str, ...]:
    """The source files that a module of ours runs, as paths from the project's folder: its own and all it imports.

    Found in the source, so that imports inside functions count. How steps are declared does not: a change there
    makes nothing else of the same data.
    """
    root = Path(__file__).parents[1]
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen or name in _DECLARATIONS or name.partition(".")[0] not in _OURS:
            continue
        spec = find_spec(name) if _is_module(root, name) else None
        if spec is None or spec.origin is None:
            continue
        seen.add(name)
        waiting += [name.rpartition(".")[0], *_imports(Path(spec.origin))]  # a module's package runs before it
    origins = (Path(str(find_spec(name).origin)) for name in seen)  # type: ignore[union-attr]
    return tuple(sorted(os.path.relpath(origin, root) for origin in origins))


def _is_module(root: Path, name: str) -> bool:
    path = root.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


@cache
def _imports(file: Path) -> list[str]:
    """Every module that a file names in an import that runs; a name imported from a package may be a module too."""
    names: list[str] = []
    waiting: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        waiting += ast.iter_child_nodes(node)
    return names


@cache
def code_digest(module: str) -> str:
    """Version of the code that a module runs."""
    root = Path(__file__).parents[1]
    return sha256_json({file: sha256_file(root / file) for file in code_files(module)})
