"""Questions of our own on what most people know, and whether an answer is right.

They ship with the library, under its licence. Knows nothing of models.
"""

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from unilogit.data.text import normal_form
from unilogit.data.words import words


class Question(NamedTuple):
    """One of them.

    Attributes:
        domain: geography, science, arithmetic, language, history, everyday or instructions.
        question: in English, as a user's turn.
        answers: that are accepted: spellings of the right one, or several right ones.
        sentence: one of them as one would say it.
    """

    domain: str
    question: str
    answers: tuple[str, ...]
    sentence: str


@cache
def general_questions() -> tuple[Question, ...]:
    """All of them; domains take turns, so that the first few are of all domains, too."""
    lines = files(__package__).joinpath("questions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return tuple(Question(row["domain"], row["question"], tuple(row["answers"]), row["sentence"]) for row in rows)


def is_right(answer: str, accepted: Sequence[str]) -> bool:
    """Whether an answer contains an accepted one: all of its words, one after the other, whatever signs are between.

    Words are those of the texts' normal form, in any script.
    """
    said = f" {_words(answer)} "
    return any(f" {wanted} " in said for wanted in map(_words, accepted) if wanted)


def _words(text: str) -> str:
    """The words of a text, a space between them."""
    return " ".join(words(normal_form(text)))
