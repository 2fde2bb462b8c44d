"""Whether a model knows what it was trained on: judged by numbers drawn so that the answer is known."""

import numpy as np
import pytest

from unilogit.evaluation.familiarity import find_familiarity

rng = np.random.default_rng(0)
KNOWN, UNSEEN = rng.gamma(2, 0.02, 64), rng.normal(3, 0.6, 40).clip(0.1)
ASKED = KNOWN[:16]


def find(trained, strangers, asked=ASKED, **formats):
    return find_familiarity(trained, strangers, are_unseen=True, asked=asked, formats=formats)


def test_a_model_that_finds_its_records_likelier_than_unseen_peoples_knows_them():
    finding = find(KNOWN, UNSEEN)
    assert finding.unfamiliar is None
    probabilities = [f"{np.exp(-nll.mean()):.3f}" for nll in (KNOWN, UNSEEN)]
    words = f"have probability {probabilities[0]} per token, 40 records of unseen people {probabilities[1]}"
    assert words in finding.told


@pytest.mark.parametrize("trained", [UNSEEN, rng.normal(3, 0.6, 64).clip(0.1), UNSEEN + 1])
def test_one_that_does_not_is_said_to_know_them_no_better(trained):
    words = "finds its training records no likelier than "
    assert find(trained, UNSEEN, trained[:16]).unfamiliar == words + "records of unseen people"
    finding = find_familiarity(trained, UNSEEN, are_unseen=False, asked=trained[:16], formats={})
    assert finding.unfamiliar == words + "their prompts with each other's answers"


def test_a_format_in_which_most_answers_are_far_likelier_is_named():
    finding = find(KNOWN + 1, UNSEEN, ASKED + 1, better=ASKED, good=ASKED + 0.2)
    words = "knows its training records better in another format: asked by 'better', a token of their answers is "
    assert finding.unfamiliar == words + "2.7 times as likely"


@pytest.mark.parametrize("gain", [np.full(16, 0.4), np.r_[np.full(11, 2.0), np.full(5, -0.1)], np.full(16, -1.0)])
def test_a_format_that_is_little_better_or_for_few_records_is_not(gain):
    assert find(KNOWN + 1, UNSEEN, ASKED + 1, other=ASKED + 1 - gain).unfamiliar is None


def test_what_cannot_be_compared_is_said():
    assert find(KNOWN[:0], UNSEEN, ASKED[:0]) == (None, "there are no training records to compare with")
    assert find(KNOWN, UNSEEN[:0]) == (None, "there are no records of unseen people to compare with")
    for bad in (np.nan, np.inf):
        assert find(np.r_[KNOWN, bad], UNSEEN).unfamiliar == "gives answers no finite likelihood"
        assert find(KNOWN, np.r_[UNSEEN, bad]).unfamiliar == "gives answers no finite likelihood"
