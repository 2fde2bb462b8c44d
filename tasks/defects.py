"""A defect of ours: what may be told of it elsewhere, and the whole of it in a file of this home.

An error's own words may quote somebody, and Prefect keeps messages, logs and exceptions in its database. So Prefect is
told which error it is and where in the code; what it said stays here, as long as the texts of quarantined rows do.
"""

import traceback
from datetime import UTC, datetime
from pathlib import Path

from tasks.workspace import defects_folder
from unilogit.files import write_text

_CODE = Path(__file__).parents[1]


class Defect(Exception):
    """An error that is nobody's input: its message names a kind of error and a line of code, and quotes nothing.

    Attributes:
        trace: the traceback, without what the errors in it said.
    """

    def __init__(self, message: str, trace: str) -> None:
        super().__init__(message)
        self.trace = trace


def as_defect(error: Exception) -> Defect:
    """The defect that an error shows; the whole error is written to a file in `defects_folder()`, once."""
    if isinstance(error, Defect):
        return error
    file = defects_folder() / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.txt"
    write_text(file, "".join(traceback.format_exception(error)))
    defect = Defect(
        f"a defect of unilogit: {type(error).__name__}{_where(error)}; all of it is in {file}", _trace(error)
    )
    defect.__cause__ = error
    return defect


def _where(error: BaseException) -> str:
    """The innermost line of ours; else the innermost."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [
        frame
        for frame in frames
        if Path(frame.filename).is_relative_to(_CODE) and "site-packages" not in frame.filename
    ]
    for frame in reversed(ours or frames):
        return f" at {_short(frame.filename)}:{frame.lineno}"
    return ""


def _short(filename: str) -> str:
    file = Path(filename)
    return str(file.relative_to(_CODE)) if file.is_relative_to(_CODE) else filename


def _trace(error: BaseException) -> str:
    """As Python writes a traceback, with those of its causes before it and the errors' names alone."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    lines = traceback.format_tb(error.__traceback__)
    told = f"Traceback (most recent call last):\n{''.join(lines)}{type(error).__name__}"
    return f"{_trace(before)}\n\nand then:\n\n{told}" if before else told
