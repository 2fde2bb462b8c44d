"""Every row of a request file is a request row or a rejection; none is lost, in any format."""

import json
import re
from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from unilogit.data.request_files import FIELDS, RawRequest, file_request, read_requests
from unilogit.data.requests import DeletionRequest
from unilogit.errors import InputError

HEADER = "request_id,received_at,subject_id,record_ids,text"
NOW = "2026-03-01T12:00:00Z"


def write(folder, content, name="requests.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def row(number, file="requests.csv", **fields):
    return RawRequest(file, number, dict.fromkeys(FIELDS) | {"record_ids": []} | fields)


def no_nul(text):
    return "\0" not in text


cells = st.none() | st.text().filter(no_nul)
record_ids = st.lists(st.text().map(str.strip).filter(lambda item: item and ";" not in item and no_nul(item)))
rows_of_text = st.lists(
    st.fixed_dictionaries({name: record_ids if name == "record_ids" else cells for name in FIELDS}),
    min_size=1,
    max_size=4,
)


def as_csv(row, quote_all):
    """By hand: Python's own writer leaves a carriage return without quotes where lines end in a newline."""
    given = [";".join(cell) if isinstance(cell, list) else cell or "" for cell in map(row.get, FIELDS)]
    return ",".join(
        '"' + cell.replace('"', '""') + '"' if quote_all or re.search('[",\r\n]', cell) else cell for cell in given
    )


@settings(max_examples=40, deadline=None)
@given(rows_of_text, st.sampled_from(["\n", "\r\n", "\r"]), st.booleans(), st.booleans())
@example([dict.fromkeys(FIELDS) | {"text": "\r0", "source": "0\r", "record_ids": []}], "\n", False, False)
def test_rows_survive_every_format(tmp_path_factory, rows, line_end, quote_all, mark):
    folder = tmp_path_factory.mktemp("requests")
    lines = [",".join(FIELDS), *[as_csv(item, quote_all) for item in rows]]
    write(folder, b"\xef\xbb\xbf" * mark + line_end.join(lines).encode(), "a.csv")
    write(folder, "".join(json.dumps(item) + "\n" for item in rows), "b.jsonl")
    pd.DataFrame(rows).to_parquet(folder / "c.parquet")
    requests, rejections = read_requests(folder)
    wanted = [
        {name: cell if cell and (name == "record_ids" or cell.strip()) else None for name, cell in item.items()}
        | {"record_ids": item["record_ids"]}
        for item in rows
    ]
    assert rejections == []
    assert [item.fields for item in requests] == wanted * 3
    assert [item.file for item in requests] == [name for name in ("a.csv", "b.jsonl", "c.parquet") for _ in rows]
    assert [item.row for item in requests if item.file != "a.csv"] == [*range(1, len(rows) + 1)] * 2


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from(['{"request_id": "r1"}', "{}", "[", "\0", "", " ", "é"])).map("\n".join).map(str.encode)
)
def test_every_filled_line_of_json_lines_is_a_row_or_a_rejection(tmp_path_factory, content):
    path = write(tmp_path_factory.mktemp("requests"), content, "requests.jsonl")
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    filled = [number for number, line in enumerate(lines, start=1) if line.strip()]
    if not filled:
        with pytest.raises(InputError, match="empty"):
            read_requests(path)
        return
    requests, rejections = read_requests(path)
    assert sorted([*(item.row for item in requests), *(item.row for item in rejections)]) == filled


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("r1,now,P-1,", r"^has 4 columns where the header has 5;"),
        ("r1,now,P\0,,", r"^field `subject_id` holds a NUL character; remove it$"),
    ],
)
def test_a_bad_csv_row_is_a_rejection_and_the_next_one_read(tmp_path, line, reason):
    requests, (rejection,) = read_requests(write(tmp_path, f"{HEADER}\n\n{line}\nr2,now,P-2, a ; b,\n"))
    assert requests == [row(4, request_id="r2", received_at="now", subject_id="P-2", record_ids=["a", "b"])]
    assert (rejection.file, rejection.row, rejection.raw) == ("requests.csv", 3, line)
    assert re.search(reason, rejection.reasons[0])


@pytest.mark.parametrize("missing", ["request_id", "received_at"])
def test_a_csv_without_a_required_column_is_refused(tmp_path, missing):
    with pytest.raises(InputError, match=rf":1: the header lacks the column `{missing}`"):
        read_requests(write(tmp_path, HEADER.replace(missing, "source") + f"\nr1,{NOW},P-1,,\n"))


def test_an_unknown_column_is_refused_in_each_row(tmp_path):
    requests, rejections = read_requests(write(tmp_path, "request_id,received_at,subject\nr1,now,P-1\nr2,now,P-2\n"))
    assert requests == []
    assert [item.row for item in rejections] == [2, 3]
    assert rejections[0].reasons[0].startswith("field `subject` is not known; remove it, or name it one of: ")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"subject_id": 7}, "field `subject_id` must be text"),
        ({"record_ids": "a;b"}, "field `record_ids` must be a list of texts"),
        ({"record_ids": ["a", None]}, "field `record_ids` must be a list of texts"),
        ({"record_ids": ["a\0"]}, "field `record_ids` holds a NUL character"),
        ({"subject": "P-1"}, "field `subject` is not known"),
    ],
)
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_fields_of_another_type_are_refused_without_their_values(tmp_path, fields, reason, kind):
    path = tmp_path / f"requests.{kind}"
    if kind == "jsonl":
        path.write_text(json.dumps(fields))
    else:
        pq.write_table(pa.Table.from_pylist([fields]), path)
    requests, (rejection,) = read_requests(path)
    assert requests == []
    assert rejection.row == 1
    assert rejection.reasons[0].startswith(reason)
    assert not re.search("P-1|7|a;b", rejection.reasons[0].split(";")[0])


def test_parquet_times_dates_and_nothings_are_understood(tmp_path):
    pd.DataFrame(
        {
            "request_id": ["r1", "r2"],
            "received_at": [datetime(2026, 3, 1, 12, tzinfo=UTC)] * 2,
            "due_at": [date(2026, 4, 1), None],
            "subject_id": ["P-1", None],
            "text": [float("nan")] * 2,
        }
    ).to_parquet(tmp_path / "requests.parquet")
    requests, rejections = read_requests(tmp_path / "requests.parquet")
    assert rejections == []
    shared = {"file": "requests.parquet", "received_at": "2026-03-01T12:00:00+00:00"}
    assert requests == [
        row(1, request_id="r1", subject_id="P-1", due_at="2026-04-01", **shared),
        row(2, request_id="r2", **shared),
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
    with pytest.raises(InputError, match=words):
        read_requests(tmp_path)


def test_a_folder_may_be_empty_but_holds_nothing_else(tmp_path):
    assert read_requests(tmp_path) == ([], [])
    write(tmp_path, "{}", "requests.csv.part")
    assert read_requests(tmp_path) == ([], [])
    write(tmp_path, "r1", "requests.txt")
    with pytest.raises(InputError, match=r"requests\.txt: the kind of file is not known"):
        read_requests(tmp_path)


words = st.text(st.characters(exclude_categories=["Cc"]), max_size=12) | st.sampled_from(["a\0b", "\ud800", "x" * 201])


@settings(max_examples=100, deadline=None)
@given(st.none() | words, st.lists(words, max_size=2), st.none() | words, st.none() | words)
@example("P-1", [], None, None)
@example("P-1", [], "\x1f", None)
@example("\x1f", ["r1"], None, None)
@example("", ["r1"], None, None)
def test_a_filed_request_reads_back_or_is_refused(tmp_path_factory, subject_id, ids, request_id, legal_basis):
    folder = tmp_path_factory.mktemp("var") / "requests"
    before = datetime.now(UTC)
    try:
        given_id = file_request(folder, subject_id, ids, request_id, legal_basis)
    except InputError:
        assert not folder.exists()
        return
    (request,), rejections = read_requests(folder)
    assert rejections == []
    fields = request.fields
    assert given_id == fields["request_id"] == (request_id.strip() if request_id else given_id)
    assert fields["subject_id"] == (subject_id and subject_id.strip())
    assert fields["record_ids"] == [item.strip() for item in ids]
    assert fields["legal_basis"] == legal_basis
    typed = DeletionRequest(**{name: value for name, value in fields.items() if value})
    assert before <= typed.received_at <= datetime.now(UTC)
    assert typed.due_at == typed.received_at + timedelta(days=30)


def test_filed_requests_have_files_and_ids_of_their_own(tmp_path):
    ids = [file_request(tmp_path, "P-1", [], None, None) for _ in range(20)]
    requests, _ = read_requests(tmp_path)
    assert sorted(item.fields["request_id"] for item in requests) == sorted(set(ids))
    assert len(list(tmp_path.iterdir())) == 20


def test_a_request_is_not_filed_into_a_file(tmp_path):
    path = write(tmp_path, "kept")
    with pytest.raises(InputError, match=r"requests\.csv: data\.requests is a file; make it a folder"):
        file_request(path, "P-1", [], None, None)
    assert path.read_text() == "kept"
