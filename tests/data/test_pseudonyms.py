"""No pseudonym says anything of a person, and whoever has the key finds it again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unilogit.data.pseudonyms import Pseudonyms, looks_personal
from unilogit.data.requests import DeletionRequest
from unilogit.data.text import normal_form

KEY = b"\x07" * 32


def request(**fields):
    return DeletionRequest(
        **{"request_id": "R-1", "received_at": "2026-03-01T12:00:00Z", "subject_id": "P-3", **fields}
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"request_id": "zoe@sample.example"},
        {"request_id": "erase Zoe", "subject_id": None, "text": "ZOE Exampleby"},
        {"request_id": "R-zo\u00e9", "subject_id": None, "text": "Zoe\u0301 Exampleby"},
        {"request_id": "R-P-3"},
        {"request_id": "for exampleby", "aliases": ["Zoe Exampleby"]},
        {"request_id": "case 47110815", "subject_id": "C47110815"},
        {"request_id": "smith"},  # nobody whom the request knows, but who knows
        {"request_id": "request by Li"},
        {"request_id": "\u9673-1"},
    ],
)
def test_an_id_that_looks_personal_has_a_pseudonym(fields):
    name = Pseudonyms(KEY).reference(request(**fields))
    assert name.startswith("request-")
    assert name == Pseudonyms(KEY).reference(request(**fields))
    assert name != Pseudonyms(b"other").reference(request(**fields))


@pytest.mark.parametrize(
    "request_id",
    [
        *("R-1", "2026-000017", "9c4b3a4e-1111-4000-8000-000000000001", "9c4b3a4e-face-4000-8000-00000000cafe"),
        *("DSAR 2026/17", "R-20260301-120000-a1b2c3", "ticket_0815", "d41d8cd98f00b204e9800998ecf8427e"),
    ],
)
def test_an_id_that_says_nothing_stays(request_id):
    assert Pseudonyms(KEY).reference(request(request_id=request_id, text="Zoe")) == request_id


def test_the_name_of_a_file_has_a_pseudonym_when_it_names_somebody_in_it():
    requests = [request(), request(subject_id=None, text="Zoe Exampleby")]
    assert Pseudonyms(KEY).file("export.csv", requests) == "export.csv"
    assert Pseudonyms(KEY).file("zoe-exampleby.csv", requests).startswith("file-")


@pytest.mark.parametrize("name", ["requests.csv", "erasure-requests_2026-03.json.gz", "a.jsonl", "GDPR export (2).csv"])
def test_the_name_of_a_file_stays_when_it_is_made_of_common_words(name):
    assert Pseudonyms(KEY).file(name, []) == name
    assert Pseudonyms(KEY).location(f"s3://bucket/zoe/{name}") == f"s3://bucket/zoe/{name}"


def test_what_a_file_is_called_says_nothing_even_where_nobody_could_read_it():
    called = Pseudonyms(KEY).file("zoe.csv", [])
    assert called.startswith("file-")
    assert Pseudonyms(KEY).location("in/zoe.csv") == f"in/{called}"
    assert Pseudonyms(KEY).location("zoe.csv") == called
    assert Pseudonyms(KEY).location("zoe/inbox/") == "zoe/inbox/"  # a folder, which people set up
    assert (
        Pseudonyms(KEY).hide("zoe.csv:7: is bad, as zoe.csv:1 is", ["zoe.csv"])
        == f"{called}:7: is bad, as {called}:1 is"
    )


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_people_have_one_pseudonym_only_if_their_ids_read_the_same(one, other):
    names = Pseudonyms(KEY)
    assert (names.subject(one) == names.subject(other)) == (normal_form(one) == normal_form(other))


letters = st.text("abZ\u00e9\u00df-1 ", min_size=1, max_size=9)


@given(letters, st.lists(letters, min_size=1, max_size=3), st.none() | letters)
def test_a_name_looks_personal_when_it_holds_an_id_or_a_word_of_what_is_asked(name, ids, text):
    asked = request().model_copy(update={"subject_id": ids[0], "aliases": ids[1:], "text": text})
    people = [normal_form(one) for one in ids]
    is_told = any(person in normal_form(name) for person in people)

    def words(said):
        letters = "".join(character if character.isalpha() else " " for character in said)
        return {word for word in letters.split() if len(word) >= 3}

    is_told |= not words(normal_form(name)).isdisjoint(words(" ".join([*people, normal_form(text or "")])))
    assert looks_personal(name, [asked]) == is_told


@pytest.mark.parametrize(
    ("text", "name", "is_told"),
    [
        ("李明住在林茨", "李明的请求", True),
        ("李明住在林茨", "第17条的请求", False),
        ("สมชายอยู่ที่ลินซ์", "คำขอของสมชาย", True),
        ("राम लिंज़ में रहता है", "राम का अनुरोध", True),
        ("राम लिंज़ में रहता है", "श्याम का अनुरोध", False),
        ("Иван Петров живёт в Линце", "запрос: Петров", True),
        ("Иван Петров живёт в Линце", "статья 17", False),
    ],
)
def test_a_name_looks_personal_in_every_script(text, name, is_told):
    assert looks_personal(name, [request(subject_id=None, text=text)]) == is_told


def test_numbers_in_any_digits_may_be_an_id():
    name = "case ٤٧١١٠٨١٥"
    assert Pseudonyms(KEY).reference(request(request_id=name, record_ids=["K٤٧١١٠٨١٥"])).startswith("request-")
    assert Pseudonyms(KEY).reference(request(request_id=name)) == name
