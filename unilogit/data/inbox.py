"""The inbox: which request files there are to take in, which are not finished yet, and what does not belong there.

Knows nothing of what was taken in before, nor of what requests say. Its sentences name no file in a folder, for a
file's name may be a person's.
"""

import re
import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from mimetypes import guess_type
from pathlib import Path

from unilogit.data.locations import Entry, file_name, list_folder, open_binary
from unilogit.data.request_files import FILED, SUFFIXES, request_rows
from unilogit.data.request_mapping import Mapping
from unilogit.data.rows import is_temporary, kind
from unilogit.errors import InputError

SETTLED = 2.0  # seconds without a change after which nobody writes to a file any more
ABANDONED = 3600.0  # seconds after which an end in the midst of a row is taken as it is
_EDGE = 64  # bytes at a file's beginning and end that are looked at
_MARGIN = b" \t\r\n\0\xef\xbb\xbf\xff\xfe"  # white space, in UTF-16 too, and byte order marks


@dataclass(frozen=True)
class Inbox:
    """What was in the inbox at one look.

    Attributes:
        files: locations (paths or URLs) of what can be taken in, by name.
        waiting: a sentence for what is still being written and waits for the next run.
        strays: a sentence for what is no request file and was passed over.
    """

    files: list[str]
    waiting: list[str]
    strays: list[str]


def scan_inbox(location: Path | str, mapping: Mapping = None, *, wait: bool = True, name: str | None = None) -> Inbox:
    """Look for request files.

    A file in a folder waits if it was changed in the last 2 seconds, or if it was changed in the last hour and ends in
    the midst of a row. A file that is named itself does not wait, nor does one that `file_request` wrote.

    Args:
        location: path or URL of a file, or of a folder (which may be empty). Hidden and temporary files in it are
            passed over.
        mapping: the form of the rows; see `read_requests`.
        wait: False takes what is still being written as it is.
        name: what the location is called in sentences.

    Raises:
        InputError: nothing is there, it cannot be reached, or it is a file of another kind.
    """
    called = name or str(location)
    entries = list_folder(location, called)
    if entries is None:
        if not str(location).lower().endswith(SUFFIXES):
            raise InputError(f"{called}: the kind of file is not known; save it as one of {', '.join(SUFFIXES)}")
        return Inbox([str(location)], [], [])
    entries = [entry for entry in entries if not is_temporary(entry.name)]
    strays = [entry for entry in entries if entry.is_folder or not entry.name.lower().endswith(SUFFIXES)]
    files = [entry for entry in entries if entry not in strays]
    waiting = [entry for entry in files if wait and _is_unfinished(entry, mapping)]
    inbox = Inbox([entry.location for entry in files if entry not in waiting], [], [])
    if waiting:
        inbox.waiting.append(f"{called}: still being written: {_kinds(waiting)}; the next run takes them")
    if strays:
        words = f"no requests, passed over: {_kinds(strays)}; take them away, or save them as one of"
        inbox.strays.append(f"{called}: {words} {', '.join(SUFFIXES)}")
    return inbox


def _kinds(entries: Iterable[Entry]) -> str:
    """How many there are of each kind, e.g. "2 .pdf, 1 folder"; what no kind is called by may be a name's end."""
    kinds = Counter("folder" if entry.is_folder else _kind(entry.name) for entry in entries)
    return ", ".join(f"{count} {name}" for name, count in sorted(kinds.items()))


def _kind(name: str) -> str:
    suffix = Path(name).suffix.lower()
    is_known = suffix in SUFFIXES or guess_type(f"x{suffix}") != (None, None)
    return suffix if is_known else "file"


def _is_unfinished(entry: Entry, mapping: Mapping) -> bool:
    if re.fullmatch(FILED, entry.name) or entry.modified is None:
        return False
    age = abs(time.time() - entry.modified)
    return age < SETTLED or (age < ABANDONED and _ends_in_the_midst(entry.location, mapping))


def _ends_in_the_midst(location: str, mapping: Mapping) -> bool:
    """Whether a file's end is missing."""
    try:
        with open_binary(location) as stream:
            start, end, lines = stream.peek(_EDGE)[:_EDGE].lstrip(_MARGIN), b"", 0
            while block := stream.read(1 << 20):
                end, lines = (end + block)[-_EDGE:], lines + block.count(b"\n")
    except EOFError:
        return True  # of what is packed
    except (InputError, OSError, ValueError):
        return False  # whoever reads it says what is wrong
    match kind(file_name(location)):
        case ".parquet":
            return not end.endswith(b"PAR1")
        case ".json":
            return not end.rstrip(_MARGIN).endswith(b"]" if start.startswith(b"[") else b"}")
    return not end.rstrip(b"\0").endswith((b"\n", b"\r")) and _last_row_is_unreadable(location, mapping, lines > 0)


def _last_row_is_unreadable(location: str, mapping: Mapping, has_header: bool) -> bool:
    try:
        rows = deque(request_rows(location, mapping), maxlen=1)
    except InputError:
        return not has_header  # it is the header, or the only row, that is not finished
    return not rows or rows[0].fields is None
