"""Every row of a request file is a request row or a rejection; none is lost, in any format."""

import gzip
import json
import re
from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tests.data.packing import pack
from unilogit.data.locations import UnreadableFile
from unilogit.data.request_fields import FIELDS, LISTS
from unilogit.data.request_files import SUFFIXES, RawRequest, file_request, read_requests
from unilogit.data.requests import DeletionRequest, Rejection
from unilogit.errors import InputError

HEADER = "request_id,received_at,subject_id,record_ids,text"
NOW = "2026-03-01T12:00:00Z"


def write(folder, content, name="requests.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path, mapping=None):
    """The rows that can be read, those that cannot, and the warnings."""
    warnings = []
    rows = list(read_requests(path, mapping, warnings=warnings))
    good = [row for row in rows if isinstance(row, RawRequest)]
    return good, [row for row in rows if isinstance(row, Rejection)], warnings


def full(**fields):
    return dict.fromkeys(FIELDS) | {name: [] for name in LISTS} | fields


TOKENS = [
    b"request_id",
    b"received_at",
    b",",
    b";",
    b"\t",
    b"\n",
    b"\r",
    b'"',
    b"[",
    b"{",
    b"}",
    b"]",
    b":",
    b"1.0",
    b"\xff",
]


@settings(max_examples=400, deadline=None)
@given(
    st.binary(max_size=200) | st.lists(st.sampled_from(TOKENS), max_size=40).map(b"".join),
    st.sampled_from(SUFFIXES),
    st.sampled_from([b"", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"PAR1", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"]),
    st.booleans(),
    st.sampled_from([None, "opendsr", "data_rights_protocol", {"a.b": "aliases"}]),
)
def test_any_bytes_give_rows_rejections_or_one_sentence(tmp_path_factory, content, suffix, head, packed, mapping):
    path = tmp_path_factory.mktemp("requests") / f"requests{suffix}"
    path.write_bytes(pack(suffix, head + content) if packed else head + content)
    try:
        good, bad, _ = read(path, mapping)
    except UnreadableFile:
        return
    assert good + bad
    assert all(row.reasons and all(row.reasons) for row in bad)


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from(['{"request_id": "r1"}', "{}", "[", "\0", "", " ", "é"])).map("\n".join).map(str.encode)
)
def test_every_filled_line_of_json_lines_is_a_row_or_a_rejection(tmp_path_factory, content):
    assume(not re.match(rb"\s*\[\s*\{|\xff\xfe|\xfe\xff", content))  # a list; UTF-16
    path = write(tmp_path_factory.mktemp("requests"), content, "requests.jsonl")
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    filled = [number for number, line in enumerate(lines, start=1) if line.strip(b" \t\r\n")]
    if not filled:
        with pytest.raises(UnreadableFile, match="empty"):
            read(path)
        return
    good, bad, _ = read(path)
    assert sorted(row.row for row in good + bad) == filled


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("r1,now,P-1,", r"^has 4 columns where the header has 5;"),
        ("r1,now,P\0,,", r"^field `subject_id` holds a NUL character; remove it$"),
        ("r1,now,P,[a],", r"^field `record_ids` begins like a list and is none"),
    ],
)
def test_a_bad_csv_row_is_a_rejection_and_the_next_one_read(tmp_path, line, reason):
    good, [rejection], _ = read(write(tmp_path, f"{HEADER}\n\n{line}\nr2,now,P-2, a ; b,=cmd()\n"))
    fields = full(request_id="r2", received_at="now", subject_id="P-2", record_ids=["a", "b"], text="=cmd()")
    assert good == [RawRequest("requests.csv", 4, fields, "r2,now,P-2, a ; b,=cmd()")]
    assert (rejection.file, rejection.row, rejection.raw) == ("requests.csv", 3, line)
    assert re.search(reason, rejection.reasons[0])


@pytest.mark.parametrize("missing", ["request_id", "received_at"])
def test_a_csv_without_a_required_column_is_refused(tmp_path, missing):
    with pytest.raises(UnreadableFile, match=rf"line 1: the header lacks the column `{missing}`"):
        read(write(tmp_path, HEADER.replace(missing, "source") + f"\nr1,{NOW},P-1,,\n"))


def test_a_field_in_two_columns_is_refused(tmp_path):
    with pytest.raises(UnreadableFile, match="the header has two columns for `subject_id`; remove one"):
        read(write(tmp_path, f"request_id,received_at,subject_id,Subject ID\nr1,{NOW},a,b\n"))
    _, [rejection], _ = read(write(tmp_path, '{"request_id": "r1", "Request-ID": "r2"}', "requests.jsonl"))
    assert rejection.reasons == ["gives the field `request_id` twice; keep one"]


def test_other_columns_are_passed_over_and_named_once(tmp_path):
    lines = [f"r{number},{NOW},P-1,open,x" for number in range(50)]
    good, bad, warnings = read(
        write(tmp_path, "\n".join(["request_id,received_at,subjectid,status,a@b.example", *lines]))
    )
    assert (len(good), bad) == (50, [])
    assert warnings == [
        "requests.csv: passed over what is no field of a request: `subjectid` (did you mean `subject_id`?), `status`,"
        " 1 more"
    ]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"subject_id": 7.0}, "field `subject_id` is a number with a decimal point, so that nobody knows the id"),
        ({"subject_id": True}, "field `subject_id` must be text or a whole number, not true or false"),
        ({"text": 7}, "field `text` must be text"),
        ({"record_ids": "a;b"}, "field `record_ids` must be a list of texts"),
        ({"record_ids": ["a", None]}, "field `record_ids` must be a list of texts"),
        ({"record_ids": ["a\0"]}, "field `record_ids` holds a NUL character"),
        ({"received_at": 20260302}, "field `received_at` is a number, but neither seconds (10 digits)"),
    ],
)
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_fields_of_another_type_are_refused_without_their_values(tmp_path, fields, reason, kind):
    path = tmp_path / f"requests.{kind}"
    if kind == "jsonl":
        path.write_text(json.dumps(fields))
    else:
        pq.write_table(pa.Table.from_pylist([fields]), path)
    good, [rejection], _ = read(path)
    assert (good, rejection.row) == ([], 1)
    assert rejection.reasons[0].startswith(reason)
    assert not re.search(r"\b7\b|a;b|2026", rejection.reasons[0].split(";")[0])


def test_parquet_times_dates_numbers_and_nothings_are_understood(tmp_path):
    pd.DataFrame(
        {
            "request_id": [17, 18],
            "received_at": [datetime(2026, 3, 1, 12, tzinfo=UTC)] * 2,
            "due_at": [date(2026, 4, 1), None],
            "subject_id": ["007", None],
            "text": [float("nan")] * 2,
        }
    ).to_parquet(tmp_path / "requests.parquet")
    good, bad, _ = read(tmp_path / "requests.parquet")
    assert bad == []
    shared = {"received_at": "2026-03-01T12:00:00+00:00"}
    assert [row.fields for row in good] == [
        full(request_id="17", subject_id="007", due_at="2026-04-01T00:00:00Z", **shared),
        full(request_id="18", **shared),
    ]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (pa.table({"request_id": pa.array([], pa.string())}), "the file is empty"),
        (pa.Table.from_arrays([["P-1"], ["P-2"]], ["subject_id"] * 2), "names the column `subject_id` twice"),
    ],
)
def test_a_parquet_file_without_rows_or_with_a_column_twice_is_refused(tmp_path, table, words):
    pq.write_table(table, tmp_path / "requests.parquet")
    with pytest.raises(UnreadableFile, match=words):
        read(tmp_path / "requests.parquet")


def test_rows_before_the_damage_are_read_and_the_rest_is_one_rejection(tmp_path):
    lines = "".join(json.dumps({"request_id": f"r{number}" * 50}) + "\n" for number in range(20_000)).encode()
    cut = gzip.compress(lines)[:-2000]
    good, [rejection], _ = read(write(tmp_path, cut, "requests.jsonl.gz"))
    assert 0 < len(good) < 20_000
    assert rejection.row == len(good) + 1
    assert rejection.reasons == ["from here on the file cannot be read: it ends too early; write it again"] or (
        "is not JSON" in rejection.reasons[0]
    )
    good, [rejection], _ = read(write(tmp_path, '[{"request_id": "r1"}, {"request_id": "r2"', "requests.json"))
    assert [row.fields["request_id"] for row in good] == ["r1"]
    assert rejection.row == 2
    assert "is not JSON" in rejection.reasons[0]


words = st.text(st.characters(exclude_categories=["Cc"]), max_size=12) | st.sampled_from(["a\0b", "\ud800", "x" * 201])
some_words = st.lists(words, max_size=2)


@settings(max_examples=100, deadline=None)
@given(st.none() | words, some_words, st.none() | words, st.none() | words, some_words, st.none() | words)
@example("P-1", [], None, None, [], None)
@example("P-1", [], "\x1f", None, [], None)
@example("\x1f", ["r1"], None, None, [], None)
@example("", ["r1"], None, None, [], None)
def test_a_filed_request_reads_back_or_is_refused(
    tmp_path_factory, subject_id, record_ids, request_id, legal_basis, aliases, text
):
    folder = tmp_path_factory.mktemp("var") / "requests"
    before = datetime.now(UTC)
    try:
        given_id = file_request(folder, subject_id, record_ids, request_id, legal_basis, aliases=aliases, text=text)
    except InputError:
        assert not folder.exists()
        return
    [path] = folder.iterdir()
    [row], bad, warnings = read(path)
    assert (bad, warnings) == ([], [])
    fields = row.fields
    assert given_id == fields["request_id"] == (request_id.strip() if request_id else given_id)
    assert fields["subject_id"] == (subject_id and subject_id.strip())
    assert fields["record_ids"] == [item.strip() for item in record_ids]
    assert fields["aliases"] == [item.strip() for item in aliases]
    assert (fields["legal_basis"], fields["text"]) == (legal_basis, text)
    typed = DeletionRequest(**{name: value for name, value in fields.items() if value})
    assert before <= typed.received_at <= datetime.now(UTC)
    assert typed.due_at == typed.received_at + timedelta(days=30)


def test_filed_requests_have_files_and_ids_of_their_own(tmp_path):
    ids = [file_request(tmp_path, "P-1") for _ in range(20)]
    rows = [row for path in tmp_path.iterdir() for row in read(path)[0]]
    assert sorted(row.fields["request_id"] for row in rows) == sorted(set(ids))
    assert len(list(tmp_path.iterdir())) == 20


def test_a_request_is_not_filed_into_a_file(tmp_path):
    path = write(tmp_path, "kept")
    with pytest.raises(InputError, match=r"requests\.csv: is a file; name a folder"):
        file_request(path, "P-1")
    assert path.read_text() == "kept"
