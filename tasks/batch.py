"""Between ledger and workspace: which requests a run takes, and what it tells the ledger afterwards.

The only step code that knows the ledger. Every function can be repeated after a kill.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from tasks.home import home, run_folder
from unilogit.data.request_files import request_files
from unilogit.errors import InputError
from unilogit.files import read_json, sha256_file, write_json, write_parquet
from unilogit.ledger import Ledger, Receipt
from unilogit.params import Params


@contextmanager
def one_run_at_a_time() -> Iterator[None]:
    """Hold this home's lock; the system frees it when the process dies.

    Raises:
        InputError: another run holds it.
    """
    home().mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(home() / "unlearn.lock", timeout=0):
            yield
    except Timeout:
        raise InputError(f"another run is at work in {home()}; wait for it to end, then try again") from None


def open_ledger() -> Ledger:
    return Ledger(home() / "ledger.db")


def golden_store() -> Path:
    """Where golden targets that runs trained are kept."""
    return home() / "golden"


def new_files(requests: Path) -> list[Path]:
    """The request files that the ledger has not taken in yet, by content.

    Raises:
        InputError: there is no such file or folder, or a file of an unknown kind in it.
    """
    with open_ledger() as ledger:
        return [file for file in request_files(requests) if not ledger.knows_file(sha256_file(file))]


def take_in(file: Path, run: str) -> Receipt:
    """Read and validate a request file and give its good rows to the ledger, its bad rows to quarantine.

    What was set aside, and the Data Docs that say why, stay in `home()/intake/<digest>`.

    Raises:
        InputError: the file as a whole cannot be read.
    """
    from tasks.intake import run_intake
    from tasks.validate import judge_requests, read_requests

    digest = sha256_file(file)
    folder = home() / "intake" / digest[:16]
    run_intake(file, folder)
    _, refused = judge_requests(folder)
    with open_ledger() as ledger:
        return ledger.receive(file.name, digest, read_requests(folder), refused, run)


@dataclass(frozen=True)
class TakenBatch:
    """A batch and its workspace.

    Attributes:
        current, earlier: Parquet files of this batch's requests and of those before it, which stay forgotten.
    """

    batch_id: str
    workspace: Path
    current: Path
    earlier: Path
    requests: int
    resumed: bool

    def __str__(self) -> str:
        taken = "taken up again" if self.resumed else "opened"
        return f"batch {self.batch_id} {taken}: {self.requests} requests, workspace {self.workspace}"


def take_batch(cap: int, retry_failed: bool, run: str) -> TakenBatch | None:
    """The open batch, or a new one of at most `cap` pending requests; None when nothing is pending."""
    import pandas as pd

    with open_ledger() as ledger:
        batch = ledger.open_batch(cap, run, retry_failed)
        if batch is None:
            return None
        earlier = ledger.earlier_requests(batch.batch_id)
    folder = run_folder(batch.batch_id) / "batch"
    columns = ["request_id", "subject_id", "record_ids", "text", "file", "row"]
    for name, requests in (("current", batch.requests), ("earlier", earlier)):
        rows = [request.model_dump(include=set(columns)) for request in requests]
        write_parquet(folder / f"{name}.parquet", pd.DataFrame(rows, columns=columns))
    return TakenBatch(
        batch_id=batch.batch_id,
        workspace=folder.parent,
        current=folder / "current.parquet",
        earlier=folder / "earlier.parquet",
        requests=len(batch.requests),
        resumed=batch.resumed,
    )


@dataclass(frozen=True)
class Parent:
    """The model a batch starts from; `version` is None for the base model."""

    model: str
    version: str | None


def choose_parent(workspace: Path, params: Params) -> Parent:
    """The champion, or the base model while there is none; the choice of a batch is made once.

    Raises:
        InputError: the model cannot be found.
    """
    from tasks.tracking import champion_model

    chosen = workspace / "parent.json"
    if chosen.exists():
        facts = read_json(chosen)
        if facts["version"] is None or Path(facts["model"]).is_dir():
            return Parent(facts["model"], facts["version"])
    champion = champion_model(params.register_.registered_model, workspace / "parent")
    parent = Parent(str(champion[0]), champion[1]) if champion else Parent(_base(params), None)
    write_json(chosen, {"schema_version": 1, "model": parent.model, "version": parent.version})
    return parent


def _base(params: Params) -> str:
    from transformers import AutoConfig

    from tasks.unlearn import why_no_model

    base = params.model.base
    try:
        AutoConfig.from_pretrained(base)
    except (OSError, ValueError) as error:
        raise InputError(
            f"params.yaml: model.base = {base!r}: no model there ({why_no_model(error)});"
            " give a Hugging Face folder or hub name"
        ) from None
    return base


def record_no_match(batch: TakenBatch, request_ids: list[str], run: str) -> None:
    """Close requests none of whose selectors is in the corpus."""
    if request_ids:
        with open_ledger() as ledger:
            ledger.no_match(batch.batch_id, request_ids, run)


def record_unlearned(batch: TakenBatch, run: str) -> None:
    with open_ledger() as ledger:
        ledger.unlearned(batch.batch_id, run)


def finish(batch: TakenBatch, run: str, passed: bool | None) -> None:
    """Close the batch: its requests await promotion, or failed, or (None) there was nothing to do for them."""
    with open_ledger() as ledger:
        ledger.finish_batch(batch.batch_id, passed, run)


def print_requests(state: str | None, rejected: bool) -> None:
    """Print the ledger's requests, or the rows that never became one."""
    from rich.console import Console
    from rich.table import Table

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
    from rich.console import Console
    from rich.table import Table

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
