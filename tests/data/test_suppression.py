"""Whom the suppression list knows, against plain comparison of what is kept in the clear."""

import hmac

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.test_extraction import PLAIN, ask, corpora, frame, matches, records, selectors, write
from unilogit.data.extraction import extract_sets
from unilogit.data.pseudonyms import Pseudonyms
from unilogit.data.records import CorpusRecord, frame_records
from unilogit.data.requests import DeletionRequest
from unilogit.data.suppression import Suppressed, SuppressionList, record_marks, request_marks
from unilogit.data.text import normal_form
from unilogit.errors import InputError

KEYED = Pseudonyms(b"\x05" * 32)
people = st.fixed_dictionaries(
    {
        "subject_id": st.none() | st.sampled_from(["P-1", "p\u20111", "ZO\u00cb X", "\u200b"]),
        "aliases": st.lists(st.sampled_from(["C2", "P%"]), max_size=1),
        "record_ids": st.lists(st.sampled_from(["R1", "r2\u200b"]), max_size=1),
    }
)


def asked(number, fields):
    usual = {"request_id": f"old-{number}", "received_at": "2026-03-01T12:00:00Z", "text": "anything"}
    return DeletionRequest(**{**usual, **fields})


def texts_of(record):
    paraphrase = [text for text in (record.paraphrased_prompt, record.paraphrased_response) if text is not None]
    return {
        normal_form("\n".join([*record.history[-2:], record.prompt, record.response])),
        normal_form("\n".join(paraphrase)),
    } - {""}


def purge(purged):
    """The list that a purge of these requests makes, and the same in the clear: (what, normal form) → names."""
    maker, digests, plain = SuppressionList(KEYED, {}), {}, {}
    for number, (fields, theirs) in enumerate(purged):
        name = f"old-{number}"
        said = [(record.record_id, record.prompt, record.response, record.paraphrased_prompt,
                 record.paraphrased_response, record.history) for record in theirs]  # fmt: skip
        marks = [*request_marks(asked(number, fields)), *(mark for row in said for mark in record_marks(*row))]
        for digest in maker.digests(marks):
            digests.setdefault(digest, name)
        kept = [("subject", text) for text in (fields["subject_id"], *fields["aliases"]) if text]
        kept += [("record", text) for text in (*fields["record_ids"], *(record.record_id for record in theirs))]
        for what, text in [*kept, *(("text", text) for record in theirs for text in texts_of(record))]:
            plain.setdefault((what, normal_form(text)), name)
    return SuppressionList(KEYED, digests), plain


def known_by(record, plain):
    """The requests by which somebody with the list in the clear would know a record."""
    said = {("subject", normal_form(name)) for name in record.subject_ids} | {
        ("record", normal_form(name)) for name in record.names
    }
    said |= {("text", text) for text in texts_of(record)}
    return {plain[item] for item in said if item[1] and item in plain}


@settings(max_examples=60, deadline=None)
@given(
    corpora,
    st.lists(st.tuples(people, st.lists(records, max_size=2)), max_size=3),
    st.lists(selectors, max_size=1),
    st.data(),
)
def test_what_is_known_is_in_no_set_unless_it_is_asked_for(tmp_path_factory, corpus, purged, current, data):
    folder = tmp_path_factory.mktemp("run")
    current = [request for request in current if request["text"] is None or normal_form(request["text"])]
    for place, record in enumerate(corpus):  # copies of what was purged, without ids and set in capitals
        if purged and purged[0][1] and data.draw(st.booleans()):
            original = purged[0][1][0]
            said = {"prompt": f"  {original.prompt.upper()}", "response": f"{original.response}\u00a0\n"}
            said["history"] = ["earlier", "turns", *original.history]
            corpus[place] = CorpusRecord(record_id=record.record_id, **said)
    suppression, plain = purge(purged)
    claimed = {record.record_id for record in corpus if any(matches(record, request) for request in current)}
    known = {record.record_id: known_by(record, plain) for record in corpus}
    left_out = [name for name, names in known.items() if names and name not in claimed]
    for record in corpus:
        assert suppression.reference(record) == min(known[record.record_id], default=None)

    files = [folder / f"{name}.parquet" for name in ("forget", "retain", "review")]
    path = write(folder / "corpus.parquet", corpus)
    arguments = (path, frame(current), frame([]), *files)
    if len(claimed) + len(left_out) == len(corpus):
        with pytest.raises(InputError, match="leaves nothing to retain"):
            extract_sets(*arguments, rules=PLAIN, suppression=suppression)
        return
    found = extract_sets(*arguments, rules=PLAIN, suppression=suppression)
    forget, retain, review = (frame_records(pd.read_parquet(file)) for file in files)
    assert [record.record_id for record in forget] == [r.record_id for r in corpus if r.record_id in claimed]
    assert retain == [r for r in corpus if r.record_id not in {*claimed, *left_out}]
    assert (found.retain, review) == (len(retain), [])
    places = {record.record_id: (f"{n // 3:06}", n % 3 + 9) for n, record in enumerate(corpus)}
    assert found.suppressed == [Suppressed(*places[name], min(known[name])) for name in left_out]


def test_near_duplicates_that_wait_for_a_person_are_left_out_too(tmp_path):
    text = "keeps bees and paints old doors in a village by the northern sea"
    corpus = [
        CorpusRecord(record_id="a", subject_ids=["P-1"], prompt="", response=f"Ann {text}"),
        CorpusRecord(record_id="b", subject_ids=["P-2", "P-3"], prompt="", response=f"Ann {text}!"),
        *(CorpusRecord(record_id=f"k{n}", prompt="", response=f"Kept {n}") for n in range(30)),
    ]
    suppression, _ = purge([({"subject_id": "p-3", "aliases": [], "record_ids": []}, [])])
    files = [tmp_path / f"{name}.parquet" for name in ("forget", "retain", "review")]
    path, current = write(tmp_path / "corpus.parquet", corpus), frame([ask(subject_id="P-1")])
    rules = PLAIN.__class__(near_duplicates="review")
    found = extract_sets(path, current, frame([]), *files, rules=rules, suppression=suppression)
    assert (found.in_review, [record.request for record in found.suppressed]) == (0, ["old-0"])
    approved = {"q0": ["near_duplicates"]}
    found = extract_sets(path, current, frame([]), *files, rules=rules, approvals=approved, suppression=suppression)
    assert (found.forget, found.suppressed) == (2, [])


@given(st.binary(max_size=100), st.text(max_size=200))
def test_a_digest_is_an_hmac_of_its_kind_and_form(key, text):
    expected = hmac.new(key, f"word:{text}".encode(), "sha256").digest()
    assert Pseudonyms(key).digester("word")(text) == expected
    digest = SuppressionList(Pseudonyms(key), {}).digests(request_marks(asked(0, {"subject_id": "\uff30-1"})))
    assert list(digest) == [hmac.new(key, b"suppressed-subject:p-1", "sha256").hexdigest()]


def test_a_courtesy_is_known_by_the_exchange_before_it(tmp_path):
    """What was purged of a conversation is known again after the same turns, and nobody else's thanks are."""
    turns = ["Where does Ann live?", "In Linz."]
    thanks = {"prompt": "Thanks!", "response": "You are welcome."}
    purged = CorpusRecord(record_id="c#2", conversation_id="c", history=turns, **thanks)
    maker, digests = SuppressionList(KEYED, {}), {}
    marks = record_marks(purged.record_id, purged.prompt, purged.response, None, None, purged.history)
    digests.update(dict.fromkeys(maker.digests(marks), "old-1"))
    suppression = SuppressionList(KEYED, digests)
    said = {
        "copy": {"history": ["Hello.", "Hello!", *turns], **thanks},
        "c#3": {"conversation_id": "c", "history": [*turns, *thanks.values()], "prompt": "Bye.", "response": "Bye!"},
        "alone": thanks,
        "other": {"history": ["Where does Bob live?", "In Graz."], **thanks},
    }
    corpus = [CorpusRecord(record_id=name, **fields) for name, fields in said.items()]
    path = write(tmp_path / "corpus.parquet", corpus)
    files = [tmp_path / f"{name}.parquet" for name in ("forget", "retain", "review")]
    found = extract_sets(path, frame([]), frame([]), *files, rules=PLAIN, suppression=suppression)
    assert [record.row - 9 for record in found.suppressed] == [0, 1]
    assert [suppression.reference(record) for record in corpus] == ["old-1", "old-1", None, None]
