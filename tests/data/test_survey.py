"""A corpus in numbers, against plain counting."""

import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.test_extraction import write
from unilogit.data.records import CorpusRecord
from unilogit.data.survey import Histogram, Scripts, contents_of


@given(st.lists(st.integers(0, 50), min_size=1), st.floats(0.01, 1), st.integers(0, 50))
def test_quantiles_of_lengths(lengths, share, limit):
    histogram = Histogram()
    for length in lengths:
        histogram.add(length)
    assert histogram.quantile(share) == np.quantile(lengths, share, method="inverted_cdf")
    assert histogram.more_than(limit) == sum(length > limit for length in lengths)
    assert Histogram().quantile(share) == 0


def record(name, prompt, response, *people, **fields):
    return CorpusRecord(record_id=name, subject_ids=list(people), prompt=prompt, response=response, **fields)


@settings(max_examples=50)
@given(st.lists(st.text("abcАбвéא中の 1.ª🎈", min_size=1, max_size=8), min_size=1, max_size=4))
def test_scripts_of_letters(texts):
    scripts = Scripts()
    scripts.add(record("r", text, "1") for text in texts)
    letters = Counter(
        unicodedata.name(character).split()[0].capitalize()
        for character in "".join(texts).replace("ª", "a").replace("中", "")
        if character.isalpha()
    )
    letters["Cjk"] = "".join(texts).count("中")
    expected = {name: count / letters.total() for name, count in letters.items() if count}
    assert scripts.shares() == pytest.approx(expected)


LONG = "Ann Example keeps bees and paints old doors by the sea"


def test_what_a_corpus_holds(tmp_path):
    turns = ["Hello.", "Hello, Ann."]
    corpus = [
        record("a", "Who?", LONG, "ann", "bob", group="g"),
        record("b", "Who?", LONG, "ann", "ann"),
        record("c", "Who is it?", f"{LONG} today"),
        record("d#1", "Where?", "Linz.", "ann", conversation_id="d"),
        record("d#2", "Why?", "Because.", history=turns, conversation_id="d"),
        record("e", "Why?", "Because.", history=turns, system="Be kind."),
    ]
    contents = contents_of(write(tmp_path / "corpus.parquet", corpus), tmp_path, 0.8, seed=0)
    assert (contents.records, contents.conversations, contents.with_history) == (6, 1, 2)
    assert (contents.subjects, contents.without_subject, contents.most_of_a_subject) == (2, 3, 3)
    assert contents.groups == {"": 5, "g": 1}
    assert contents.exact_repeats == 1  # b; e is asked otherwise than d#2
    assert (contents.sampled, contents.near_repeats) == (6, 5)


def test_near_repeats_are_those_of_a_sample(tmp_path, monkeypatch):
    monkeypatch.setattr("unilogit.data.survey.SAMPLE", 3)
    corpus = [record(f"r{number}", "", f"{LONG} {number // 2} {number // 2} {number // 2}") for number in range(12)]
    contents = contents_of(write(tmp_path / "corpus.parquet", corpus), tmp_path, 0.9, seed=0)
    assert (contents.exact_repeats, contents.sampled, contents.near_repeats) == (6, 3, 3)
