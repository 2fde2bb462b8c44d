"""Texts as sets of word shingles, and which of many sets are alike: MinHash-LSH first, then true Jaccard similarity.

Knows texts. Knows nothing of records, requests or files.

Words are those of `unilogit.data.words`, of the normal form. A shingle is three words on end; a text of fewer words is
one shingle. Shingles are known by 64-bit hashes, which for all practical purposes is by the words themselves.
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from rensa import RMinHash, RMinHashDigestMatrix, RMinHashLSH

from unilogit.data.text import NormalTexts, bytes_and_offsets
from unilogit.data.words import is_in_word, is_mark, is_unspaced

WORDS = 3  # of a shingle
_PERMUTATIONS = 64
_RECALL = 0.999  # of a pair that is just alike enough
_WEIGHTS = np.array([0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93], dtype=np.uint64)


_END, _MARK = "\x01", "\x02"  # follows a letter that is a word; precedes a mark
_MARKED = re.compile(f"{_END}((?:{_MARK}.)+)")
_LONE_MARKS = re.compile(f"(?<![^ \0{_END}])(?:{_MARK}.)+")


class _WordCharacters(dict[int, str]):
    """Code point → what stands for it when words are told apart: itself, itself between signs, or a space."""

    def __missing__(self, point: int) -> str:
        character = chr(point)
        if is_mark(character):
            kept = _MARK + character
        elif not is_in_word(character):
            kept = " " if point else character  # zero is between texts
        else:
            kept = f" {character}{_END}" if is_unspaced(character) else character
        self[point] = kept
        return kept


def _spaced(text: str) -> str:
    """The words of a text in normal form, each between spaces or zeros; _END follows those that are a character."""
    text = text.translate(_word_characters)
    if _MARK in text:
        text = _LONE_MARKS.sub("", _MARKED.sub(rf"\1{_END}", text)).replace(_MARK, "")
    return text


_word_characters = _WordCharacters()
# The same, and lower case, for the bytes of ASCII; no other byte is met.
_ASCII = bytes(ord(_word_characters[byte].lower()) if byte < 0x80 else byte for byte in range(256))


class Words(NamedTuple):
    """The words of many texts, as hashes.

    Attributes:
        hashes: uint64 [words], text after text.
        counts: int64 [texts]: how many words each has.
        characters: int64 [texts]: how many of these are characters of a script without spaces.
    """

    hashes: np.ndarray
    counts: np.ndarray
    characters: np.ndarray


class Shingles(NamedTuple):
    """Shingles, and which stretches of them are the sets of texts; a set may have one twice.

    Attributes:
        hashes: uint64 [shingles].
        starts, ends: int64 [sets].
    """

    hashes: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    def set_at(self, place: int) -> np.ndarray:
        """One set: uint64, ascending, each once."""
        return np.unique(self.hashes[self.starts[place] : self.ends[place]])

    def take(self, places: np.ndarray) -> "Shingles":
        """Some of the sets, on their own."""
        counts = self.ends[places] - self.starts[places]
        ends = np.cumsum(counts)
        return Shingles(self.hashes[ranges(self.starts[places], counts)], ends - counts, ends)


def words_of(texts: pa.Array) -> Words:
    """The words of texts.

    Args:
        texts: of Arrow's type string, each with a zero byte after it and none inside.
    """
    raw, _ = bytes_and_offsets(texts)
    places = None
    if raw.isascii():
        data = raw.translate(_ASCII)
    else:
        normal = NormalTexts(texts)
        plain, coded = normal.data[: normal.plain_size], normal.data[normal.plain_size :]
        data, places = plain.translate(_ASCII) + _spaced(coded.decode()).encode(), normal.places
    letters = np.frombuffer(data, dtype=np.uint8)
    edges = np.flatnonzero(np.diff(letters > ord(" "), prepend=False))
    starts, ends = edges[::2], edges[1::2]
    hashes = _word_hashes(data, starts, ends - starts)
    last = np.searchsorted(starts, np.flatnonzero(letters == 0))
    characters_before = np.concatenate([[0], np.cumsum(letters[ends] == ord(_END))])
    text_words = Words(hashes, np.diff(last, prepend=0), np.diff(characters_before[last], prepend=0))
    return text_words if places is None else _in_order(text_words, places)


def _word_hashes(data: bytes, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """A hash of each word: uint64, made of eight of its bytes at a time."""
    padded = np.frombuffer(data + bytes(8), dtype=np.uint8)
    eights = np.ndarray(len(data) + 1, dtype="<u8", buffer=padded, strides=(1,))  # the eight bytes from each place on
    hashes = lengths.astype(np.uint64)
    rest = np.arange(len(lengths))
    for done in range(0, int(lengths.max(initial=0)), 8):
        rest = rest[lengths[rest] > done] if done else rest
        surplus = np.maximum(8 - (lengths[rest] - done), 0).astype(np.uint64) * np.uint64(8)  # bits beyond the word
        eight = (eights[starts[rest] + done] << surplus) >> surplus
        hashes[rest] = _mixed(hashes[rest] + eight)
    return hashes


def _mixed(hashes: np.ndarray) -> np.ndarray:
    """Every bit made to depend on every bit (the last steps of MurmurHash3)."""
    hashes = (hashes ^ (hashes >> 33)) * np.uint64(0xFF51AFD7ED558CCD)
    hashes = (hashes ^ (hashes >> 33)) * np.uint64(0xC4CEB9FE1A85EC53)
    return hashes ^ (hashes >> 33)


def _in_order(shuffled: Words, places: np.ndarray) -> Words:
    """The words, text after text, of texts that stood in the order of `places`."""
    ordered = Words(*(np.empty_like(part) for part in shuffled))
    ordered.counts[places], ordered.characters[places] = shuffled.counts, shuffled.characters
    starts = (np.cumsum(ordered.counts) - ordered.counts)[places]
    ordered.hashes[ranges(starts, shuffled.counts)] = shuffled.hashes
    return ordered


def ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The numbers start, start + 1 … of each pair, one after the other."""
    return np.arange(counts.sum()) + np.repeat(starts - (np.cumsum(counts) - counts), counts)


def joined(left: Words, right: Words) -> Words:
    """The words of each left text, then those of its right one."""
    counts = left.counts + right.counts
    starts = np.cumsum(counts) - counts
    hashes = np.empty(len(left.hashes) + len(right.hashes), dtype=np.uint64)
    hashes[ranges(starts, left.counts)] = left.hashes
    hashes[ranges(starts + left.counts, right.counts)] = right.hashes
    return Words(hashes, counts, left.characters + right.characters)


def shingles_of(words: Words) -> Shingles:
    """The shingles of texts; a text without words has none."""
    counts = np.where(words.counts < WORDS, np.minimum(words.counts, 1), words.counts - (WORDS - 1))
    ends = np.cumsum(words.counts)
    first = ranges(ends - words.counts, counts)
    last = np.repeat(ends, counts)
    padded = np.concatenate([words.hashes, np.zeros(WORDS, dtype=np.uint64)])
    hashes = np.zeros(len(first), dtype=np.uint64)
    for place, weight in enumerate(_WEIGHTS):
        hashes += np.where(first + place < last, padded[first + place], 0) * weight
    ends = np.cumsum(counts)
    return Shingles(_mixed(hashes), ends - counts, ends)


class Pair(NamedTuple):
    """Two sets that are alike: one that was asked for, one of the index; and their Jaccard similarity."""

    place: int
    number: int
    similarity: float


class ShingleIndex:
    """Sets of shingles, to find those that others are like.

    Args:
        threshold: the Jaccard similarity from which on two sets are alike, in (0, 1].
        sets: what is in the index; equal sets share a number.

    Attributes:
        numbers: int64: the number of each set.
    """

    def __init__(self, sets: Shingles, threshold: float) -> None:
        self._threshold = threshold
        known: dict[bytes, int] = {}
        self._sets: list[np.ndarray] = []
        self.numbers = np.empty(len(sets.starts), dtype=np.int64)
        for place in range(len(self.numbers)):
            members = sets.set_at(place)
            self.numbers[place] = known.setdefault(members.tobytes(), len(known))
            if len(known) > len(self._sets):
                self._sets.append(members)
        self._sizes = np.array([len(members) for members in self._sets], dtype=np.int64)
        hashes = np.concatenate([np.empty(0, dtype=np.uint64), *self._sets])
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._holders = hashes[order], np.repeat(np.arange(len(self._sets)), self._sizes)[order]
        self._shift = 64 - min(max(16, (8 * len(hashes)).bit_length()), 28)
        self._is_near = np.zeros(1 << (64 - self._shift), dtype=np.bool_)  # by two stretches of a hash's bits
        for part in self._parts(hashes):
            self._is_near[part] = True
        self._lsh = RMinHashLSH(threshold, _PERMUTATIONS, _bands(threshold))
        self._lsh.insert_matrix(_digests(hashes, self._sizes))

    def alike(self, sets: Shingles) -> Iterator[Pair]:
        """Every pair of a set and one of the index that is alike, but for the few that MinHash-LSH misses."""
        places = np.flatnonzero(self._may_be_alike(sets))
        chosen = sets.take(places)
        digests = _digests(chosen.hashes, chosen.ends - chosen.starts)
        flags = self._lsh.query_duplicate_flags_matrix_one_shot(digests)
        for place in np.flatnonzero(flags).tolist():
            for number, similarity in self._alike(chosen.set_at(place)):
                yield Pair(int(places[place]), number, similarity)

    def _may_be_alike(self, sets: Shingles) -> np.ndarray:
        """Whether enough of a set's shingles are in the index: bool [sets], never False for one that is alike."""
        is_met = self._is_met(sets.hashes)
        met_before = np.concatenate([[0], np.cumsum(is_met)])
        met, sizes = met_before[sets.ends] - met_before[sets.starts], sets.ends - sets.starts
        is_enough = (met > 0) & (met >= self._threshold * sizes - 1e-9)
        # What a set has twice counts once. So those are left that have as few different shingles as to be alike.
        doubtful = np.flatnonzero((met > 0) & ~is_enough)
        rest = sets.take(doubtful)
        if len(doubtful):
            bits = np.bitwise_or.reduceat(np.uint64(1) << (rest.hashes & np.uint64(63)), rest.starts)
            doubtful = doubtful[met[doubtful] >= self._threshold * np.bitwise_count(bits) - 1e-9]
        for place in doubtful.tolist():
            members = sets.set_at(place)
            is_enough[place] = np.count_nonzero(self._is_met(members)) >= self._threshold * len(members) - 1e-9
        return is_enough

    def _parts(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return hashes >> np.uint64(self._shift), (hashes << np.uint64(self._shift)) >> np.uint64(self._shift)

    def _is_met(self, hashes: np.ndarray) -> np.ndarray:
        """Whether each shingle is in the index: bool; True of one in fifty that is not."""
        first, second = self._parts(hashes)
        is_met = self._is_near[first]
        places = np.flatnonzero(is_met)
        is_met[places] = self._is_near[second[places]]
        return is_met

    def _alike(self, members: np.ndarray) -> Iterator[tuple[int, float]]:
        size, threshold = len(members), self._threshold
        starts, ends = (np.searchsorted(self._hashes, members, side) for side in ("left", "right"))
        holders = ends - starts
        needed = math.ceil(threshold * size - 1e-9)  # of its shingles a set that is alike has
        if np.count_nonzero(holders) < max(needed, 1):
            return
        # Of more than size − needed shingles, a set that is alike has one: the rarest leave the fewest to look at.
        rarest = np.argsort(holders, kind="stable")[: size - needed + 1]
        candidates = np.unique(self._holders[ranges(starts[rarest], holders[rarest])])
        sizes = self._sizes[candidates]
        for number in candidates[(sizes >= threshold * size - 1e-9) & (sizes * threshold <= size + 1e-9)].tolist():
            common = len(np.intersect1d(members, self._sets[number], assume_unique=True))
            similarity = common / (size + len(self._sets[number]) - common)
            if similarity >= threshold:
                yield number, similarity


def _bands(threshold: float) -> int:
    """The fewest bands that find a pair at the threshold with probability _RECALL; all there are if none does."""
    for rows in (16, 8, 4, 2):
        if (1 - threshold**rows) ** (_PERMUTATIONS // rows) <= 1 - _RECALL:
            return _PERMUTATIONS // rows
    return _PERMUTATIONS


def _digests(hashes: np.ndarray, counts: np.ndarray) -> RMinHashDigestMatrix:
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64)
    return RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, num_perm=_PERMUTATIONS, seed=0)
