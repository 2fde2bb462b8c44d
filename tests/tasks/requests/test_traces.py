"""Traces beside a search that looks for one string after another."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.requests.traces import PIECE, Traces, patterns
from unilogit.data.text import normal_form

WORDS = ["Ada", "ada lovelace", "4711", "B-17/2", "straße", "“quoted”", "x", "Müller", "love", "a_b"]
TEXTS = st.lists(st.sampled_from([*WORDS, " ", "\u00a0", "\n", ".", "-", "\0", "ß", "9", "é"]), max_size=8).map("".join)


def one_by_one(wanted, cells):
    """(cell, string) by the definition: whole words; digits and signs alone as a whole cell."""
    found = set()
    for place, cell in enumerate(cells):
        said = normal_form(cell.replace("\0", " "))
        for text in wanted:
            form = normal_form(text.replace("\0", " "))
            if len(form) < 4:
                continue
            if re.fullmatch(r"[\d\W]+", form):
                is_there = said == form
            else:
                start, end = (r"(?<!\w)" if form[0].isalnum() else ""), (r"(?!\w)" if form[-1].isalnum() else "")
                is_there = re.search(start + re.escape(form) + end, said)
            if is_there:
                found.add((place, form))
    return found


@given(st.lists(TEXTS, max_size=6), st.lists(TEXTS, max_size=6))
def test_as_one_by_one(wanted, cells):
    assert set(Traces(patterns(wanted)).find(cells)) == one_by_one(wanted, cells)


@pytest.mark.parametrize(
    ("text", "said", "is_there"),
    [
        ("Ada Lovelace", "so ADA\u00a0 lovelace’s cat", True),
        ("Ada Lovelace", "Ada Lovelaces", False),
        ("4711", "4711", True),
        ("4711", " 4711\n", True),
        ("4711", "0.4711", False),
        ("4711", "it took 4711 steps", False),
        ("Yes", "Yes", False),  # too short
        ("Zoë", "Zoë", False),
        ("Zoë N", "by ZOË N.", True),
        ("李明华与王", "我叫李明华与王先生", True),  # no space stands between words
        ("林茨市路4号", "住在林茨市路4号楼", True),
        ("สมชาย", "คุณสมชายครับ", True),
        ("สมชาย", "คุณสมชายี", False),  # a mark makes another letter of the last
        ("राम सिंह", "श्री राम सिंह जी", True),
        ("राम सिंह", "राम सिंहा", False),  # a vowel sign makes another word
        ("Иван Петров", "Ивана Петрова", False),
    ],
)
def test_what_is_a_trace(text, said, is_there):
    assert bool(list(Traces(patterns([text])).find([said]))) == is_there


def test_a_part_of_a_long_text_is_found():
    text = " ".join(f"word{number}" for number in range(300))
    traces = Traces(patterns([text]))
    assert all(list(traces.find([text[start : start + 2 * PIECE]])) for start in range(0, len(text) - 2 * PIECE, 17))
    assert not list(traces.find([text[: PIECE // 2]]))


def test_a_part_of_a_long_text_without_spaces_is_found():
    text = "".join(chr(0x4E00 + number * 7919 % 5000) for number in range(1000))
    traces = Traces(patterns([text]))
    assert all(list(traces.find([text[start : start + 2 * PIECE]])) for start in range(0, len(text) - 2 * PIECE, 17))
    assert not list(traces.find([text[: PIECE // 2]]))


def test_nothing_wanted_is_nowhere():
    assert list(Traces([]).find(["anything"])) == []
