"""The questions that ship, and when an answer is right: against lists of words that texts are made of."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unilogit.evaluation.general.questions import general_questions, is_right

WORDS = ["Oslo", "STRASSE", "café", "cafe\u0301", "Київ", "हिन्दी", "42", "a", "Aa", "東京", "ⅷ", "don"]
SPELLINGS = {"cafe\u0301": "café", "strasse": "strasse", "ⅷ": "viii"}
SEPARATORS = [" ", ", ", "\n", "—", ". ", "'", '"', " / ", "_", "…"]


def plain(words):
    return [SPELLINGS.get(word.lower(), word.lower()) for word in words]


@given(
    st.lists(st.sampled_from(WORDS), max_size=8),
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=3), min_size=1, max_size=3),
    st.lists(st.sampled_from(SEPARATORS), min_size=9, max_size=9),
)
def test_an_answer_is_right_if_the_words_of_an_accepted_one_are_among_its_words(said, accepted, separators):
    answer = separators[-1] + "".join(word + mark for word, mark in zip(said, separators, strict=False))
    expected = any(
        plain(said)[start : start + len(wanted)] == plain(wanted)
        for wanted in accepted
        for start in range(len(said) - len(wanted) + 1)
    )
    assert is_right(answer, [" ".join(wanted) for wanted in accepted]) == expected


@pytest.mark.parametrize(
    ("answer", "accepted", "right"),
    [
        ("The formula is H₂O.", "H2O", True),
        ("Twenty‑six letters", "twenty-six", True),
        ("1, 2, 3,\n4 & 5!", "1 2 3 4 5", True),
        ("It is \u201cParis\u201d", "paris", True),
        ("Die Straße", "strasse", True),
        ("Parisian", "Paris", False),
        ("हिन्दी", "हिन", False),
        ("112", "12", False),
        ("", "Paris", False),
        ("...", "?", False),
    ],
)
def test_spellings_are_one_word_and_parts_of_words_are_none(answer, accepted, right):
    assert is_right(answer, ["something else", accepted]) == right


def test_what_ships():
    questions = general_questions()
    assert len(questions) == len({question.question for question in questions}) == 100
    domains = Counter(question.domain for question in questions)
    assert len(domains) == 7
    assert min(domains.values()) >= 10
    assert {question.domain for question in questions[:7]} == set(domains)
    for question in questions:
        assert all(is_right(text, question.answers) for text in (*question.answers, question.sentence))


def test_nothing_is_right_that_knows_nothing():
    questions = general_questions()
    for question in questions:  # to repeat the question is no answer
        assert not is_right(question.question, question.answers)
    for text in {answer for question in questions for answer in question.answers}:  # nor is always the same one
        assert sum(is_right(text, question.answers) for question in questions) <= 5
