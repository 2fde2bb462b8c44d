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
    record_ids=st.lists(ids, max_size=3),
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
    back = read_requests(workspace)
    assert back == originals
    assert [item.content_sha256 for item in back] == [item.content_sha256 for item in originals]
    assert [item.model_dump_json() for item in back] == [item.model_dump_json() for item in originals]


def test_a_run_needs_one_good_request(tmp_path):
    workspace = Workspace(tmp_path)
    refused = [
        Rejection(file="a.csv", row=row, reasons=["is bad; correct it"], raw="\u2028 Ann") for row in range(2, 14)
    ]
    write_text(workspace.path(Place.REFUSED_REQUESTS), "".join(f"{item.model_dump_json()}\n" for item in refused))
    assert read_refused(workspace) == refused
    write_requests(workspace.path(Place.REQUESTS), [])
    with pytest.raises(InputError) as error:
        require_good(workspace)
    assert error.value.problems == [
        *(f"a.csv:{row}: is bad; correct it" for row in range(2, 12)),
        f"and 2 more; see {workspace.path(Place.REFUSED_REQUESTS)}",
        "no deletion request can be used; correct them and take them in again",
    ]
    good = DeletionRequest(request_id="a", received_at=datetime(2025, 3, 1, tzinfo=UTC), text="Ann")
    write_requests(workspace.path(Place.REQUESTS), [good])
    require_good(workspace)
