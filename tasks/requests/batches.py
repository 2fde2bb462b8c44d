"""Between ledger and workspace: which requests a run takes, and what it tells the ledger afterwards.

Every function can be repeated after a kill. Knows neither what the steps do nor what people decide.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice

from filelock import FileLock, Timeout

from tasks.params import Params
from tasks.requests.suppressions import suppression_list
from tasks.stamp import digest
from tasks.validation.tables import read_refused, read_requests, write_requests
from tasks.workspace import Extraction, Place, Workspace, home, intake_folder, ledger_location, pseudonyms, run_folder
from unilogit.data.inbox import SETTLED, Inbox, scan_inbox
from unilogit.data.locations import sha256_location
from unilogit.data.requests import Rejection
from unilogit.data.rows import PROBLEMS_SHOWN
from unilogit.errors import AnotherRuns, InputError
from unilogit.files import sha256_json, write_json, write_text
from unilogit.ledger import Ledger, Receipt


@contextmanager
def one_run_at_a_time() -> Iterator[None]:
    """Hold the right to work on batches, of this home and of the ledger, which other machines may share.

    Raises:
        AnotherRuns: another run holds it.
    """
    with _home_lock("unlearn"), open_ledger() as ledger, ledger.run_lock():
        yield


@contextmanager
def one_reconciliation_at_a_time(patience: float = 0) -> Iterator[None]:
    """Hold the right to change champions and write certificates, which a run of hours does not keep from anybody.

    Args:
        patience: seconds to wait for another process.

    Raises:
        AnotherRuns: another process holds it.
    """
    with _home_lock("reconcile", patience):
        yield


@contextmanager
def _home_lock(kind: str, patience: float = 0) -> Iterator[None]:
    """A lock of this home; the system frees it when the process dies."""
    home().mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(home() / f"{kind}.lock", timeout=patience):
            yield
    except Timeout:
        raise AnotherRuns(f"another run is at work in {home()}; wait for it to end, then try again") from None


def open_ledger() -> Ledger:
    return Ledger(ledger_location())


@dataclass(frozen=True)
class TakenIn:
    """What taking in one file did, what is odd about it, and why its first refused rows were refused."""

    receipt: Receipt
    warnings: list[str]
    reasons: list[str]

    def __str__(self) -> str:
        told = [f"warning: {sentence}" for sentence in (*self.warnings, *self.reasons)]
        return "\n".join([*told, str(self.receipt)])


def file_key(file: str, params: Params) -> str:
    """Digest by which the ledger knows a request file: of its content, and of the form that it is read in."""
    content, mapping = sha256_location(file, pseudonyms().location(file)), params.data.request_mapping
    return content if mapping is None else sha256_json([content, mapping])


def new_in(requests: str, params: Params) -> Inbox:
    """The files of an inbox that the ledger has not taken in yet, by content, and what is passed over.

    Raises:
        InputError: there is no such file or folder.
        TemporaryError: it cannot be reached.
    """
    name = pseudonyms().location(requests)
    inbox = scan_inbox(requests, params.data.request_mapping, name=name)
    if inbox.waiting:  # most likely it was put there a moment ago
        time.sleep(SETTLED)
        inbox = scan_inbox(requests, params.data.request_mapping, name=name)
    with open_ledger() as ledger:
        return replace(inbox, files=[file for file in inbox.files if not ledger.knows_file(file_key(file, params))])


def take_in(file: str, params: Params, run: str) -> TakenIn:
    """Read and validate a request file and give its good rows to the ledger, its bad rows to quarantine.

    What was set aside, and the Data Docs that say why, stay in a workspace of the file's own. A file that as a whole
    cannot be read is one refused row.

    Args:
        file: path or URL.

    Raises:
        InputError: it cannot be reached.
    """
    from tasks.steps.intake import STEP, no_search_for_garbage

    sha256 = file_key(file, params)
    workspace = Workspace(intake_folder(sha256))
    outcome = STEP.run(workspace, params.model_copy(update={"data": params.data.model_copy(update={"requests": file})}))
    names = [*(row.file for row in islice(read_requests(workspace), 1))]
    names += [row.file for row in islice(read_refused(workspace), 1)]
    name = names[0] if names else sha256[:12]  # not the file's own name, which may be a person's
    begin = datetime.now(UTC)
    with open_ledger() as ledger, no_search_for_garbage():
        receipt = ledger.receive(name, sha256, read_requests(workspace), read_refused(workspace), run)
        refused = ledger.rejections(PROBLEMS_SHOWN, begin)  # the ledger refuses what intake could not know
        reasons = [str(Rejection(file=row.file, row=row.row, reasons=row.reasons, raw="")) for row in refused]
    return TakenIn(receipt, outcome.result.warnings, reasons)


Look = Callable[[str, Params], Inbox]
Take = Callable[[str, Params, str], TakenIn]


def take_in_new(requests: str, params: Params, run: str, look: Look = new_in, take: Take = take_in) -> list[str]:
    """Take in every new file of an inbox, and print what became of it; a file that cannot be read stops no other.

    Args:
        look: says which files are new.
        take: takes one in.

    Returns:
        What is wrong, if there were new files and no request in them was new; else nothing.

    Raises:
        InputError: there is no such file or folder.
        TemporaryError: it cannot be reached.
    """
    inbox = look(requests, params)
    for sentence in (*inbox.waiting, *inbox.strays):
        print(f"warning: {sentence}")
    problems: list[str] = []
    usable = 0
    for file in inbox.files:
        try:
            taken = take(file, params, run)
        except InputError as error:
            problems += error.problems
            print("\n".join(f"warning: {problem}" for problem in error.problems))
            continue
        print(taken)
        problems += taken.reasons
        usable += taken.receipt.new
    return [] if usable else problems


@dataclass(frozen=True)
class TakenBatch:
    """A batch and its workspace, which holds its requests and those before it, which stay forgotten.

    Attributes:
        corpus: digest of the corpus when it was taken up.
    """

    batch_id: str
    workspace: Workspace
    requests: int
    resumed: bool
    corpus: str

    def __str__(self) -> str:
        taken = "taken up again" if self.resumed else "opened"
        return f"batch {self.batch_id} {taken}: {self.requests} requests, workspace {self.workspace.root}"


def take_batch(params: Params, retry_failed: bool, run: str) -> TakenBatch | None:
    """The open batch, or a new one of pending requests and of those watched that were not looked for in this corpus.

    Watched for requests.watch_days, a request is closed first.

    Returns:
        None when nothing is pending.

    Raises:
        InputError: the suppression list was made under another key than this home's.
    """
    corpus = digest(params.data.corpus) or ""
    with open_ledger() as ledger:
        ledger.close_watched(params.requests.watch_days, corpus, datetime.now(UTC), run)
        suppressions = suppression_list(ledger)
        batch = ledger.open_batch(
            params.batch.max_requests, run, corpus, params.batch.max_attempts, retry_failed=retry_failed
        )
        if batch is None:
            return None
        earlier = ledger.earlier_requests(batch.batch_id)
    workspace = Workspace(run_folder(batch.batch_id))
    # A batch is what it was when it was taken: a resumed run writes only what a kill kept from being written.
    for place, write in {
        Place.REQUESTS: lambda file: write_requests(file, batch.requests),
        Place.EARLIER_REQUESTS: lambda file: write_requests(file, earlier),
        Place.APPROVALS: lambda file: write_json(file, batch.approved),
        Place.SNAPSHOTS: lambda file: write_json(file, _snapshots(workspace)),
        Place.SUPPRESSIONS: lambda file: write_json(file, suppressions.model_dump()),
    }.items():
        if not workspace.has(place):
            write(workspace.path(place))
    _put_earlier_counts(workspace)
    _take_over_validation(workspace, params)
    return TakenBatch(batch.batch_id, workspace, len(batch.requests), batch.resumed, corpus)


def _snapshots(workspace: Workspace) -> list[str]:
    """What other batches found: the people whom it names stay forgotten, whatever the corpus still holds of them."""
    runs = (Workspace(folder) for folder in sorted(workspace.root.parent.iterdir()) if folder != workspace.root)
    return [str(run.path(Place.FORGET)) for run in runs if run.has(Place.FORGET)]


def _put_earlier_counts(workspace: Workspace) -> None:
    """Choose, once, the validated corpus that the batch's is compared with: that of the latest run."""
    chosen, latest = workspace.path(Place.EARLIER_CORPUS_COUNTS), _latest_validation(workspace)
    if latest and not chosen.exists() and not workspace.has(Place.CORPUS_COUNTS):
        write_text(chosen, latest.path(Place.CORPUS_COUNTS).read_text(encoding="utf-8"))


def _take_over_validation(workspace: Workspace, params: Params) -> None:
    """Where the latest run has validated the corpus as it is now, it is not validated again."""
    from tasks.steps.validate import STEP

    latest = _latest_validation(workspace)
    if latest and not workspace.has(Place.CORPUS_COUNTS):
        STEP.take_over(workspace, params, latest)


def _latest_validation(workspace: Workspace) -> Workspace | None:
    runs = [Workspace(folder) for folder in workspace.root.parent.iterdir() if folder != workspace.root]
    validated = [run for run in runs if run.has(Place.CORPUS_COUNTS)]
    return max(validated, key=lambda run: run.path(Place.CORPUS_COUNTS).stat().st_mtime_ns, default=None)


def record_extraction(batch: TakenBatch, extraction: Extraction, run: str) -> None:
    """Requests of which nothing was found are watched; those that match suspiciously much wait for a person."""
    with open_ledger() as ledger:
        ledger.watch(batch.batch_id, extraction.not_found, batch.corpus, run)
        ledger.hold(batch.batch_id, extraction.held, run)


def begin_training(batch: TakenBatch, run: str) -> bool:
    """Mark that from here on nobody can withdraw; False when somebody of the batch has, so that it is put back."""
    with open_ledger() as ledger:
        if not ledger.begin_training(batch.batch_id, run):
            return True
        ledger.put_back(batch.batch_id, run, "a request was withdrawn")
        return False


def put_back(batch: TakenBatch, run: str) -> None:
    """A batch that cannot be worked on is closed, its requests are pending again."""
    with open_ledger() as ledger:
        ledger.put_back(batch.batch_id, run, "its input could not be used")


def spare_attempt(batch: TakenBatch) -> None:
    """What may pass ended this attempt: it is none of the batch.max_attempts."""
    with open_ledger() as ledger:
        ledger.spare_attempt(batch.batch_id)


def record_unlearned(batch: TakenBatch, run: str) -> None:
    with open_ledger() as ledger:
        ledger.unlearned(batch.batch_id, run)


def finish(batch: TakenBatch, run: str, passed: bool | None) -> None:
    """Close the batch: its requests await promotion, or failed, or (None) there was nothing to do for them."""
    with open_ledger() as ledger:
        ledger.finish_batch(batch.batch_id, passed, run)
