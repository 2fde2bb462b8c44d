"""What a word is, in any script. Knows texts alone.

A word is a run of letters, digits and the marks on them. Scripts that put no spaces between words (Chinese, Japanese,
Thai, Lao, Khmer, Burmese …) have none to run to: there, each letter or digit with its marks is one, which is what a
reader calls a character. Whoever compares words splits texts in their normal form (`unilogit.data.text`).
"""

import unicodedata

import regex

# Unicode's scripts of which UAX #14 says that a line may break elsewhere than at spaces, as far as anybody writes them.
_SCRIPTS_WITHOUT_SPACES = (
    *("Han", "Hiragana", "Katakana", "Yi", "Tangut", "Nushu"),
    *("Thai", "Lao", "Khmer", "Myanmar", "Tai_Le", "New_Tai_Lue", "Tai_Tham", "Tai_Viet", "Ahom"),
    *("Balinese", "Javanese"),
)
# By extension: what several of them share, as the long-vowel sign of kana, is in none of them alone.
_UNSPACED_SET = "".join(rf"\p{{scx={script}}}" for script in _SCRIPTS_WITHOUT_SPACES) + r"\p{Script=Bopomofo}"
_UNSPACED = rf"[[\p{{L}}\p{{N}}]&&[{_UNSPACED_SET}]]"
_SPACED = rf"[[\p{{L}}\p{{N}}]--[{_UNSPACED_SET}]]"

_WORD = regex.compile(rf"{_UNSPACED}\p{{M}}*|{_SPACED}(?:{_SPACED}|\p{{M}})*", regex.VERSION1)
_LETTER = regex.compile(r"[\p{L}\p{N}]")
_IN_WORD = regex.compile(r"[\p{L}\p{N}\p{M}]")
_MARK = regex.compile(r"\p{M}")
_IN_UNSPACED = regex.compile(rf"[[\p{{L}}\p{{N}}\p{{M}}]&&[{_UNSPACED_SET}]]", regex.VERSION1)


def words(text: str) -> list[str]:
    """The words of a text, in order."""
    return _WORD.findall(text)


def width(text: str) -> int:
    """Columns that a text takes: two for each wide East Asian character (UAX #11), which says as much as two others."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def has_word(text: str) -> bool:
    """Whether a text has any word: emoji and punctuation are none."""
    return _LETTER.search(text) is not None


def is_in_word(character: str) -> bool:
    """Whether it is a letter, a digit or a mark."""
    return _IN_WORD.fullmatch(character) is not None


def is_mark(character: str) -> bool:
    """Whether it belongs to the letter before it, as vowel signs and accents do."""
    return _MARK.fullmatch(character) is not None


def is_unspaced(character: str) -> bool:
    """Whether it is a letter, a digit or a mark of a script without spaces between words."""
    return _IN_UNSPACED.fullmatch(character) is not None


def is_one_word(before: str, after: str) -> bool:
    """Whether two characters that stand side by side are of one word."""
    if is_mark(after):
        return is_in_word(before)
    return is_in_word(before) and is_in_word(after) and not (is_unspaced(before) or is_unspaced(after))
