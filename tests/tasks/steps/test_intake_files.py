"""Files that hold no requests, names that are somebody's, and files of any length."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.validation.tables import read_refused, read_requests
from tasks.workspace import Place, Workspace, pseudonyms
from tests.tasks.steps.taking_in import ASKS, REPEATED, SECRET, TIME, contents, take_in, write
from unilogit.errors import InputError


def test_a_file_that_holds_no_requests_is_one_refused_row_and_the_others_go_on(tmp_path):
    good = {**ASKS, "request_id": "a"}
    write(tmp_path / "inbox" / "a.jsonl", good)
    write(tmp_path / "inbox" / "d.jsonl", {**good, "request_id": "d"})
    (tmp_path / "inbox" / "b.csv").write_text("request_id,subject_id\nR1,ann\n")
    (tmp_path / "inbox" / "c.parquet").write_bytes(b"PAR1")
    (tmp_path / "inbox" / "e.pdf").write_bytes(b"x")
    workspace = Workspace(tmp_path / "w")
    counts = take_in(tmp_path / "inbox", workspace)
    assert (counts.rows, counts.good, counts.quarantined) == (4, 2, 2)
    assert [request.request_id for request in read_requests(workspace)] == ["a", "d"]
    assert [str(rejection) for rejection in read_refused(workspace)] == [
        "b.csv: line 1: the header lacks the column `received_at`; add it, columns apart by commas, semicolons or tabs",
        "c.parquet: cannot be read as Parquet; write the file again",
    ]
    assert "1 .pdf" in counts.warnings[0]


def test_a_file_that_cannot_be_reached_is_an_error_and_leaves_what_was_there(tmp_path):
    workspace = Workspace(tmp_path / "w")
    take_in(write(tmp_path / "r.jsonl", {**ASKS, "request_id": "a"}), workspace)
    before = contents(workspace)
    with pytest.raises(InputError, match="there is no such file or folder"):
        take_in(tmp_path / "s.jsonl", workspace)
    with pytest.raises(InputError, match="`requestid` is no field of a request"):
        take_in(tmp_path / "r.jsonl", workspace, "data.request_mapping={id: requestid}")
    assert contents(workspace) == before


def test_names_of_files_and_requests_that_are_somebodys_are_nowhere_but_in_what_was_sent(tmp_path):
    rows = [
        {**ASKS, "request_id": "R-1"},
        {**ASKS, "request_id": "erase odalys", "aliases": ["Jo"]},
        {"request_id": "jo@example.org", "received_at": TIME, "text": "x"},
        {**ASKS, "request_id": "R-1", "text": "more"},
    ]
    path = write(tmp_path / "inbox" / "request of Quenneville.jsonl", *rows)
    write(tmp_path / "inbox" / "b.jsonl", {**ASKS, "request_id": "R-5"})
    workspace = Workspace(tmp_path / "w")
    counts = take_in(tmp_path / "inbox", workspace)
    keyed = pseudonyms()
    requests = list(read_requests(workspace))
    assert [(request.reference, request.file) for request in requests] == [
        ("R-5", "b.jsonl"),
        ("R-1", keyed.file(path.name, requests)),
        (keyed.reference(requests[2]), requests[1].file),
        (keyed.reference(requests[3]), requests[1].file),
    ]
    assert [request.reference[:8] for request in requests[2:]] == ["request-"] * 2
    assert requests[1].file.startswith("file-")
    [refused] = read_refused(workspace)
    assert refused.reasons == [REPEATED.format(f"{requests[1].file}:1")]
    told = counts.model_dump_json() + str(refused.reasons) + "".join(request.reference for request in requests)
    assert not [word for word in ("Quenneville", "odalys", "jo@") if word in told]
    assert workspace.path(Place.REFUSED_REQUESTS).stat().st_mode & 0o777 == 0o600


def test_the_name_of_a_file_with_a_bad_row_about_somebody_is_a_pseudonym(tmp_path):
    write(tmp_path / "odalys.jsonl", {"subject_id": SECRET})
    counts = take_in(tmp_path / "odalys.jsonl", Workspace(tmp_path / "w"))
    [refused] = read_refused(Workspace(tmp_path / "w"))
    assert (counts.rows, refused.file[:5]) == (1, "file-")


@settings(max_examples=3, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["x", "y", None])), min_size=6, max_size=14),
    st.integers(2, 5),
)
def test_requests_are_the_same_however_many_are_taken_at_a_time(tmp_path_factory, drawn, chunk):
    folder = tmp_path_factory.mktemp("chunks")
    lines = [{"request_id": f"R{name}", "received_at": TIME, "text": text} for name, text in drawn]
    path = write(folder / "r.jsonl", *lines)
    whole, parts = Workspace(folder / "whole"), Workspace(folder / "parts")
    counts = take_in(path, whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.steps.intake.CHUNK", chunk)
        assert take_in(path, parts).good == counts.good
    assert list(read_requests(parts)) == list(read_requests(whole))
    # Of rows that share an id a later part knows only the good ones before it.
    places = [{item.row for item in read_refused(workspace)} for workspace in (parts, whole)]
    assert places[0] >= places[1]
