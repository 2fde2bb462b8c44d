"""How much of the reference a generated text contains, and how much else: ROUGE-L, per example.

Source: Lin 2004, aclanthology.org/W04-1013; the reference implementation, rouge_score, which knows a–z and 0–9 alone.
The reference decides how words are found. Of one in Latin letters they are rouge_score's, and so is the result; of any
other, and of one in Latin letters that has none of those, they are the words of `unilogit.data.words` in normal form,
those in ASCII stemmed as rouge_score does. What reads the same is the same either way (NFC, full-width letters).
"""

import unicodedata
from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import regex

from unilogit.data.text import normal_form
from unilogit.data.words import has_word, words

# Why a mean over records is none, or leaves some of them out.
NO_WORDS = "no record has an answer with a word to compare (emoji and punctuation are none)"
WITHOUT_WORDS = "their answers have no word to compare (emoji and punctuation are none)"
_SEEN = regex.compile("[a-z0-9]")  # by rouge_score, in lower case
_NOT_LATIN = regex.compile(r"[[\p{L}\p{M}\p{Nd}]--[\p{Latin}\p{Inherited}0-9µ\u02B0-\u02FF]]", regex.VERSION1)
# What reads like letters that rouge_score knows, or cannot be seen: ligatures, full-width forms, zero-width characters.
_FORMS = (*range(0xFB00, 0xFB07), *range(0xFF01, 0xFF5F))
_LATIN_FORMS = {form: unicodedata.normalize("NFKC", chr(form)) for form in _FORMS}
_LATIN_FORMS |= dict.fromkeys((0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF), "")


def rouge_l_recall(references: Sequence[str], generated: Sequence[str]) -> np.ndarray:
    """Longest common subsequence of words / words of the reference; case does not count, stems do (Porter).

    Returns:
        float64 of shape (examples,), in [0, 1]; NaN where the reference has no word.
    """
    return _rouge_l(references, generated, stem=True, figure="recall")


def rouge_l_f1(references: Sequence[str], generated: Sequence[str], *, stem: bool = True) -> np.ndarray:
    """Harmonic mean of `rouge_l_recall` and the same over the words generated.

    Args:
        stem: whether words are stemmed; OpenUnlearning does, the code published with MUSE does not.

    Returns:
        float64 of shape (examples,), in [0, 1]; NaN where the reference has no word.
    """
    return _rouge_l(references, generated, stem=stem, figure="fmeasure")


class _Tokenizer(Protocol):
    """What rouge_score takes for one."""

    def tokenize(self, text: str) -> list[str]: ...


class _AnyScript:
    """Words of `unilogit.data.words`, in normal form.

    Args:
        latin: rouge_score's tokenizer, which makes one token of a word in ASCII.
    """

    def __init__(self, latin: _Tokenizer) -> None:
        self._latin = latin

    def tokenize(self, text: str) -> list[str]:
        tokens = []
        for word in words(normal_form(text)):
            tokens += self._latin.tokenize(word) if word.isascii() else [word]
        return tokens


def _rouge_l(
    references: Sequence[str], generated: Sequence[str], *, stem: bool, figure: Literal["recall", "fmeasure"]
) -> np.ndarray:
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.tokenizers import DefaultTokenizer

    latin = DefaultTokenizer(stem)
    latin_scorer = RougeScorer(["rougeL"], tokenizer=latin)
    any_scorer = RougeScorer(["rougeL"], tokenizer=_AnyScript(latin))
    values = np.full(len(references), np.nan)
    for place, pair in enumerate(zip(references, generated, strict=True)):
        reference, text = map(_composed, pair)
        is_latin = _is_latin(reference)
        if is_latin or has_word(normal_form(reference)):
            score = (latin_scorer if is_latin else any_scorer).score(reference, text)["rougeL"]
            values[place] = getattr(score, figure)
    return values


def _composed(text: str) -> str:
    if text.isascii():
        return text
    if max(text) >= "\u200b":  # none of the forms is before it
        text = text.translate(_LATIN_FORMS)
    return unicodedata.normalize("NFC", text)


def _is_latin(reference: str) -> bool:
    """Whether rouge_score sees the words of a reference."""
    return _SEEN.search(reference.lower()) is not None and (reference.isascii() or not _NOT_LATIN.search(reference))
