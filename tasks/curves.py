"""Training as it goes: what is logged at a step, with the time at which it was, for others to follow and to keep.

A kill loses nothing and repeats nothing: of a step that is trained again after it, what was written first stays. The
first line of a file says of which training it is. Knows nothing of who follows.
"""

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from unilogit.files import write_text


@dataclass(frozen=True)
class Entry:
    """What was logged at once.

    Attributes:
        time: in milliseconds since 1970.
        figures: name → number.
    """

    step: int
    time: int
    figures: dict[str, float]


class CurveWriter:
    """Appends to a file of entries, one line of JSON each; one process writes.

    Args:
        file: gone on with if it is of the same training, else begun anew.
        identity: of the training, a digest of all that it depends on.
    """

    def __init__(self, file: Path, identity: str) -> None:
        self.file = file
        header = json.dumps({"schema_version": 1, "training": identity})
        if file.exists() and _lines(file)[:1] == [header.encode()]:
            os.truncate(file, len(_whole_lines(file)))  # a kill may have left a part of a line
        else:
            write_text(file, f"{header}\n")
        self.written = {(entry.step, name) for entry in read_curves(file) for name in entry.figures}

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Add the figures that were not written at this step before; what is no number is left out."""
        new = {
            name: float(value)
            for name, value in figures.items()
            if name != "epoch" and (step, name) not in self.written and math.isfinite(value)
        }
        if not new:
            return
        line = json.dumps(asdict(Entry(step, time.time_ns() // 1_000_000, new)))
        with open(self.file, "ab") as stream:
            stream.write(f"{line}\n".encode())
        self.written |= {(step, name) for name in new}


def read_curves(file: Path) -> list[Entry]:
    """All that was written so far; nothing where there is no file."""
    return [Entry(**json.loads(line)) for line in _lines(file)[1:]] if file.exists() else []


def _lines(file: Path) -> list[bytes]:
    return _whole_lines(file).splitlines()


def _whole_lines(file: Path) -> bytes:
    content = file.read_bytes()
    return content[: content.rfind(b"\n") + 1]
