"""Between ledger and workspace: which requests a run takes, and what it tells the ledger afterwards.

The only code of the pipeline that knows the ledger. Every function can be repeated after a kill.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from filelock import FileLock, Timeout

from tasks.params import Params
from tasks.validation.tables import read_refused, read_requests, write_requests
from tasks.workspace import Place, Workspace, home, intake_folder, ledger_file, run_folder
from unilogit.data.inbox import scan_inbox
from unilogit.data.locations import file_name, sha256_location
from unilogit.errors import InputError
from unilogit.files import write_text
from unilogit.ledger import Ledger, Receipt


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
    return Ledger(ledger_file())


def new_files(requests: str) -> list[str]:
    """The request files that the ledger has not taken in yet, by content.

    Raises:
        InputError: there is no such file or folder, or a file of an unknown kind in it.
    """
    with open_ledger() as ledger:
        return [file for file in scan_inbox(requests, wait=False).files if not ledger.knows_file(_content(file))]


def _content(file: str) -> str:
    """Digest by which the ledger knows a file."""
    return sha256_location(file)


def take_in(file: str, params: Params, run: str) -> Receipt:
    """Read and validate a request file and give its good rows to the ledger, its bad rows to quarantine.

    What was set aside, and the Data Docs that say why, stay in a workspace of the file's own.

    Raises:
        InputError: the file as a whole cannot be read.
    """
    from tasks.steps.intake import STEP

    workspace = Workspace(intake_folder(_content(file)))
    STEP.run(workspace, params.model_copy(update={"data": params.data.model_copy(update={"requests": file})}))
    with open_ledger() as ledger:
        requests, refused = list(read_requests(workspace)), list(read_refused(workspace))
        return ledger.receive(file_name(file), _content(file), requests, refused, run)


@dataclass(frozen=True)
class TakenBatch:
    """A batch and its workspace, which holds its requests and those before it, which stay forgotten."""

    batch_id: str
    workspace: Workspace
    requests: int
    resumed: bool

    def __str__(self) -> str:
        taken = "taken up again" if self.resumed else "opened"
        return f"batch {self.batch_id} {taken}: {self.requests} requests, workspace {self.workspace.root}"


def take_batch(cap: int, retry_failed: bool, run: str) -> TakenBatch | None:
    """The open batch, or a new one of at most `cap` pending requests; None when nothing is pending."""
    with open_ledger() as ledger:
        batch = ledger.open_batch(cap, run, retry_failed)
        if batch is None:
            return None
        earlier = ledger.earlier_requests(batch.batch_id)
    workspace = Workspace(run_folder(batch.batch_id))
    write_requests(workspace.path(Place.REQUESTS), batch.requests)
    write_requests(workspace.path(Place.EARLIER_REQUESTS), earlier)
    _put_earlier_counts(workspace)
    return TakenBatch(batch.batch_id, workspace, len(batch.requests), batch.resumed)


def _put_earlier_counts(workspace: Workspace) -> None:
    """Choose, once, the validated corpus that the batch's is compared with: that of the latest run."""
    chosen = workspace.path(Place.EARLIER_CORPUS_COUNTS)
    runs = [Workspace(folder) for folder in workspace.root.parent.iterdir() if folder != workspace.root]
    counts = [run.path(Place.CORPUS_COUNTS) for run in runs if run.has(Place.CORPUS_COUNTS)]
    if counts and not chosen.exists() and not workspace.has(Place.CORPUS_COUNTS):
        latest = max(counts, key=lambda file: file.stat().st_mtime_ns)
        write_text(chosen, latest.read_text(encoding="utf-8"))


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
