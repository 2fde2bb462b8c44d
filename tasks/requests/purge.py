"""The purge: what the forgotten said, and what their requests asked, leaves this home when its time is up.

Hashes, counts, pseudonyms and certificates stay. Every part can be repeated: a purge that was killed is gone on from by
the next one, which its plan (purge_plan.py) tells what there was to do. What is kept how long is in docs/purge.md.
"""

import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq

from tasks.measurements import entry_with, unused_since
from tasks.params import Params
from tasks.private import make_private
from tasks.requests.batches import file_key, one_run_at_a_time, open_ledger
from tasks.requests.decoding import is_parquet
from tasks.requests.erasure import Erasure
from tasks.requests.objects import SCRATCH, stored_objects
from tasks.requests.purge_plan import Plan, erasure, plan_file, plan_purge
from tasks.requests.remains import Search, files_of, is_of_model, models_that_may_know, why_left
from tasks.requests.suppressions import put_on_list
from tasks.workspace import (
    Place,
    Workspace,
    defects_folder,
    home,
    intake_folder,
    intake_folders,
    measurements,
    reproductions,
    run_folder,
)
from unilogit.data.locations import is_url
from unilogit.files import sha256_file
from unilogit.ledger import Ledger

_OF_PEOPLE = (Place.REPORT, Place.PSEUDONYMS, Place.CHECKPOINTS)
"""What only shows or goes on from the forgotten of a batch: it goes with any of them."""
_COUNTS = (
    *(Place.REQUEST_COUNTS, Place.CORPUS_COUNTS, Place.EARLIER_CORPUS_COUNTS, Place.EXTRACTION, Place.DATA_POINTER),
    *(Place.PARENT, Place.RETAIN_MODEL, Place.TRAINING, Place.LOSS_CURVES, Place.RUN_PARAMS, Place.ATTACK_METRICS),
    *(Place.METRICS, Place.BASELINES, Place.GATES, Place.VERDICT, Place.REGISTRATION, Place.VERSION_PARAMS),
    *(Place.APPROVALS, Place.SNAPSHOTS, Place.SUPPRESSIONS, Place.SUPPRESSED),
)
"""What holds nobody's data by its contract, and is the evidence of a batch: it stays, whatever words are in it."""


@dataclass
class Purged:
    """What a purge did.

    Attributes:
        waits: why it did nothing, or empty.
        requests: references of those whose content is forgotten.
        rewritten: files that hold others' rows as well, and were written again without theirs.
        removed: files and folders.
        objects: how many objects left DVC's cache and remote.
        closed: how many files and folders others could read until now.
        shared: how many of their strings were not looked for, as others say them as well.
        left: what still holds something of theirs, each with why, and with what to do where there is something.
        models: folders of models that were made before they were forgotten, and may still know them.
    """

    waits: str = ""
    requests: list[str] = field(default_factory=list)
    rewritten: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    objects: int = 0
    closed: int = 0
    shared: int = 0
    left: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        if self.waits:
            return f"nothing is purged yet: {self.waits}"
        told = [
            f"{len(self.requests)} requests purged: {len(self.rewritten)} files rewritten, {len(self.removed)} removed,"
            f" {self.objects} objects removed from DVC"
        ]
        if self.closed:
            told.append(f"{self.closed} files and folders were open to others, and are closed")
        if self.shared:
            told.append(f"{self.shared} of their strings are said by others as well, and were not looked for")
        told += [f"removed: {place}" for place in self.removed]
        told += [f"warning: still holds something of theirs: {place}" for place in self.left]
        told += [f"may still know them: {place}" for place in self.models]
        return "\n".join(told)


def purge(params: Params, now: datetime, run: str) -> Purged:
    """Forget the content of requests that ended `requests.keep_days` ago, and of the records that they were about.

    Args:
        now: aware.
        run: what the audit table calls this run.

    Raises:
        InputError: another run is at work, or the remote of DVC cannot be reached: what was begun is gone on with
            by the next purge.
    """
    with one_run_at_a_time(), open_ledger() as ledger:
        if still_open := [batch.batch_id for batch in ledger.batches() if batch.finished_at is None]:
            return Purged(waits=f"batch {still_open[0]} is not finished; end it with `unilogit run`, then purge again")
        return _Purge(params, now, ledger).purge(run)


class _Purge:
    """One purge, while no batch is worked on."""

    def __init__(self, params: Params, now: datetime, ledger: Ledger) -> None:
        self.params, self.ledger = params, ledger
        self.latest = now - timedelta(days=params.requests.keep_days)
        self.now = now
        batches = [Workspace(run_folder(batch.batch_id)) for batch in ledger.batches()]
        self.runs = [workspace for workspace in batches if workspace.root.is_dir()]
        self.intakes = [Workspace(folder) for folder in intake_folders() if not folder.name.startswith(SCRATCH)]
        self.done = Purged()

    def purge(self, run: str) -> Purged:
        self.done.closed = make_private(home())
        for workspace in (*self.runs, *self.intakes, Workspace(measurements())):
            workspace.sweep()
        for folder in (home(), intake_folder("x").parent):
            for scratch in folder.glob(f"{SCRATCH}*"):  # a half-written plan is called so, too
                _remove(scratch)
        self._remove_old_quarantine()
        self._remove(reproductions())
        for entry in unused_since(self.latest):
            self._remove(entry)
        plan = Plan.begun(self.ledger) + plan_purge(self.ledger, self.runs, self.params.requests.keep_days, self.now)
        if plan.references:
            put_on_list(plan.references, self.ledger, self.runs)  # first, while it is known whose records these are
            plan.write()
            self._erase(plan, run)
        else:
            self._remove_taken_in()
        return self.done

    def _erase(self, plan: Plan, run: str) -> None:
        theirs, self.done.shared = erasure(plan, self.runs, self.intakes)
        search = Search(theirs)
        for batch_id in plan.batches:
            for place in _OF_PEOPLE:
                self._remove(Workspace(run_folder(batch_id)).path(place))
        with stored_objects() as objects:
            held = [file for file in self._files(objects.folders if objects else []) if search.finds(file)]
            for file in held:
                self._clear(file, theirs)
            self._remove_taken_in()
            self.done.objects = objects.remove_those(search.finds) if objects else 0
        self.ledger.purge(plan.references, run)
        self.done.requests = plan.references
        for file in held:
            if file.exists() and search.finds(file):
                self.done.left.append(f"{self._name(file)}: {why_left(file, self.params)}")
        self.done.left += [f"{self._name(file)}: cannot be read ({why})" for file, why in search.unreadable.items()]
        if is_url(self.params.data.requests):
            self.done.left.append(f"{self.params.data.requests}: is not looked through; remove there what was taken in")
        self.done.models = models_that_may_know(plan.batches, self.runs)
        plan_file().unlink()

    def _files(self, left_out: list[Path]) -> Iterator[Path]:
        """Every file that may hold something of theirs: of this home, the corpus, and what requests came in."""
        data = self.params.data
        roots = [home(), Path(data.requests), data.corpus, Path(".dvc", "cache")]
        seen = {plan_file()}
        for root in (*roots, *([data.holdout] if data.holdout else [])):
            for file in files_of(root.absolute(), left_out):
                if file not in seen:
                    seen.add(file)
                    yield file

    def _clear(self, file: Path, theirs: Erasure) -> None:
        """Take what is theirs out of a file that is ours to change."""
        if entry := entry_with(file):
            self._remove(entry)
            return
        owner = next((space for space in (*self.runs, *self.intakes) if space.root in file.parents), None)
        is_logged = home() / "mlartifacts" in file.parents or defects_folder() in file.parents
        is_evidence = owner is not None and file in [owner.path(place) for place in _COUNTS]
        if is_of_model(file) or is_evidence or not (owner or is_logged):
            return
        if owner and (is_parquet(file) or file.suffix == ".jsonl"):
            theirs.rewrite(file)
            self.done.rewritten.append(self._name(file))
        else:
            self._remove(file)

    def _remove_old_quarantine(self) -> None:
        for workspace in (*self.runs, *self.intakes):
            for place in (Place.REFUSED_REQUESTS, Place.REFUSED_RECORDS):
                self._remove_old(workspace.path(place))
        for file in sorted(defects_folder().glob("*")):
            self._remove_old(file)

    def _remove_old(self, file: Path) -> None:
        if file.exists() and file.stat().st_mtime <= self.latest.timestamp():
            self._remove(file)

    def _remove_taken_in(self) -> None:
        """Remove request files, and what was made of them, once all that they brought is over."""
        finished = {workspace.root for workspace in self.intakes if _is_over(workspace, self.latest)}
        inbox = Path(self.params.data.requests)
        for file in sorted(inbox.iterdir()) if inbox.is_dir() else ():
            content = file_key(str(file), self.params) if file.is_file() else None
            if content and intake_folder(content) in finished and self.ledger.knows_file(content):
                self._remove(file)
        for folder in sorted(finished):
            self._remove(folder)

    def _remove(self, path: Path) -> None:
        if path.exists():
            name = self._name(path)
            _remove(path)
            self.done.removed.append(name)

    def _name(self, path: Path) -> str:
        """What a path is called: the name of a request file may be a person's, and is not told."""
        inbox = Path(self.params.data.requests).absolute()
        content = sha256_file(path) if path.is_file() and path.absolute().is_relative_to(inbox) else None
        return f"{inbox}: a file of SHA-256 {content}" if content else str(path)


def _is_over(intake: Workspace, latest: datetime) -> bool:
    """Whether a file was taken in by then, and no request that came with it is left, nor a row that was refused."""
    requests, refused = intake.path(Place.REQUESTS), intake.path(Place.REFUSED_REQUESTS)
    if not requests.exists() or requests.stat().st_mtime > latest.timestamp():
        return False
    return not pq.read_metadata(requests).num_rows and not (refused.exists() and refused.stat().st_size)


def _remove(path: Path) -> None:
    """Remove a file or a folder; of one that a kill leaves half removed, the next purge finds the rest as scratch."""
    if path.is_dir():
        shutil.rmtree(path.rename(path.with_name(f"{SCRATCH}{secrets.token_hex(8)}")))
    else:
        path.unlink()
