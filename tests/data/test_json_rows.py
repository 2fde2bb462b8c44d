"""JSON is read entry by entry, wherever a block of its text ends, and told apart by what is there."""

import io
import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unilogit.data import json_rows
from unilogit.data.json_rows import read_json_rows
from unilogit.data.row import DamagedError


def read(content, is_document=True, row_fields=("request_id",)):
    stream = io.BufferedReader(io.BytesIO(content.encode() if isinstance(content, str) else content))
    return list(read_json_rows(stream, row_fields, is_document))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
objects = st.lists(st.dictionaries(st.text(max_size=5), values, max_size=3), min_size=1, max_size=5)


@settings(max_examples=200, deadline=None)
@given(objects, st.integers(1, 40), st.sampled_from([None, 1]), st.booleans())
def test_a_list_is_read_wherever_its_blocks_end(rows, block, indent, plain):
    content = json.dumps(rows, indent=indent, ensure_ascii=plain)
    content = content.encode("utf-8", errors="surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_rows, "_BLOCK", block)
        read_rows = read(b"\n " + content + b" \n")
    assert [row.number for row in read_rows] == list(range(1, len(rows) + 1))
    for row, wanted in zip(read_rows, rows, strict=True):
        assert row.fields == wanted or row.problem  # half a character


def test_a_list_is_never_held_as_a_whole():
    content = json.dumps([{"request_id": f"R-{number}", "text": "x" * 1000} for number in range(20_000)]).encode()
    stream = io.BufferedReader(io.BytesIO(content))
    tracemalloc.start()
    count = sum(1 for _ in read_json_rows(stream, (), is_document=True))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_000
    assert peak < len(content) / 10


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        ('{"request_id": 1}', [{"request_id": 1}]),
        ('{\n"request_id": 1\n}', [{"request_id": 1}]),
        ('{"request_id": 1}\n{"request_id": 2}\n', [{"request_id": 1}, {"request_id": 2}]),
        ('{"rows": [{"a": 1}, {"a": 2}], "count": 2}', [{"a": 1}, {"a": 2}]),
        ('{"request_id": 1, "identities": [{"a": 1}]}', [{"request_id": 1, "identities": [{"a": 1}]}]),
        ('{"rows": [{"a": 1}], "others": [{"a": 2}]}', [{"rows": [{"a": 1}], "others": [{"a": 2}]}]),
        ('{"rows": []}', [{"rows": []}]),
        ("[]", []),
        ("", []),
        (" \n", []),
    ],
)
def test_documents(content, fields):
    assert [row.fields for row in read(content)] == fields


def test_lines_are_lines_however_their_objects_look():
    rows = read('{\n"a": 1}\n{"a": 2}\n[]\n', is_document=False)
    assert [(row.number, row.fields) for row in rows] == [(1, None), (2, None), (3, {"a": 2}), (4, None)]
    assert [row.fields for row in read('{\n"a": 1\n}\n', is_document=False)] == [{"a": 1}]
    assert [row.number for row in read('[{"a": 1},\n{"a": 2}]', is_document=False)] == [1, 2]


@pytest.mark.parametrize(
    ("content", "good", "words"),
    [
        ('[{"a": 1}, {"a": 2', 1, "is not JSON"),
        ('[{"a": 1} {"a": 2}]', 1, "expecting ',' delimiter"),
        ('[{"a": 1},]', 1, "is not JSON"),
        ('[{"a": 1}]]', 1, "holds more behind the end of its list"),
        ('[{"a": ' + "9" * 5000 + "}]", 0, "; correct it and write the file again"),
        ('[{"a": ' + "[" * 100_000, 0, "is nested too deeply"),
        ('{"a": 1', 0, "is not JSON"),
    ],
)
def test_damage_is_told_where_it_begins(content, good, words):
    rows = []
    with pytest.raises(DamagedError) as error:
        rows.extend(read_json_rows(io.BufferedReader(io.BytesIO(content.encode())), (), is_document=True))
    assert len(rows) == good
    assert words in str(error.value)


def test_a_bad_entry_of_a_list_is_one_row():
    rows = read('[{"a": 1}, 7, {"a": 1, "a": 2}, {"a": NaN}, {"a": 3}]')
    assert [row.fields for row in rows] == [{"a": 1}, None, None, None, {"a": 3}]
    assert [row.problem.split(";")[0] for row in rows[1:4]] == [
        "is not a JSON object in braces",
        "gives the same field twice",
        "holds NaN, which is not JSON",
    ]
