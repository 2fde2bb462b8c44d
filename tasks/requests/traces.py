"""What shows that a text is somebody's: which strings are looked for, and where in other strings they stand.

Strings are compared in their normal form, as whole words, all at once in one pass over what is searched. Knows nothing
of files or of the ledger. What counts as a trace is in docs/purge.md.
"""

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate

from ahocorasick_rs import AhoCorasick

from unilogit.data.text import normal_form
from unilogit.data.words import is_one_word, width

SHORTEST = 4  # columns: less is found everywhere
PIECE = 200  # characters: a longer text is looked for piece by piece, so that a part of it is found as well
_SEPARATOR = "\0"  # of cells: no white space, so that the normal form leaves it where it is
_NUMBER = re.compile(r"[\d\W]+")


def patterns(texts: Iterable[str]) -> set[str]:
    """What is looked for of these texts: each in its normal form, or its pieces; none that is too short."""
    wanted: set[str] = set()
    for text in texts:
        said = normal_form(text.replace(_SEPARATOR, " "))
        if len(said) <= PIECE:
            wanted.add(said)
        else:
            wanted.update(_pieces(said))
    return {pattern for pattern in wanted if width(pattern) >= SHORTEST}


def _pieces(said: str) -> Iterator[str]:
    """A long text in pieces of whole words; in a run of PIECE characters without a space, of just so many."""
    start = 0
    while len(said) - start > PIECE:
        end = said.rfind(" ", start + 1, start + PIECE + 1)
        end = end if end > 0 else start + PIECE
        yield said[start:end]
        start = end + (said[end] == " ")
    yield said[start:] if said[start - 1] == " " else said[-PIECE:]


class Traces:
    """Strings that are looked for, of which every one shows that a text is somebody's.

    Args:
        wanted: as `patterns` makes them.
    """

    def __init__(self, wanted: Collection[str]) -> None:
        self.patterns = sorted(wanted)
        self._matcher = AhoCorasick(self.patterns)

    def find(self, cells: Sequence[str]) -> Iterator[tuple[int, str]]:
        """(place of the cell, pattern) of all that is found in strings that belong together, as those of a column.

        A pattern of digits and signs alone is found where it is a whole cell: it may be any number elsewhere.
        """
        plain = [place for place, cell in enumerate(cells) if cell.isascii()]
        coded = [place for place, cell in enumerate(cells) if not cell.isascii()]  # their normal form takes longer
        for places in (plain, coded):
            if places and self.patterns:
                yield from self._find([cells[place] for place in places], places)

    def _find(self, cells: list[str], places: list[int]) -> Iterator[tuple[int, str]]:
        said = _joined(cells)
        if said.count(_SEPARATOR) != len(cells) + 1:
            said = _joined([cell.replace(_SEPARATOR, " ") for cell in cells])
        starts: list[int] = []  # of the cells, once something is found
        for number, start, end in self._matcher.find_matches_as_indexes(said, overlapping=True):
            if _stands_alone(said, start, end):
                starts = starts or [1, *accumulate((len(cell) + 1 for cell in said[1:-1].split(_SEPARATOR)), initial=1)]
                yield places[bisect_right(starts, start) - 2], self.patterns[number]


def _joined(cells: list[str]) -> str:
    """The normal forms of cells, with a separator before and after each."""
    said = normal_form(_SEPARATOR + _SEPARATOR.join(cells) + _SEPARATOR)
    return said.replace(f" {_SEPARATOR}", _SEPARATOR).replace(f"{_SEPARATOR} ", _SEPARATOR)


def _stands_alone(said: str, start: int, end: int) -> bool:
    """Whether what is found is no part of a longer word or number; a piece of a text without spaces always is."""
    if end - start == PIECE:
        return True
    if _NUMBER.fullmatch(said, start, end):
        return said[start - 1] == said[end] == _SEPARATOR
    return not (_are_joined(said[start - 1], said[start]) or _are_joined(said[end - 1], said[end]))


@lru_cache(1 << 16)
def _are_joined(before: str, after: str) -> bool:
    """Whether two neighbours are of one word; names of fields have their words joined by low lines."""
    return is_one_word(before.replace("_", "x"), after.replace("_", "x"))
