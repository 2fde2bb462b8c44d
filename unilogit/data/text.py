"""The normal form by which texts and identifiers are compared: what reads the same is the same.

Knows nothing of records or requests. What was given is kept as given; only comparisons use the normal form.
"""

import sys
import unicodedata
from functools import cache

_APOSTROPHES = "`´\u1ffd‘’‚‛‹›′‵ʹʻʼʽˈ՚＇"
_QUOTES = "“”„‟«»″‶ˮ〝〞〟＂"
# Unicode's other default-ignorable characters; format characters (category Cf) are all ignored.
_IGNORED = [0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]


@cache
def _folding() -> dict[int, str | None]:
    """Code point → what stands for it: quotes and dashes in ASCII, None for what cannot be seen."""
    table: dict[int, str | None] = {0x2212: "-"}  # the minus sign is no dash to Unicode
    table.update({ord(character): "'" for character in _APOSTROPHES} | {ord(character): '"' for character in _QUOTES})
    table.update(dict.fromkeys(_IGNORED))
    for point in range(0x80, sys.maxunicode + 1):
        match unicodedata.category(chr(point)):
            case "Cf":
                table[point] = None
            case "Pd":
                table[point] = "-"
    return table


_ASCII_FOLDING = str.maketrans("`", "'")


def normal_form(text: str) -> str:
    """A text as it is compared with others.

    Unicode NFKC and full case folding; invisible characters (zero-width and other format characters, variation
    selectors) removed; typographic quotes and dashes as in ASCII; each run of white space, no-break spaces and line
    breaks included, as one space, and none at the ends. Applying it twice changes nothing.
    """
    if text.isascii():
        return " ".join(text.translate(_ASCII_FOLDING).lower().split())
    # Quotes first: NFKC makes a space and an accent of U+00B4. Twice: folding may undo composition, and the reverse.
    for _ in range(2):
        text = unicodedata.normalize("NFKC", text.translate(_folding())).casefold()
    return " ".join(unicodedata.normalize("NFKC", text).translate(_folding()).split())
