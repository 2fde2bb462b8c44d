"""Requests that match suspiciously much are held, each by itself, until somebody approves."""

import pandas as pd
import pytest

from tests.data.test_extraction import ask, extract
from unilogit.data.holding import ALLOWED_MATCHES, Rules
from unilogit.data.records import CorpusRecord
from unilogit.data.selectors import Reason

PHRASE = "Rare Name the {}th lives at 12 Long Street in Harwick by the sea"


def corpus_of(count, everybody=60):
    """`count` records; the first `everybody` are of person "all", each tenth says "Anna", and one is of "me"."""
    return [
        CorpusRecord(
            record_id=f"r{number}",
            subject_ids=["me"] if number == count - 1 else ["all"] if number < everybody else [],
            prompt="Anna?" if number % 10 == 0 else "",
            response=f"word{number} and xy{number}",
        )
        for number in range(count)
    ]


def reasons(found):
    return {name: [held.reason for held in why] for name, why in found.held.items()}


def test_a_large_share_is_held_and_the_rest_goes_on(tmp_path):
    requests = [ask(subject_id="all"), ask(text="anna"), ask(subject_id="me"), ask(text="Zz Top")]
    found, forget, retain = extract(tmp_path, corpus_of(500), requests, rules=Rules(near_duplicates="off"))
    assert reasons(found) == {"q0": [Reason.LARGE_SHARE], "q1": [Reason.LARGE_SHARE]}
    assert list(forget["record_id"]) == ["r499"]
    assert len(retain) == found.retain == 499
    assert found.held["q0"][0].sentence.startswith("it matches 60 of 500 records; more than 25")
    assert (list(found.matched), found.unmatched) == (["q2"], ["q3"])


def test_what_a_held_request_shares_with_another_is_forgotten(tmp_path):
    requests = [ask(subject_id="all"), ask(record_ids=["r3"])]
    _, forget, _ = extract(tmp_path, corpus_of(500), requests, rules=Rules(near_duplicates="off"))
    assert [list(row) for row in zip(forget["record_id"], map(list, forget["request_ids"]), strict=True)] == [
        ["r3", ["q1"]]
    ]


@pytest.mark.parametrize(("matched", "is_held"), [(ALLOWED_MATCHES, False), (ALLOWED_MATCHES + 1, True)])
def test_a_few_records_are_never_a_large_share(tmp_path, matched, is_held):
    found, forget, _ = extract(tmp_path, corpus_of(100, matched), [ask(subject_id="all")])
    assert (bool(found.held), len(forget)) == (is_held, 0 if is_held else matched)


@pytest.mark.slow
def test_a_text_in_far_too_many_records_is_given_up_before_all_are_read(tmp_path):
    corpus = corpus_of(30_000, 0)
    requests = [ask(text="and xy"), ask(text="word17 and"), ask(aliases=["word29"])]
    found, forget, _ = extract(tmp_path, corpus, requests, rules=Rules(near_duplicates="off", max_share_of_corpus=0.01))
    assert reasons(found) == {"q0": [Reason.LARGE_SHARE], "q2": [Reason.LARGE_SHARE]}
    assert found.held["q0"][0].sentence.startswith("it matches more than 300 of 30000 records")
    assert list(forget["record_id"]) == ["r17"]
    more = [*corpus, CorpusRecord(record_id="last", prompt="", response="else")]
    approvals = {"q0": [Reason.LARGE_SHARE]}
    found, forget, _ = extract(tmp_path, more, requests[:1], rules=Rules(near_duplicates="off"), approvals=approvals)
    assert (found.held, len(forget)) == ({}, 30_000)


def test_earlier_requests_are_never_held(tmp_path):
    found, forget, _ = extract(
        tmp_path, corpus_of(500), [ask(subject_id="me")], [ask(subject_id="all"), ask(text="xy11")]
    )
    assert (found.held, found.forget) == ({}, 1)
    assert set(forget["batch"]) == {"current", "earlier"}


@pytest.mark.parametrize("text", ["xyz", " x\u200bY\u200bz\n", "\u200b"])
def test_a_short_text_is_held_unless_approved(tmp_path, text):
    corpus = [*corpus_of(30, 0), CorpusRecord(record_id="z", prompt="", response="It is XYZ.")]
    rules = Rules(near_duplicates="off", min_text_length=4)
    found, forget, _ = extract(tmp_path, corpus, [ask(text=text, record_ids=["r1"]), ask(subject_id="me")], rules=rules)
    assert reasons(found) == {"q0": [Reason.SHORT_TEXT]}
    words = "characters in normal form (East Asian ones count twice); one of fewer than 4 is"
    assert words in found.held["q0"][0].sentence
    assert list(forget["record_id"]) == ["r29"]
    found, forget, _ = extract(
        tmp_path, corpus, [ask(text=text, record_ids=["r1"])], rules=rules, approvals={"q0": [Reason.SHORT_TEXT]}
    )
    assert found.held == {}
    assert list(forget["record_id"]) == ["r1", *(["z"] if "x" in text else [])]


@pytest.mark.parametrize("name", ["林茨", "김수", "ユキ"])
def test_a_name_of_two_east_asian_characters_is_no_short_text(tmp_path, name):
    corpus = [*corpus_of(30, 0), CorpusRecord(record_id="z", prompt="", response=f"{name}。")]
    rules = Rules(near_duplicates="off", min_text_length=4)
    found, forget, _ = extract(tmp_path, corpus, [ask(text=name), ask(text=name[:1])], rules=rules)
    assert reasons(found) == {"q1": [Reason.SHORT_TEXT]}
    assert list(forget["record_id"]) == ["z"]


def test_a_short_alias_is_an_id_alone(tmp_path):
    corpus = [
        CorpusRecord(record_id="a", subject_ids=["BO"], prompt="", response="Somebody else"),
        CorpusRecord(record_id="b", prompt="", response="Bo and Bobby"),
        CorpusRecord(record_id="c", prompt="", response="else"),
    ]
    found, forget, _ = extract(tmp_path, corpus, [ask(aliases=["Bo", "Bobb"])], rules=Rules(near_duplicates="off"))
    assert list(zip(forget["record_id"], forget["match"], strict=True)) == [("a", "alias"), ("b", "alias")]
    assert (found.held, found.short_aliases) == ({}, {"q0": 1})


def with_copies(copies, about="me"):
    """One record about somebody, copies of it about nobody, and 60 other records."""
    text = PHRASE.format(7)
    return [
        CorpusRecord(record_id="own", subject_ids=[about], prompt="Where does Rare Name live?", response=text),
        *(CorpusRecord(record_id=f"copy{n}", prompt="", response=f"{text} .") for n in range(copies)),
        *(CorpusRecord(record_id=f"r{n}", prompt="", response=f"w{n} x{n} y{n} z{n}") for n in range(60)),
    ]


def test_near_duplicates_are_forgotten(tmp_path):
    found, forget, retain = extract(tmp_path, with_copies(2), [ask(subject_id="me")], rules=Rules())
    assert list(forget["record_id"]) == ["own", "copy0", "copy1"]
    assert list(forget["match"]) == ["subject_id", "near-duplicate", "near-duplicate"]
    assert [list(names) for names in forget["request_ids"]] == [["q0"]] * 3
    assert forget["similarity"].isna().tolist() == [True, False, False]
    assert (found.forget, found.near_duplicates, found.retain) == (3, 2, len(retain))
    assert found.matched["q0"] == {"subject_id": 1, "near-duplicate": 2, "records": 3}


def test_near_duplicates_of_earlier_requests_are_never_retained(tmp_path):
    _, forget, _ = extract(tmp_path, with_copies(2), [], [ask(subject_id="me")], rules=Rules())
    assert list(zip(forget["record_id"], forget["batch"], strict=True)) == [
        (name, "earlier") for name in ("own", "copy0", "copy1")
    ]


def test_too_many_near_duplicates_hold_a_request_alone(tmp_path):
    requests = [ask(subject_id="me"), ask(record_ids=["r1"])]
    found, forget, _ = extract(tmp_path, with_copies(ALLOWED_MATCHES), requests, rules=Rules())
    assert (found.held, len(forget)) == ({}, ALLOWED_MATCHES + 2)
    found, forget, retain = extract(tmp_path, with_copies(ALLOWED_MATCHES + 1), requests, rules=Rules())
    assert reasons(found) == {"q0": [Reason.LARGE_SHARE]}
    assert "reads nearly like its records" in found.held["q0"][0].sentence
    assert list(forget["record_id"]) == ["r1"]
    assert len(retain) == ALLOWED_MATCHES + 61
    found, forget, _ = extract(
        tmp_path, with_copies(ALLOWED_MATCHES + 1), requests, rules=Rules(), approvals={"q0": [Reason.LARGE_SHARE]}
    )
    assert (found.held, len(forget)) == ({}, ALLOWED_MATCHES + 3)


def test_what_a_held_request_matches_is_looked_at_for_the_others(tmp_path):
    """Its own record is a near-duplicate of another person's."""
    records = with_copies(ALLOWED_MATCHES + 1)
    twin = CorpusRecord(
        record_id="twin", subject_ids=["you"], prompt="", response="By far the best of them all right here"
    )
    mine = CorpusRecord(record_id="mine", subject_ids=["me"], prompt="", response=f"{twin.response}!")
    requests = [ask(subject_id="me"), ask(subject_id="you")]
    found, forget, _ = extract(tmp_path, [twin, mine, *records], requests, rules=Rules())
    assert reasons(found) == {"q0": [Reason.LARGE_SHARE]}
    assert list(zip(forget["record_id"], forget["match"], strict=True)) == [
        ("twin", "subject_id"), ("mine", "near-duplicate"),
    ]  # fmt: skip


def test_near_duplicates_in_review_are_in_no_set_and_hold_their_request(tmp_path):
    requests = [ask(subject_id="me", record_ids=["r2"]), ask(record_ids=["r1", "r2"])]
    found, forget, retain = extract(tmp_path, with_copies(2), requests, rules=Rules(near_duplicates="review"))
    assert reasons(found) == {"q0": [Reason.NEAR_DUPLICATES]}
    assert found.held["q0"][0].sentence.startswith("2 records read nearly like")
    assert list(forget["record_id"]) == ["r1", "r2"]
    assert [list(names) for names in forget["request_ids"]] == [["q1"]] * 2
    assert not {"own", "copy0", "copy1"} & {*forget["record_id"], *retain["record_id"]}
    review = pd.read_parquet(tmp_path / "review.parquet")
    assert list(review["record_id"]) == ["copy0", "copy1"]
    assert [list(names) for names in review["request_ids"]] == [["q0"]] * 2
    assert (found.in_review, found.retain) == (2, len(retain))

    approvals = {"q0": [Reason.NEAR_DUPLICATES]}
    found, forget, _ = extract(
        tmp_path, with_copies(2), requests, rules=Rules(near_duplicates="review"), approvals=approvals
    )
    assert (found.held, list(forget["record_id"])) == ({}, ["own", "copy0", "copy1", "r1", "r2"])
    assert pd.read_parquet(tmp_path / "review.parquet").empty


def test_near_duplicates_are_left_alone_if_that_is_asked_for(tmp_path):
    found, forget, _ = extract(tmp_path, with_copies(2), [ask(subject_id="me")], rules=Rules(near_duplicates="off"))
    assert (list(forget["record_id"]), found.held) == (["own"], {})
