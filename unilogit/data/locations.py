"""Files by their location, a path or any URL that fsspec knows (s3://…): opened, told apart, hashed, written.

Knows nothing of what is in them. Credentials are fsspec's own business.
"""

import codecs
import hashlib
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from unilogit.data import packed
from unilogit.errors import InputError, TemporaryError
from unilogit.files import write_text

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_NOT_OF_A_STORE = {"builtins", "csv", "_csv", "gzip", "json", "pyarrow", "unilogit", "zlib"}
_BUFFER = 1 << 17  # bytes
DAMAGED = (*packed.DAMAGED, UnicodeError)  # what reading raises of a file's content


class UnreadableFile(InputError):
    """What a file holds cannot be read as a whole; trying again changes nothing.

    Args:
        file: what it is called.
        reason: what is wrong and what to do, without anybody's data.
    """

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"{file}: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Entry:
    """Something in a folder.

    Attributes:
        location: its path or URL.
        modified: when it was changed last, in seconds since 1970; None where nobody knows.
    """

    location: str
    name: str
    is_folder: bool
    modified: float | None


def is_url(location: Path | str) -> bool:
    return "://" in str(location)


def file_name(location: Path | str) -> str:
    """The last part of a location."""
    return str(location).rstrip("/").rpartition("/")[2]


def open_binary(location: Path | str, name: str | None = None) -> io.BufferedReader:
    """The bytes of a file; of one called *.gz or *.zst, what was packed.

    Args:
        name: what the file is called in errors.

    Raises:
        InputError: it cannot be opened.
    """
    with reaching(location, name):
        if is_url(location):
            files, path = _file_system(location)
            stream = io.BufferedReader(files.open(path, "rb"), _BUFFER)
        else:
            stream = io.BufferedReader(open(location, "rb", buffering=0), _BUFFER)  # noqa: SIM115 -- the caller closes it
    return packed.unpacked(stream, file_name(location))


@contextmanager
def as_text(stream: io.BufferedReader, line_end: str) -> Iterator[io.TextIOWrapper]:
    """The whole of a stream as text: UTF-8, or UTF-16 where a byte order mark says so; the mark is no part of it.

    Bytes that are no UTF-8 become halves of characters (`is_utf8` tells).

    Args:
        line_end: as `newline` of the built-in `open`.
    """
    stream.seek(0)
    head = stream.peek(2)[:2]
    if head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        text = io.TextIOWrapper(stream, encoding="utf-16", errors="surrogatepass", newline=line_end)
    else:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline=line_end)
    try:
        yield text
    finally:
        text.detach()  # for it would close the stream


def is_utf8(text: str) -> bool:
    """Whether a text can be written in UTF-8: it holds no half of a character."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def escaped(text: str) -> str:
    """A text with what is no UTF-8 in it as escapes, to be shown."""
    try:
        return text.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="backslashreplace")
    except UnicodeEncodeError:  # half a character of UTF-16
        return text.encode("utf-8", errors="backslashreplace").decode("utf-8")


@contextmanager
def reaching(location: Path | str, name: str | None = None) -> Iterator[None]:
    """Say that a file cannot be reached, whatever the error of the system that holds it.

    Raises:
        InputError: instead of an OSError, or because the package for this kind of URL is missing.
        TemporaryError: a store does not answer, or answers with an error.
    """
    called = name or str(location)
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{called}: there is no such file or folder; correct the path") from error
    except packed.DAMAGED:
        raise  # OSErrors among them, but of what the file holds
    except OSError as error:
        reason = error.strerror or _said(error, location, called) or type(error).__name__
        if is_url(location) and not isinstance(error, PermissionError):
            raise TemporaryError(f"{called}: cannot be reached ({reason})") from error
        raise InputError(f"{called}: cannot be read ({reason}); make it readable") from error
    except Exception as error:
        if is_url(location) and type(error).__module__.partition(".")[0] not in _NOT_OF_A_STORE:
            reason = f"{type(error).__name__}: {_said(error, location, called)}"
            raise TemporaryError(f"{called}: cannot be reached ({reason})") from error
        raise


def _said(error: Exception, location: Path | str, called: str) -> str:
    """What an error says, with the file called so in it."""
    return str(error).replace(file_name(location), file_name(called))


def list_folder(location: Path | str, name: str | None = None) -> list[Entry] | None:
    """What is in a folder, by name; None where the location is a file.

    Args:
        name: what the location is called in errors, which are those of `reaching`.
    """
    with reaching(location, name):
        if not is_url(location):
            return _list_local(Path(location))
        files, path = _file_system(location)
        files.invalidate_cache()
        if files.isfile(path):
            return None
        if not files.isdir(path):
            raise FileNotFoundError
        scheme = str(location).partition("://")[0]
        entries = []
        for info in files.ls(path, detail=True):
            name = file_name(info["name"])
            if info["name"].rstrip("/") == path.rstrip("/") or not name:
                continue  # an object store's mark of the folder itself
            is_folder = info["type"] == "directory"
            entries.append(Entry(f"{scheme}://{info['name']}", name, is_folder, _seconds(info)))
    return sorted(entries, key=lambda entry: entry.name)


def _list_local(path: Path) -> list[Entry] | None:
    if not path.is_dir():
        path.stat()
        return None
    entries = []
    for file in path.iterdir():
        try:
            state = file.stat()
        except FileNotFoundError:
            continue  # taken away since, or a link to nothing
        entries.append(Entry(str(file), file.name, file.is_dir(), state.st_mtime))
    return sorted(entries, key=lambda entry: entry.name)


def modified_time(location: Path | str) -> float:
    """When a file or folder was changed last, in seconds since 1970; 0 where a store does not tell.

    Raises:
        InputError: it cannot be reached.
    """
    with reaching(location):
        if not is_url(location):
            return Path(location).stat().st_mtime
        files, path = _file_system(location)
        files.invalidate_cache()
        return _seconds(files.info(path)) or 0


def fingerprint(location: str) -> str:
    """Changes whenever what a URL names, or a file in the folder that it names, may have changed.

    Raises:
        InputError: it cannot be reached.
    """
    with reaching(location):
        files, path = _file_system(location)
        files.invalidate_cache()
        names = sorted(files.find(path))
        return hashlib.sha256(repr([(name, files.ukey(name)) for name in names]).encode()).hexdigest()


def _seconds(info: Mapping[str, object]) -> float | None:
    """The time of the last change among what a file system tells of a file."""
    for name in ("LastModified", "mtime", "modified", "last_modified", "updated", "created"):
        match info.get(name):
            case datetime() as time:
                return time.timestamp()
            case float() | int() as seconds:
                return float(seconds)
    return None


def sha256_location(location: Path | str, name: str | None = None) -> str:
    """Digest of a file's bytes, in hexadecimal.

    Args:
        name: what the file is called in errors.

    Raises:
        InputError: it cannot be read.
    """
    digest = hashlib.sha256()
    with reaching(location, name):
        if is_url(location):
            files, path = _file_system(location)
            files.invalidate_cache()
            stream = files.open(path, "rb")
        else:
            stream = open(location, "rb")  # noqa: SIM115 -- closed by the next line
        with stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def write_location(folder: Path | str, name: str, text: str) -> None:
    """Write a text as a file into a folder, whole or not at all; the folder is made where there is none.

    Raises:
        InputError: the folder is a file, or cannot be reached.
    """
    if not is_url(folder):
        if Path(folder).is_file():
            raise InputError(f"{folder}: is a file; name a folder")
        write_text(Path(folder) / name, text)
        return
    with reaching(folder):
        files, path = _file_system(folder)
        files.invalidate_cache()
        if files.isfile(path):
            raise InputError(f"{folder}: is a file; name a folder")
        files.makedirs(path, exist_ok=True)
        files.pipe_file(f"{path.rstrip('/')}/{name}", text.encode())


def _file_system(location: Path | str) -> "tuple[AbstractFileSystem, str]":
    from fsspec.core import url_to_fs

    try:
        files, path = url_to_fs(str(location))
    except ImportError as error:
        package = {"s3": "; run: pip install 'unilogit[s3]'"}.get(str(location).partition("://")[0], "")
        raise InputError(f"{location}: {str(error).removesuffix('.')}{package}") from error
    except ValueError as error:
        raise InputError(f"{location}: {error}; correct the URL") from error
    return files, path
