"""An id that was seen is known again, and what was asked with it."""

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from unilogit.data.requests import DeletionRequest
from unilogit.data.seen_requests import Seen, SeenRequests

chunks = st.lists(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from("ab")), unique_by=lambda one: one[0]), max_size=5
)


@settings(max_examples=40, deadline=None)
@given(chunks)
def test_ids_of_earlier_chunks_are_found_with_their_first_place(drawn):
    known = {}
    row = 0
    with SeenRequests() as seen:
        for number, chunk in enumerate(drawn):
            requests = []
            for name, text in chunk:
                row += 1
                request = DeletionRequest(
                    request_id=f"R-{name}",
                    received_at=datetime(2026, 3, 1, tzinfo=UTC),
                    text=text,
                    file=f"{number % 2}.csv",
                    row=row,
                )
                requests.append(request)
            found = seen.find(requests)
            assert found == {
                place: Seen(known[request.request_id].origin, known[request.request_id].text == request.text)
                for place, request in enumerate(requests)
                if request.request_id in known
            }
            new = [request for place, request in enumerate(requests) if place not in found]
            known |= {request.request_id: request for request in new}
            seen.add(new)
