"""The same requests by CSV, JSON lines and Parquet: every row is taken in or set aside, none is lost."""

import csv
import hashlib
import json
from datetime import UTC, datetime

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.intake import UNREADABLE, run_intake
from unilogit.data.request_files import FIELDS
from unilogit.errors import InputError

NOTHING = dict.fromkeys(FIELDS) | {"record_ids": []}
TIME = "2025-03-01T12:00:00Z"
ANN = {"request_id": "R1", "received_at": TIME, "subject_id": "ann", "text": 'Ann, "the" one\nof two lines'}
BOB = {"request_id": "R2", "received_at": TIME, "record_ids": ["b1", "b2"], "due_at": TIME, "source": "Zürich"}


def write(path, *requests):
    """Request files as the standard library and pandas make them."""
    if path.suffix == ".parquet":
        pd.DataFrame(requests).to_parquet(path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(request) + "\n" for request in requests), encoding="utf-8")
    else:
        with open(path, "w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, FIELDS)
            writer.writeheader()
            writer.writerows(
                {**request, "record_ids": ";".join(request.get("record_ids") or [])} for request in requests
            )
    return path


def taken_in(workspace):
    return pq.read_table(workspace / "requests.parquet").to_pylist()


def set_aside(workspace):
    return [json.loads(line) for line in (workspace / UNREADABLE).read_text(encoding="utf-8").splitlines()]


def test_a_folder_of_every_kind_of_file(tmp_path):
    folder = tmp_path / "requests"
    folder.mkdir()
    for name in ("a.csv", "b.jsonl", "c.parquet"):
        write(folder / name, ANN, BOB)
    (folder / ".b.jsonl.swp").write_text("{")
    summary = run_intake(folder, tmp_path / "w")
    assert str(summary) == "files: 3; request rows read: 6; unreadable: 0"
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    # Bob stands on line 4 of the CSV file: a header, and two lines of Ann's text, come before him.
    places = [("a.csv", 2), ("a.csv", 4), ("b.jsonl", 1), ("b.jsonl", 2), ("c.parquet", 1), ("c.parquet", 2)]
    assert taken_in(tmp_path / "w") == [
        {**NOTHING, **request, "file": file, "file_sha256": digests[file], "row": row}
        for (file, row), request in zip(places, [ANN, BOB] * 3, strict=True)
    ]
    assert set_aside(tmp_path / "w") == []


def test_unreadable_rows_are_set_aside_as_they_came_and_the_rest_goes_on(tmp_path):
    folder = tmp_path / "requests"
    folder.mkdir()
    good = json.dumps(ANN)
    (folder / "a.csv").write_bytes(
        b"request_id,received_at,subject_id\n"
        b"R1,2025-03-01T12:00:00Z,ann\n"
        b"R2,2025-03-01T12:00:00Z,bob,too,many\n"
        b"R3,2025-03-01T12:00:00Z,\xff\n"
    )
    (folder / "b.jsonl").write_text(f'{good}\n{{"request_id": \n\n{{"name": "ann"}}\n{{"request_id": 7}}\n')
    summary = run_intake(folder, tmp_path / "w")
    assert (summary.files, summary.read, summary.unreadable) == (2, 2, 5)
    assert str(UNREADABLE) in str(summary)
    assert [(row["file"], row["row"]) for row in taken_in(tmp_path / "w")] == [("a.csv", 2), ("b.jsonl", 1)]
    found = [(item["file"], item["row"], item["raw"]) for item in set_aside(tmp_path / "w")]
    assert found == [
        ("a.csv", 3, "R2,2025-03-01T12:00:00Z,bob,too,many"),
        ("a.csv", 4, "R3,2025-03-01T12:00:00Z,\\xff"),
        ("b.jsonl", 2, '{"request_id":'),
        ("b.jsonl", 4, '{"name": "ann"}'),
        ("b.jsonl", 5, '{"request_id": 7}'),
    ]
    words = ["has 5 columns where the header has 3", "not UTF-8", "not JSON", "`name` is not known", "must be text"]
    for item, expected in zip(set_aside(tmp_path / "w"), words, strict=True):
        assert expected in item["reasons"][0]


def test_times_and_absent_cells_of_parquet_are_text_and_nothing(tmp_path):
    rows = {"request_id": ["R1", "R2"], "received_at": [datetime(2025, 3, 1, 12, tzinfo=UTC)] * 2}
    pd.DataFrame({**rows, "text": ["x", None], "source": [float("nan")] * 2}).to_parquet(tmp_path / "r.parquet")
    run_intake(tmp_path / "r.parquet", tmp_path / "w")
    found = [(row["received_at"], row["text"], row["source"]) for row in taken_in(tmp_path / "w")]
    assert found == [("2025-03-01T12:00:00+00:00", "x", None), ("2025-03-01T12:00:00+00:00", None, None)]


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
filled = cells.filter(str.strip)
# CSV lists record ids with semicolons and strips them.
record_ids = st.lists(cells.map(str.strip).filter(lambda cell: cell and ";" not in cell), min_size=1, max_size=3)
requests = st.fixed_dictionaries(
    {"request_id": filled, "received_at": filled},
    optional={name: record_ids if name == "record_ids" else filled for name in FIELDS[2:]},
)


@settings(max_examples=40, deadline=None)
@given(st.lists(requests, min_size=1, max_size=4), st.sampled_from([".csv", ".jsonl", ".parquet"]))
def test_whatever_a_row_says_arrives_unchanged(tmp_path_factory, originals, suffix):
    folder = tmp_path_factory.mktemp("intake")
    run_intake(write(folder / f"requests{suffix}", *originals), folder / "w")
    assert set_aside(folder / "w") == []
    found = [{name: row[name] for name in FIELDS} for row in taken_in(folder / "w")]
    assert found == [{**NOTHING, **request} for request in originals]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("r.csv", None, "there is no such file or folder"),
        ("r.txt", b"x", "the kind of file is not known"),
        ("r.csv", b"", "the file is empty"),
        ("r.csv", b"request_id,received_at\n", "there are no rows under the header"),
        ("r.csv", b"request_id,subject_id\nR1,ann\n", "lacks the column `received_at`"),
        ("r.csv", b"request_id,received_at,request_id\n1,2,3\n", "names the column `request_id` twice"),
        ("r.csv", b"request_id,received_at,\xff\n1,2,3\n", "is not UTF-8"),
        ("r.jsonl", b"\n\n", "the file is empty"),
        ("r.parquet", b"PAR1 but not really", "cannot be read as Parquet"),
    ],
)
def test_a_bad_file_is_one_clear_error_and_leaves_what_was_there(tmp_path, name, content, words):
    run_intake(write(tmp_path / "earlier.jsonl", ANN), tmp_path / "w")
    before = {file: file.read_bytes() for file in (tmp_path / "w").rglob("*") if file.is_file()}
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as error:
        run_intake(path, tmp_path / "w")
    [problem] = error.value.problems
    assert problem.startswith(str(path))
    assert words in problem
    assert "\n" not in problem
    assert {file: file.read_bytes() for file in (tmp_path / "w").rglob("*") if file.is_file()} == before


def test_a_folder_that_holds_something_else_is_refused_before_anything_is_written(tmp_path):
    folder = tmp_path / "requests"
    folder.mkdir()
    write(folder / "a.jsonl", ANN)
    (folder / "notes.docx").write_text("forget me")
    with pytest.raises(InputError, match=r"notes\.docx: the kind of file is not known"):
        run_intake(folder, tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_an_empty_folder_is_no_error(tmp_path):
    (tmp_path / "requests").mkdir()
    assert run_intake(tmp_path / "requests", tmp_path / "w").files == 0
    assert taken_in(tmp_path / "w") == set_aside(tmp_path / "w") == []


def test_the_same_again_gives_the_same_files(tmp_path):
    folder = tmp_path / "requests"
    folder.mkdir()
    write(folder / "a.csv", ANN, BOB)
    (folder / "b.jsonl").write_text("{\n")
    written = []
    for _ in range(2):
        run_intake(folder, tmp_path / "w")
        files = sorted(file for file in (tmp_path / "w").rglob("*") if file.is_file())
        written.append({file: file.read_bytes() for file in files})
    assert len(written[0]) == 2
    assert written[0] == written[1]
