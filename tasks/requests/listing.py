"""Requests on the terminal: as a table for people, or as a JSON line each for programs."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from rich.table import Table

from tasks.report.console import wide_console
from tasks.requests.batches import open_ledger
from tasks.workspace import intake_folders
from unilogit.ledger import LedgerRow


def print_requests(state: str | None, limit: int | None, as_json: bool) -> None:
    """Print the ledger's requests, the most urgent first.

    Raises:
        InputError: there is no such state.
    """
    with open_ledger() as ledger:
        _print_rows(ledger.requests(state, limit), as_json, "Deletion requests")


def print_overdue(hours: float, as_json: bool) -> int:
    """Print the requests that are late or will be within some hours; how many they are."""
    with open_ledger() as ledger:
        rows = list(ledger.overdue(datetime.now(UTC), timedelta(hours=hours)))
    _print_rows(rows, as_json, "Late, or will be before the next run")
    return len(rows)


def _print_rows(rows: Iterable[LedgerRow], as_json: bool, title: str) -> None:
    if as_json:
        for row in rows:
            _print_json(asdict(row))
        return
    table = Table("request", "state", "received", "due", "batch", "row", title=title, title_justify="left")
    for row in rows:
        days = (f"{time:%Y-%m-%d}" for time in (row.received_at, row.due_at))
        table.add_row(row.request_id, str(row.state), *days, row.batch_id or "", row.origin)
    _print_table(table)


def print_request(name: str, as_json: bool) -> None:
    """Print where a request stands, and every move of it.

    Raises:
        InputError: there is no such request.
    """
    with open_ledger() as ledger:
        row, moves = ledger.find(name), list(ledger.history(name))
    if as_json:
        _print_json({**asdict(row), "moves": [asdict(move) for move in moves]})
        return
    facts = Table("", "", title=row.request_id, title_justify="left", show_header=False)
    for title, value in asdict(row).items():
        if value not in (None, "", [], {}):
            facts.add_row(title.replace("_", " "), _text(value))
    _print_table(facts)
    table = Table("when (UTC)", "from", "to", "why", "run or person")
    for move in moves:
        when = f"{move.at:%Y-%m-%d %H:%M:%S}"
        table.add_row(when, str(move.from_state or ""), str(move.to_state), move.why, move.run)
    _print_table(table)


def print_refused(as_json: bool) -> None:
    """Print the rows that never became a request, and where they are kept."""
    with open_ledger() as ledger:
        rejections = list(ledger.rejections())
    if as_json:
        for refused in rejections:
            _print_json(asdict(refused))
        return
    table = Table("row", "taken in", "reasons", title="Refused rows", title_justify="left")
    for refused in rejections:
        table.add_row(f"{refused.file}:{refused.row}", f"{refused.at:%Y-%m-%d %H:%M}", "\n".join(refused.reasons))
    _print_table(table)
    for folder in intake_folders():
        print(f"kept in {folder}")


def _print_table(table: Table) -> None:
    wide_console().print(table if table.row_count else "none")


def _print_json(value: Mapping[str, object]) -> None:
    print(json.dumps(value, default=_text, ensure_ascii=False))


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
