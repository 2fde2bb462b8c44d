"""Deletion requests in the form of somebody else: OpenDSR, the Data Rights Protocol, or a form that params.yaml maps.

Says of a row in their form what it is in ours. Knows nothing of files.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from unilogit.data.cells import reach
from unilogit.data.request_fields import FIELDS, LISTS, REQUIRED, column_name, csv_list
from unilogit.data.row import DamagedError
from unilogit.errors import InputError
from unilogit.files import JsonObject

KNOB = "data.request_mapping"
_MOST_NAMES = 1000  # that are remembered of a file whose rows have names of their own
NamedForm = Literal["opendsr", "data_rights_protocol"]


@dataclass(frozen=True)
class Form:
    """Somebody else's form of a request.

    Attributes:
        title: what people call it.
        marks: fields of which a row in this form has one, and no row in ours.
        known: all its fields that are understood, or that say nothing about whom and what to forget.
        read: a row in this form → its fields in ours. Raises ValueError with what keeps it from being a request.
    """

    title: str
    marks: frozenset[str]
    known: frozenset[str]
    read: Callable[[JsonObject], JsonObject]


def _open_dsr(row: JsonObject) -> JsonObject:
    """https://github.com/opengdpr/OpenDSR/blob/master/specification.md, sections 5 and 7."""
    _require(row, "subject_request_type", "erasure")
    identities = row.get("subject_identities")
    if not isinstance(identities, list) or not all(isinstance(identity, dict) for identity in identities):
        raise ValueError("field `subject_identities` must be a list of objects; correct it")
    if any(identity.get("identity_format", "raw") != "raw" for identity in identities):
        words = "field `subject_identities` holds hashed identities, which are in no corpus"
        raise ValueError(f"{words}; send them with identity_format raw")
    ids = [_value(entry) for entry in identities if entry.get("identity_type") == "controller_customer_id"]
    rest = [_value(entry) for entry in identities if entry.get("identity_type") != "controller_customer_id"]
    return {
        "request_id": row.get("subject_request_id"),
        "received_at": row.get("submitted_time"),
        "subject_id": ids[0] if ids else None,
        "aliases": [*ids[1:], *rest],
        "legal_basis": row.get("regulation"),
        "source": row.get("controller_id"),
    }


def _value(identity: JsonObject) -> object:
    return identity.get("identity_value", identity.get("value"))


def _data_rights_protocol(row: JsonObject) -> JsonObject:
    """https://github.com/consumer-reports-innovation-lab/data-rights-protocol, version 0.9.4, sections 2.01 and 3.04.

    The object within the signature: who took the message in has verified it.
    """
    _require(row, "exercise", "deletion")
    return {
        "request_id": row.get("agent-request-id"),
        "received_at": row.get("issued-at"),
        "aliases": [row[name] for name in ("name", "email", "phone_number") if row.get(name)],
        "legal_basis": row.get("regime"),
        "source": row.get("agent-id"),
    }


def _require(row: JsonObject, field: str, value: str) -> None:
    asked = row.get(field)
    if asked not in (value, [value]):
        raise ValueError(f"field `{field}` is not {value}: this asks for something else; take it to whom it concerns")


FORMS: dict[NamedForm, Form] = {
    "opendsr": Form(
        title="OpenDSR",
        marks=frozenset({"subject_request_id", "subject_request_type", "subject_identities"}),
        known=frozenset({
            "subject_request_id", "subject_request_type", "subject_identities", "submitted_time", "regulation",
            "controller_id", "api_version", "status_callback_urls", "skip_waiting_period",
        }),
        read=_open_dsr,
    ),
    "data_rights_protocol": Form(
        title="the Data Rights Protocol",
        marks=frozenset({"drp.version", "exercise", "agent-id", "agent-request-id"}),
        known=frozenset({
            "drp.version", "exercise", "agent-id", "agent-request-id", "business-id", "issued-at", "expires-at",
            "regime", "relationships", "status_callback", "name", "email", "email_verified", "phone_number",
            "phone_number_verified", "address_verified", "power_of_attorney", "meta",
        }),
        read=_data_rights_protocol,
    ),
}  # fmt: skip

Mapping = NamedForm | dict[str, str] | None


class FieldNames:
    """Finds the fields of a request in rows, whatever they are called there.

    Args:
        mapping: a form by name; their field (a dotted path reaches into objects) → ours; or None. Rows in our own form
            are understood beside either.
        is_csv: lists are written in a cell each.

    Attributes:
        passed_over: names of what is no field of a request, the first thousand, in order.
        seen: fields that were there.

    Raises:
        InputError: the mapping does not lead to fields of a request.
    """

    def __init__(self, mapping: Mapping, is_csv: bool) -> None:
        self._form = FORMS[mapping] if isinstance(mapping, str) else None
        self._paths = mapping if isinstance(mapping, dict) else {}
        self._is_csv = is_csv
        self._targets: dict[str, list[tuple[list[str], str]]] = {}
        for path, field in self._paths.items():
            first, *rest = path.split(".")
            self._targets.setdefault(column_name(path), []).append(([], field))
            if rest:
                self._targets.setdefault(column_name(first), []).append((rest, field))
        self._known: dict[str, list[tuple[list[str], str]]] = {}
        self.passed_over: dict[str, None] = {}
        self.seen: set[str] = set()
        problems = [
            f"{KNOB}: {path}: `{field}` is no field of a request; choose one of {', '.join(FIELDS)}"
            for path, field in self._paths.items()
            if field not in FIELDS
        ]
        fields = [field for field in self._paths.values() if field not in LISTS]
        problems += [
            f"{KNOB}: more than one field is mapped to `{field}`, which is no list; keep one"
            for field in sorted({field for field in fields if fields.count(field) > 1 and field in FIELDS})
        ]
        if problems:
            raise InputError(*problems)

    @property
    def of_rows(self) -> set[str]:
        """Names of which a row has one, and an envelope around rows none."""
        heads = {path.partition(".")[0] for path in self._paths}
        return {*FIELDS, *self._paths, *heads, *(mark for form in FORMS.values() for mark in form.marks)}

    def missing(self, header: list[str]) -> list[str]:
        """The required fields that a header has not.

        Raises:
            DamagedError: it has all of them, and one twice.
        """
        fields = [field for name in header for _, field in self._find(name)]
        missing = [field for field in REQUIRED if field not in fields]
        for field in () if missing else fields:
            if fields.count(field) > 1 and field not in LISTS:
                raise DamagedError(f"the header has two columns for `{field}`; remove one")
        return missing

    def foreign_form(self, row: JsonObject) -> str:
        """What to do about a row in a form that is not expected; empty where it is in ours or the expected one."""
        for name, form in FORMS.items():
            if form is not self._form and not form.marks.isdisjoint(row) and not self._is_ours(row):
                return f"looks like {form.title}; take it in with --set {KNOB}={name}"
        return ""

    def _is_ours(self, row: JsonObject) -> bool:
        return any(field == "request_id" for name in row for _, field in self._find(name))

    def cells(self, row: JsonObject) -> JsonObject:
        """The cells of a row by field of FIELDS; lists are lists, also where CSV has them in a cell.

        Raises:
            ValueError: it gives a field twice, or its form says that it does not ask to forget.
        """
        if self._form and not self._form.marks.isdisjoint(row) and not self._is_ours(row):
            self._pass_over(name for name in row if name not in self._form.known)
            cells = self._form.read(row)
            self.seen.update(name for name, cell in cells.items() if cell)
            return cells
        cells = {}
        for name, cell in row.items():
            targets = self._find(name)
            if not targets:
                self._pass_over([name])
            for path, field in targets:
                if path or field in LISTS or cells.get(field) is not None:
                    self._put(cells, field, reach(cell, path) if path else cell, name)
                else:
                    cells[field] = cell
        self.seen.update(cells)
        return cells

    def _find(self, name: str) -> list[tuple[list[str], str]]:
        """Where in a cell by this name which fields are."""
        targets = self._known.get(name)
        if targets is None:
            column = column_name(name)
            targets = self._targets.get(column) or ([([], column)] if column in FIELDS else [])
            if len(self._known) < _MOST_NAMES:
                self._known[name] = targets
        return targets

    def _put(self, cells: JsonObject, field: str, cell: object, name: str) -> None:
        if field in LISTS:
            if self._is_csv:
                try:
                    cell = csv_list(cell)
                except ValueError as error:
                    raise ValueError(f"field `{field}` {error}") from error
            elif column_name(name) != field and cell is not None and not isinstance(cell, list):
                cell = [cell]
            if isinstance(cell, list) and isinstance(cells.get(field), list):
                cell = cells[field] + cell
                del cells[field]
        if cells.get(field) is not None:
            raise ValueError(f"gives the field `{field}` twice; keep one")
        cells[field] = cell

    def _pass_over(self, names: Iterable[str]) -> None:
        if len(self.passed_over) < _MOST_NAMES:
            self.passed_over.update(dict.fromkeys(names))
