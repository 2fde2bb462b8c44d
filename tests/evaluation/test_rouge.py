"""ROUGE-L recall and F1 against a textbook longest common subsequence."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unilogit.evaluation.rouge import rouge_l_f1, rouge_l_recall

WORDS = ["cat", "dog", "sun", "red", "hat"]  # no stem differs from its word
sentences = st.lists(st.sampled_from(WORDS), max_size=8)


def common(a, b):
    if not a or not b:
        return 0
    if a[0] == b[0]:
        return 1 + common(a[1:], b[1:])
    return max(common(a[1:], b), common(a, b[1:]))


@settings(deadline=None)  # the first call imports rouge_score
@given(reference=sentences.filter(bool), generated=sentences)
def test_recall_is_common_subsequence_over_reference(reference, generated):
    [recall] = rouge_l_recall([" ".join(reference)], [" ".join(generated)])
    assert recall == pytest.approx(common(tuple(reference), tuple(generated)) / len(reference))


@settings(deadline=None)
@given(reference=sentences.filter(bool), generated=sentences.filter(bool), stem=st.booleans())
def test_f1_is_common_subsequence_over_mean_length(reference, generated, stem):
    [f1] = rouge_l_f1([" ".join(reference)], [" ".join(generated)], stem=stem)
    mean_length = (len(reference) + len(generated)) / 2
    assert f1 == pytest.approx(common(tuple(reference), tuple(generated)) / mean_length)


def test_f1_counts_stems_or_whole_words():
    assert rouge_l_f1(["She paints houses."], ["painting HOUSE!"]).tolist() == [pytest.approx(4 / 5)]
    assert rouge_l_f1(["She paints houses."], ["painting HOUSE!"], stem=False).tolist() == [0.0]


def test_words_are_stemmed_and_case_and_punctuation_do_not_count():
    assert rouge_l_recall(["She paints houses."], ["painting HOUSE!"]).tolist() == [2 / 3]


def test_nothing_said_and_nothing_to_compare():
    assert rouge_l_recall(["a cat", "Кошка"], ["", "Кошка"]).tolist() == [0.0, 0.0]
    assert rouge_l_f1(["a cat", "Кошка"], ["", "Кошка"]).tolist() == [0.0, 0.0]
    assert rouge_l_recall([], []).shape == rouge_l_f1([], []).shape == (0,)
