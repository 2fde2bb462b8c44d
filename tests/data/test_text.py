"""The normal form against the Unicode database and against pairs that a person reads as the same."""

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unilogit.data.text import NormalTexts, normal_form

SAME = [
    ("Zoe Exampleby", "Zoe\u00a0Exampleby"),
    ("Zoe Exampleby", " zoe \n exampleby\t"),
    ("José Núñez", unicodedata.normalize("NFD", "JOSÉ NÚÑEZ")),
    ("Dana O'Sample", "Dana O\u2019Sample"),
    ("Dana O'Sample", "Dana O\u02bcSample"),
    ("Dana O'Sample", "Dana O\u00b4Sample"),
    ('"Kim"', "\u201eKim\u201c"),
    ("c-2", "c\u20112\u200b"),
    ("c-2", "\ufeffc\u22122"),
    ("Anna-Maria", "Anna\u2013Ma\u00adria"),
    ("ﬁle no. １２", "FILE NO. 12"),
    ("Straße", "STRASSE"),
    ("ΠΑΎΛΟΣ", "Παύλος"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_reads_the_same_is_the_same(one, other):
    assert normal_form(one) == normal_form(other)


@pytest.mark.parametrize(("one", "other"), [("Jose", "José"), ("c-2", "c-20"), ("ab", "a b"), ("0", "O"), ("", "-")])
def test_what_reads_otherwise_is_other(one, other):
    assert normal_form(one) != normal_form(other)


TEXTS = st.text() | st.text(alphabet="aAİıßς`´’–\u00ad\u200b\u0345ͅΐŉ ﬁ\u1e9e\u00a0\n")


@given(TEXTS)
def test_twice_is_once(text):
    assert normal_form(normal_form(text)) == normal_form(text)


@given(TEXTS)
def test_equivalent_encodings_and_either_case_are_one(text):
    for form in ("NFC", "NFD"):
        assert normal_form(unicodedata.normalize(form, text)) == normal_form(text)
    assert normal_form(text.casefold()) == normal_form(text)


@given(st.text(), st.text(), st.sampled_from(" \n\t\u00a0\u2003\u3000\u2028"))
def test_white_space_parts_whatever_its_kind(left, right, space):
    assert normal_form(f"{left}{space}{right}") == normal_form(f"{left} {right}")


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_ascii_is_no_special_case(text):
    assert normal_form(text) == normal_form(f"{text}\u200b")


@given(st.lists(TEXTS | st.text(alphabet=st.characters(max_codepoint=127)), max_size=8))
def test_many_texts_at_once_are_each_in_normal_form(texts):
    normal = NormalTexts(pa.array([f"{text}\0" for text in texts], pa.string()))
    assert normal.forms() == [normal_form(text) for text in texts]
    assert normal.data[: normal.plain_size].isascii()


@given(st.lists(st.text(alphabet="aÄ \0"), min_size=1, max_size=8), st.data())
def test_a_stretch_of_many_texts_lies_in_one_or_none(texts, data):
    normal = NormalTexts(pa.array([f"{text}\0" for text in texts], pa.string()))
    start = data.draw(st.integers(0, len(normal.data) - 1))
    end = data.draw(st.integers(start + 1, len(normal.data)))
    [place] = normal.texts_at(np.array([start]), np.array([end]))
    stretches = [(first, last) for first, last in zip([0, *(normal.ends[:-1] + 1)], normal.ends, strict=True)]
    inside = [number for number, (first, last) in enumerate(stretches) if first <= start and end <= last]
    assert [place] == [normal.places[number] for number in inside] or (place, inside) == (-1, [])


def test_a_part_of_an_arrow_array_is_read_from_where_it_starts():
    texts = pa.array(["Alpha\0", "Bé\0", "C\0", "\0"], pa.string())
    assert NormalTexts(texts[1:3]).forms() == ["bé", "c"]
    assert NormalTexts(texts[4:]).forms() == []
