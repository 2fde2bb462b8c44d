"""Words of many scripts, and that whoever splits a text at them loses nothing but what is no word."""

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unilogit.data.words import has_word, is_one_word, width, words

SCRIPTS = {
    "in Linz, 4020!": ["in", "Linz", "4020"],
    "don't_stop": ["don", "t", "stop"],
    "живёт в Линце": ["живёт", "в", "Линце"],
    "Ζει στη Λιντς": ["Ζει", "στη", "Λιντς"],
    "يعيش في لينتس": ["يعيش", "في", "لينتس"],
    "גר בלינץ": ["גר", "בלינץ"],
    "वह लिंज़ में रहता है।": ["वह", "लिंज़", "में", "रहता", "है"],  # vowel signs are marks
    "தமிழ் மொழி": ["தமிழ்", "மொழி"],
    "그녀는 린츠에 산다": ["그녀는", "린츠에", "산다"],
    "她住在林茨。": ["她", "住", "在", "林", "茨"],
    "コーヒー、々": ["コ", "ー", "ヒ", "ー", "々"],
    "ที่กรุงเทพ": ["ที่", "ก", "รุ", "ง", "เ", "ท", "พ"],
    "ລາວ": ["ລ", "າ", "ວ"],
    "ខ្មែរ": ["ខ្", "មែ", "រ"],
    "မြန်မာ": ["မြ", "န်", "မာ"],
    "Linz市4020号": ["Linz", "市", "4020", "号"],
    "中Ω中": ["中", "Ω", "中"],
}


@pytest.mark.parametrize("text", SCRIPTS)
def test_words_are_told_in_every_script(text):
    assert words(text) == SCRIPTS[text]
    assert has_word(text)


@pytest.mark.parametrize("text", ["", " \n", "…?!", "—", "😀", "👩‍👩‍👧", "🇦🇹", "❤️", "☝🏽", "。、", "™", "\u0301"])
def test_signs_are_no_words(text):
    assert words(text) == []
    assert not has_word(text)


letters = st.text("aЖü中のกที्่हि한1٣_ .,😀\u0301\u200d", max_size=12) | st.text(
    st.characters(exclude_categories=["Cn", "Cs"]), max_size=12
)


@given(letters)
def test_letters_and_digits_are_each_in_one_word_in_order(text):
    found = words(text)
    kept = [character for character in text if unicodedata.category(character)[0] in "LN"]
    assert [character for character in "".join(found) if unicodedata.category(character)[0] in "LN"] == kept
    assert has_word(text) == bool(found) == bool(kept)
    assert all(unicodedata.category(word[0])[0] in "LN" for word in found)


@given(st.text("aЖü中のกทह한1", min_size=1, max_size=12))
def test_two_neighbours_are_of_one_word_or_not(text):
    breaks = [0, *(place for place in range(1, len(text)) if not is_one_word(text[place - 1], text[place])), len(text)]
    assert words(text) == [text[start:end] for start, end in pairwise(breaks)]


def test_a_mark_goes_with_the_letter_before_it():
    assert is_one_word("म", "ा")
    assert is_one_word("ท", "ี")
    assert not is_one_word(" ", "ा")
    assert not is_one_word("ี", "a")


@pytest.mark.parametrize(("text", "columns"), [("", 0), ("Ada", 3), ("林茨", 4), ("김수", 4), ("ﾕｷ", 2), ("ａ", 2)])
def test_wide_characters_take_two_columns(text, columns):
    assert width(text) == columns
