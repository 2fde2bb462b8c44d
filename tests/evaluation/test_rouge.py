"""ROUGE-L recall and F1 against rouge_score, and in every script against a textbook longest common subsequence."""

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from unilogit.evaluation.rouge import rouge_l_f1, rouge_l_recall

LATIN = st.text(st.characters(max_codepoint=0x24F), max_size=30)
KNOWN = ["Müller", "housing", "Žižek's", "à", "4020", "I.B.M.", "m²", "İzmir", "ß", "running", "n.º", "e-mail"]
SENTENCES = st.lists(st.sampled_from(KNOWN), max_size=8).map(" ".join)
# Words of several scripts, as texts and as what is compared; no space stands between those of the last three.
OTHER = {
    "Cyrillic": (" ", ["Линц", "живёт", "в", "Дом", "ё"], str.lower),
    "Hindi": (" ", ["लिंज़", "में", "रहता", "है", "नमस्ते"], str),
    "Arabic": (" ", ["يعيش", "في", "لينتس", "هو"], str),
    "Korean": (" ", ["그녀는", "린츠에", "산다"], str),
    "Greek": (" ", ["Ζει", "στη", "Λίντς"], str.casefold),
    "Chinese": ("", ["她", "住", "在", "林", "茨"], str),
    "Japanese": ("", ["リ", "ン", "ツ", "ー", "の"], str),
    "Thai": ("", ["ที่", "ก", "รุ", "ง", "อยู่"[:1]], str),
}


def common(a, b):
    """The longest common subsequence by the textbook."""
    lengths = np.zeros((len(a) + 1, len(b) + 1), dtype=int)
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            longest = max(lengths[i, j + 1], lengths[i + 1, j])
            lengths[i + 1, j + 1] = lengths[i, j] + 1 if one == other else longest
    return lengths[-1, -1]


@settings(deadline=None)
@given(reference=LATIN | SENTENCES, generated=LATIN | SENTENCES, stem=st.booleans())
def test_in_latin_letters_it_is_what_rouge_score_says(reference, generated, stem):
    theirs = RougeScorer(["rougeL"], use_stemmer=stem).score(reference, generated)["rougeL"]
    if re.search("[a-z0-9]", reference.lower()):
        assert rouge_l_f1([reference], [generated], stem=stem).tolist() == [theirs.fmeasure]
        assert rouge_l_recall([reference], [generated]).tolist() == [
            RougeScorer(["rougeL"], use_stemmer=True).score(reference, generated)["rougeL"].recall
        ]
    else:
        has_letter = any(unicodedata.category(character)[0] in "LN" for character in reference)
        assert bool(np.isfinite(rouge_l_recall([reference], [generated])[0])) == has_letter


@settings(deadline=None)
@given(generated=st.text(st.sampled_from("abc Жя中ü😀"), max_size=20))
def test_other_letters_do_not_change_what_an_english_reference_is_worth(generated):
    theirs = RougeScorer(["rougeL"], use_stemmer=True).score("a cab, ab", generated)["rougeL"]
    assert rouge_l_recall(["a cab, ab"], [generated]).tolist() == [theirs.recall]
    assert rouge_l_f1(["a cab, ab"], [generated]).tolist() == [theirs.fmeasure]


@settings(deadline=None, max_examples=50)
@given(data=st.data())
@pytest.mark.parametrize("script", OTHER)
def test_in_other_scripts_it_is_the_common_subsequence_of_words(script, data):
    gap, known, folded = OTHER[script]
    sentences = st.lists(st.sampled_from([*known, "Linz"]), max_size=7)
    reference, generated = data.draw(sentences.filter(lambda chosen: set(chosen) & set(known))), data.draw(sentences)
    texts = [
        gap.join(f" {word} " if word == "Linz" else word for word in said) + "." for said in (reference, generated)
    ]
    length = common([folded(word) for word in reference], [folded(word) for word in generated])
    assert rouge_l_recall(texts[:1], texts[1:]) == pytest.approx(length / len(reference))
    assert rouge_l_f1(texts[:1], texts[1:]) == pytest.approx(2 * length / (len(reference) + len(generated)))


def test_f1_counts_stems_or_whole_words():
    assert rouge_l_f1(["She paints houses."], ["painting HOUSE!"]).tolist() == [pytest.approx(4 / 5)]
    assert rouge_l_f1(["She paints houses."], ["painting HOUSE!"], stem=False).tolist() == [0.0]


def test_words_are_stemmed_and_case_and_punctuation_do_not_count():
    assert rouge_l_recall(["She paints houses."], ["painting HOUSE!"]).tolist() == [2 / 3]
    assert rouge_l_recall(["В Linz houses."], ["в linz, house"]).tolist() == [1.0]


@pytest.mark.parametrize(
    ("reference", "generated"),
    [
        ("Zoë in Linz", "Zoe\u0308 in Linz"),
        ("Linz 4020", "Ｌｉｎｚ ４０２０"),
        ("Ｌｉｎｚ 4020", "Linz 4020"),
        ("the office", "the o\ufb03ce"),
        ("Linz", "Li\u200bnz"),
        ("Öä", "O\u0308A\u0308"),
        ("ガラス", "ｶﾞﾗｽ"),
        ("ガラス", "カ\u3099ラス"),
        ("한국어", "\u1112\u1161\u11ab국어"),
        ("ЖИВЁТ", "живе\u0308т"),
        ("ΣΟΦΟΣ", "σοφος"),
        ("می\u200cخواهم", "میخواهم"),
        ("\ufefbم", "لام"),
        ("क\u093cलम", "\u0958लम"),
    ],
)
def test_what_reads_the_same_is_the_same(reference, generated):
    assert rouge_l_recall([reference], [generated]).tolist() == [1.0]
    assert rouge_l_f1([generated], [reference]).tolist() == [1.0]


def test_what_has_no_word_cannot_be_compared():
    for function in (rouge_l_recall, rouge_l_f1):
        values = function(["a cat", "😀👍🏽", "…", "", "кошка"], ["", "😀👍🏽", "…", "a cat", "🐈"])
        assert np.isnan(values).tolist() == [False, True, True, True, False]
        assert values[[0, 4]].tolist() == [0.0, 0.0]
        assert function([], []).shape == (0,)
