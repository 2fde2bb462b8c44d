"""The normal form by which texts and identifiers are compared: what reads the same is the same.

Knows nothing of records or requests. What was given is kept as given; only comparisons use the normal form.
"""

import unicodedata

import numpy as np
import pyarrow as pa

SEPARATOR = "\0"  # follows each text of many; no Unicode rule joins anything across it
_APOSTROPHES = "`´\u1ffd‘’‚‛‹›′‵ʹʻʼʽˈ՚＇"
_QUOTES = "“”„‟«»″‶ˮ〝〞〟＂"
# Unicode's other default-ignorable characters; format characters (category Cf) are all ignored.
_IGNORED = [0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]


class _Folding(dict[str, str]):
    """Character → what stands for it: quotes and dashes in ASCII, nothing for what cannot be seen, else itself."""

    def __missing__(self, character: str) -> str:
        folded = character
        if not character.isascii():
            folded = {"Cf": "", "Pd": "-"}.get(unicodedata.category(character), character)
        self[character] = folded
        return folded


_FOLDING = _Folding(
    {"\u2212": "-"}  # the minus sign is no dash to Unicode
    | dict.fromkeys(_APOSTROPHES, "'")
    | dict.fromkeys(_QUOTES, '"')
    | dict.fromkeys(map(chr, _IGNORED), "")
)


def _folded(text: str) -> str:
    """With what stands for each character: few are not themselves, so each of these by a pass of its own."""
    for character in set(text):
        folded = _FOLDING[character]
        if folded != character:
            text = text.replace(character, folded)
    return text


def normal_form(text: str) -> str:
    """A text as it is compared with others.

    Unicode NFKC and full case folding; invisible characters (zero-width and other format characters, variation
    selectors) removed; typographic quotes and dashes as in ASCII; each run of white space, no-break spaces and line
    breaks included, as one space, and none at the ends. Applying it twice changes nothing.
    """
    if text.isascii():
        return " ".join(text.replace("`", "'").lower().split())
    # Quotes first: NFKC makes a space and an accent of U+00B4. Twice: folding may undo composition, and the reverse.
    for _ in range(2):
        text = unicodedata.normalize("NFKC", _folded(text)).casefold()
    return " ".join(_folded(unicodedata.normalize("NFKC", text)).split())


class NormalTexts:
    """The normal forms of many texts at once, as one run of bytes: nothing is done text by text.

    Args:
        texts: of Arrow's type string, none null, each with SEPARATOR after it, which is not part of it.

    Attributes:
        data: the normal forms in UTF-8, each with a zero byte after it; texts in ASCII first.
        ends: int64: where in `data` each of them ends, before its zero byte.
        places: int64: the place in `texts` of each of them.
        plain_size: how many bytes of `data` are surely ASCII, from the start.
    """

    def __init__(self, texts: pa.Array) -> None:
        raw, offsets = bytes_and_offsets(texts)
        if raw.isascii():
            plain, coded, self.places = raw, b"", np.arange(len(texts))
        else:
            coded_before = np.concatenate([[0], np.cumsum(np.frombuffer(raw, dtype=np.uint8) >= 0x80)])
            is_coded = np.diff(coded_before[offsets]) > 0
            plain, _ = bytes_and_offsets(texts.filter(pa.array(~is_coded)))
            coded, _ = bytes_and_offsets(texts.filter(pa.array(is_coded)))
            self.places = np.concatenate([np.flatnonzero(~is_coded), np.flatnonzero(is_coded)])
        normal = _without_spare_spaces(plain.translate(_ASCII))
        self.data, self.plain_size = normal + _normal_lines(coded), len(normal)
        self.ends = np.flatnonzero(np.frombuffer(self.data, dtype=np.uint8) == 0)
        if len(self.ends) != len(texts):  # a text holds a zero byte itself
            forms = [normal_form(text[:-1]).encode() for text in texts.to_pylist()]
            self.places = np.arange(len(texts))
            self.data = b"".join(form + b"\0" for form in forms)
            self.ends = np.cumsum([len(form) + 1 for form in forms]) - 1
            self.plain_size = 0

    def __len__(self) -> int:
        return len(self.ends)

    def forms(self) -> list[str]:
        """The normal forms, in the order of the texts that were given."""
        forms, start = [""] * len(self), 0
        for place, end in zip(self.places.tolist(), self.ends.tolist(), strict=True):
            forms[place], start = self.data[start:end].decode(), end + 1
        return forms

    def texts_at(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """The text that each stretch of `data` lies in: its place, int64; −1 where it reaches beyond one."""
        numbers = np.searchsorted(self.ends, starts)
        return np.where(ends <= self.ends[numbers], self.places[numbers], -1)


# What normal_form does to the characters of ASCII, one by one; no other byte is met.
_ASCII = bytes(range(256)).translate(bytes.maketrans(b"`\t\n\v\f\r\x1c\x1d\x1e\x1f", b"'" + b" " * 9)).lower()


def bytes_and_offsets(texts: pa.Array) -> tuple[bytes, np.ndarray]:
    """All texts as one run of UTF-8, and where each begins in it, then where the last ends: int32 [texts + 1]."""
    if not len(texts):
        return b"", np.zeros(1, dtype=np.int32)
    _, offsets, data = texts.buffers()
    places = np.frombuffer(offsets, dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    raw = data[places[0] : places[-1]].to_pybytes() if data is not None else b""
    return raw, places - places[0]


def _normal_lines(coded: bytes) -> bytes:
    """Texts that are not in ASCII: their normal form is that of all of them together, but for spaces at the ends."""
    return _without_spare_spaces(normal_form(coded.decode()).encode()) if coded else b""


def _without_spare_spaces(data: bytes) -> bytes:
    """Each run of spaces as one, and none beside a zero byte or at the start."""
    is_gap = np.frombuffer(data, dtype=np.uint8) <= ord(" ")
    if not (is_gap[:1].any() or np.any(is_gap[1:] & is_gap[:-1])):
        return data  # no space has any beside it: told much sooner than by what follows
    while b"  " in data:
        data = data.replace(b"  ", b" ")
    return data.lstrip(b" ").replace(b" \0", b"\0").replace(b"\0 ", b"\0")
