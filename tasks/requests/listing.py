"""Requests on the terminal: every one with its state, and the way of one."""

from rich.console import Console
from rich.table import Table

from tasks.requests.batches import open_ledger


def print_requests(state: str | None, rejected: bool) -> None:
    """Print the ledger's requests, or the rows that never became one."""

    console = Console()
    with open_ledger() as ledger:
        if rejected:
            table = Table("row", "taken in", "reasons", title="Refused rows", title_justify="left")
            for refused in ledger.rejections():
                table.add_row(
                    f"{refused.file}:{refused.row}",
                    f"{refused.at:%Y-%m-%d %H:%M}",
                    "\n".join(refused.reasons),
                )
        else:
            table = Table("request", "state", "received", "due", "batch", "row", title="Deletion requests")
            for request in ledger.requests(state):
                table.add_row(
                    request.request_id,
                    str(request.state),
                    f"{request.received_at:%Y-%m-%d}",
                    f"{request.due_at:%Y-%m-%d}",
                    request.batch_id or "",
                    request.origin,
                )
    console.print(table if table.row_count else "none")


def print_history(request_id: str) -> None:
    """Print every move of a request.

    Raises:
        InputError: there is no such request.
    """

    table = Table("when (UTC)", "from", "to", "why", "run", title=request_id, title_justify="left")
    with open_ledger() as ledger:
        for move in ledger.history(request_id):
            table.add_row(
                f"{move.at:%Y-%m-%d %H:%M:%S}",
                str(move.from_state or ""),
                str(move.to_state),
                move.why,
                move.run,
            )
    Console().print(table)
