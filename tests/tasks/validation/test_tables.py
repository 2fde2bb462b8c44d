"""Requests come back from a workspace as they were taken in, without being parsed again."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.validation.tables import read_refused, read_requests, require_good, write_requests
from tasks.workspace import Place, Workspace
from unilogit.data.requests import DeletionRequest, Rejection
from unilogit.errors import InputError
from unilogit.files import write_text

text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10)
ids = text.filter(str.strip)
zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=zones)
requests = st.builds(
    DeletionRequest,
    request_id=ids,
    received_at=times,
    subject_id=st.none() | ids,
    aliases=st.lists(ids, max_size=2),
    record_ids=st.lists(ids, max_size=3),
    reference=text,
    text=text,
    legal_basis=st.none() | text,
    source=st.none() | text,
    file=text,
    row=st.integers(1, 2**40),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(requests, max_size=4))
def test_requests_come_back_as_they_were(tmp_path_factory, originals):
    workspace = Workspace(tmp_path_factory.mktemp("w"))
    write_requests(workspace.path(Place.REQUESTS), originals)
    back = list(read_requests(workspace))
    assert back == originals
    assert [item.content_sha256 for item in back] == [item.content_sha256 for item in originals]
    assert [item.model_dump_json() for item in back] == [item.model_dump_json() for item in originals]


def test_a_run_needs_one_good_request(tmp_path):
    workspace = Workspace(tmp_path)
    refused = [
        Rejection(file="a.csv", row=row, reasons=["is bad; correct it"], raw="\u2028 Ann") for row in range(2, 14)
    ]
    write_text(workspace.path(Place.REFUSED_REQUESTS), "".join(f"{item.model_dump_json()}\n" for item in refused))
    assert list(read_refused(workspace)) == refused
    write_requests(workspace.path(Place.REQUESTS), [])
    with pytest.raises(InputError) as error:
        require_good(workspace)
    assert error.value.problems == [
        *(f"a.csv:{row}: is bad; correct it" for row in range(2, 12)),
        f"and 2 more; see {workspace.path(Place.REFUSED_REQUESTS)}",
        "no deletion request can be used; correct them and take them in again",
    ]
    empty, other = Workspace(tmp_path / "empty"), Workspace(tmp_path / "other")
    write_requests(empty.path(Place.REQUESTS), [])
    write_text(empty.path(Place.REFUSED_REQUESTS), "")
    with pytest.raises(InputError) as error:
        require_good(empty, workspace)
    assert len(error.value.problems) == 12
    good = DeletionRequest(request_id="a", received_at=datetime(2025, 3, 1, tzinfo=UTC), text="Ann")
    write_requests(other.path(Place.REQUESTS), [good])
    require_good(other)
    require_good(empty, workspace, other)


def test_a_digest_is_not_made_again(tmp_path, monkeypatch):
    workspace = Workspace(tmp_path)
    good = DeletionRequest(request_id="a", received_at=datetime(2025, 3, 1, tzinfo=UTC), text="Ann")
    digest = good.content_sha256
    write_requests(workspace.path(Place.REQUESTS), [good])
    monkeypatch.setattr("unilogit.data.requests.to_json", None)
    assert [request.content_sha256 for request in read_requests(workspace)] == [digest]


def test_a_failed_write_leaves_what_was_there(tmp_path):
    workspace = Workspace(tmp_path)
    good = DeletionRequest(request_id="a", received_at=datetime(2025, 3, 1, tzinfo=UTC), text="Ann")
    write_requests(workspace.path(Place.REQUESTS), [good])

    def breaking():
        yield good
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_requests(workspace.path(Place.REQUESTS), breaking())
    assert list(read_requests(workspace)) == [good]
    assert len(list(workspace.path(Place.REQUESTS).parent.iterdir())) == 1
