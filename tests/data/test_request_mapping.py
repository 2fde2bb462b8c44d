"""Requests in forms of others say in ours what they say in theirs."""

import json

import pytest

from unilogit.data.locations import UnreadableFile
from unilogit.data.request_files import RawRequest, read_requests
from unilogit.data.requests import as_request
from unilogit.errors import InputError

OPEN_DSR = {  # the specification's example, with more identities
    "regulation": "gdpr",
    "subject_request_id": "a7551968-d5d6-44b2-9831-815ac9017798",
    "subject_request_type": "erasure",
    "submitted_time": "2018-10-02T15:00:00Z",
    "subject_identities": [
        {"identity_type": "email", "identity_value": "jo@example.com", "identity_format": "raw"},
        {"identity_type": "controller_customer_id", "identity_value": 4711, "identity_format": "raw"},
        {"identity_type": "controller_customer_id", "identity_value": "P-2", "identity_format": "raw"},
    ],
    "api_version": "1.0",
    "status_callback_urls": ["https://example.com/callbacks"],
}
DRP = {
    "agent-id": "aa-id",
    "business-id": "cb-id",
    "issued-at": "2026-03-02T15:00:00Z",
    "expires-at": "2026-03-02T15:10:00Z",
    "agent-request-id": "foo",
    "drp.version": "0.9.4",
    "exercise": "deletion",
    "regime": "ccpa",
    "name": "Jo Doe",
    "email": "jo@example.com",
    "email_verified": True,
    "phone_number": "+15555550100",
}
OURS = {"request_id": "R-1", "received_at": "2026-03-02T15:00:00Z", "subject_id": "P-1"}


def read(folder, rows, mapping, name="requests.jsonl"):
    path = folder / name
    path.write_text(rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows))
    warnings = []
    return list(read_requests(path, mapping, warnings=warnings)), warnings


def asked(row):
    return {name: value for name, value in row.fields.items() if value}


def test_open_dsr(tmp_path):
    [row, own], warnings = read(tmp_path, [OPEN_DSR, OURS], "opendsr")
    assert asked(row) == {
        "request_id": "a7551968-d5d6-44b2-9831-815ac9017798",
        "received_at": "2018-10-02T15:00:00Z",
        "subject_id": "4711",
        "aliases": ["P-2", "jo@example.com"],
        "legal_basis": "gdpr",
    }
    assert asked(own) == OURS
    assert warnings == []
    as_request(row.fields, row.file, row.row)


def test_the_data_rights_protocol(tmp_path):
    [row, own], warnings = read(tmp_path, [DRP, OURS], "data_rights_protocol")
    assert asked(row) == {
        "request_id": "foo",
        "received_at": "2026-03-02T15:00:00Z",
        "aliases": ["Jo Doe", "jo@example.com", "+15555550100"],
        "legal_basis": "ccpa",
        "source": "aa-id",
    }
    assert asked(own) == OURS
    assert warnings == []
    as_request(row.fields, row.file, row.row)


@pytest.mark.parametrize(
    ("mapping", "row", "reason"),
    [
        ("opendsr", {**OPEN_DSR, "subject_request_type": "access"}, "field `subject_request_type` is not erasure"),
        ("opendsr", {**OPEN_DSR, "subject_identities": "jo"}, "field `subject_identities` must be a list of objects"),
        (
            "opendsr",
            {**OPEN_DSR, "subject_identities": [{**OPEN_DSR["subject_identities"][0], "identity_format": "md5"}]},
            "field `subject_identities` holds hashed identities",
        ),
        ("data_rights_protocol", {**DRP, "exercise": "sale:opt_out"}, "field `exercise` is not deletion"),
    ],
)
def test_what_does_not_ask_to_forget_is_refused_and_the_next_row_read(tmp_path, mapping, row, reason):
    [rejection, own], _ = read(tmp_path, [row, OURS], mapping)
    assert rejection.reasons[0].startswith(reason)
    assert asked(own) == OURS


@pytest.mark.parametrize(("name", "row"), [("opendsr", OPEN_DSR), ("data_rights_protocol", DRP)])
@pytest.mark.parametrize("kind", ["requests.jsonl", "requests.json"])
def test_a_form_that_is_not_expected_is_refused_with_advice_that_works(tmp_path, name, row, kind):
    with pytest.raises(UnreadableFile, match=f"--set data.request_mapping={name}$"):
        read(tmp_path, [row], None, kind)
    [mapped], _ = read(tmp_path, [row], name, kind)
    assert isinstance(mapped, RawRequest)
    [_, rejection], _ = read(tmp_path, [OURS, row], None)
    assert rejection.reasons[0].endswith(f"--set data.request_mapping={name}")


def test_fields_of_ones_own_by_their_paths(tmp_path):
    row = {
        "Ticket": {"number": 17, "opened": "2026-03-02"},
        "who": [{"mail": "a@example.com"}, {"mail": "b@example.com"}],
        "customer.id": 4711,
        "name": "Jo",
        "status": "open",
    }
    mapping = {
        "ticket.number": "request_id",
        "Ticket.opened": "received_at",
        "who.mail": "aliases",
        "name": "aliases",
        "customer.id": "subject_id",
    }
    [mapped], warnings = read(tmp_path, [row], mapping)
    assert asked(mapped) == {
        "request_id": "17",
        "received_at": "2026-03-02T00:00:00Z",
        "subject_id": "4711",
        "aliases": ["a@example.com", "b@example.com", "Jo"],
    }
    assert warnings == ["requests.jsonl: passed over what is no field of a request: `status`"]


def test_columns_of_ones_own_in_csv(tmp_path):
    content = 'Ticket no;Opened;Customer;Also;Mail\n0017;2026-03-02;P-1;"a; b";c\n'
    mapping = {
        "ticket NO": "request_id",
        "Opened": "received_at",
        "Customer": "subject_id",
        "Also": "aliases",
        "Mail": "aliases",
    }
    [row], warnings = read(tmp_path, content, mapping, "requests.csv")
    assert asked(row) == {
        "request_id": "0017",
        "received_at": "2026-03-02T00:00:00Z",
        "subject_id": "P-1",
        "aliases": ["a", "b", "c"],
    }
    assert warnings == []


def test_one_field_from_two_places_is_refused(tmp_path):
    [rejection], _ = read(tmp_path, [{**OURS, "id": 3}], {"id": "request_id"})
    assert rejection.reasons == ["gives the field `request_id` twice; keep one"]


def test_a_mapping_that_leads_nowhere_is_refused(tmp_path):
    with pytest.raises(InputError) as error:
        read(tmp_path, [OURS], {"id": "requestid", "a": "subject_id", "b": "subject_id"})
    assert [problem.split(";")[0] for problem in error.value.problems] == [
        "data.request_mapping: id: `requestid` is no field of a request",
        "data.request_mapping: more than one field is mapped to `subject_id`, which is no list",
    ]
