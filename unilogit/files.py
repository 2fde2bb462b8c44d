"""Files that are either whole or absent, and the digests that name their content.

What is written here is for its owner's eyes only.
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from unilogit.errors import InputError

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | float | bool | None"  # a value, to write
JsonObject: TypeAlias = dict[str, Any]  # an object, as it was read: whoever asks for it knows its fields
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@contextmanager
def _full_disk_named(target: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a library's own kind may wrap the system's
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error)
        if isinstance(error, InputError) or not full:
            raise
        raise InputError(f"{target}: the disk is full; make room, then type the same command again") from error


@contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """Yield a temporary file path beside `target`; on success fsync it and rename it into place.

    A kill or an exception at any instant leaves either the old file or the new one.

    Raises:
        InputError: the disk is full.
    """
    target = Path(target)
    with _full_disk_named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _sync(temporary)
            temporary.replace(target)
            _sync(target.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path | str) -> Iterator[Path]:
    """Yield a temporary folder beside `target`; on success it takes the place of `target`.

    A kill or an exception at any instant leaves the old folder or the new one, or, for the instant between
    two renames, none (the old one then lies beside it under a hidden name); never half of one.

    Raises:
        InputError: the disk is full.
    """
    target = Path(target)
    with _full_disk_named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        old = temporary.with_name(f"{temporary.name}.old")
        try:
            yield temporary
            for path in [temporary, *temporary.rglob("*")]:
                _sync(path)
            if target.is_dir():
                target.replace(old)  # a kill while it is deleted in its place would leave half of it there
            temporary.replace(target)
            _sync(target.parent)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def private_folder(folder: Path) -> Path:
    """Make a folder, or narrow it, for its owner's eyes only."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def write_text(target: Path | str, text: str) -> None:
    """Write a text in UTF-8, whole or not at all."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(target: Path | str, value: Json) -> None:
    """Write a value as indented JSON, whole or not at all.

    Raises:
        ValueError: NaN or an infinity is in it, which are not JSON.
    """
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """The value that a file of JSON holds."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_parquet(target: Path | str, frame: pd.DataFrame) -> None:
    """Write a frame without its index, whole or not at all."""
    with atomic_path(target) as temporary:
        frame.to_parquet(temporary, index=False)


def sha256_file(path: Path | str) -> str:
    """Digest of a file's bytes, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(value: Json) -> str:
    """Digest of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(_CANONICAL.encode(value).encode()).hexdigest()


def weight_digests(model_folder: Path | str) -> dict[str, str]:
    """Name of each safetensors file of a model → digest of its bytes."""
    return {path.name: sha256_file(path) for path in sorted(Path(model_folder).glob("*.safetensors"))}


def sha256_weights(model_folder: Path | str) -> str:
    """Digest of a model's weights: all its safetensors files, by name."""
    return join_digests(weight_digests(model_folder))


def join_digests(digests: Mapping[str, str]) -> str:
    """One digest of the files whose names and digests these are, in their order."""
    return hashlib.sha256("".join(f"{name} {digest}\n" for name, digest in digests.items()).encode()).hexdigest()
