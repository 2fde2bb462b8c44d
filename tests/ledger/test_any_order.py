"""Calls in any order, legal or not, with restarts between them, against a plain dictionary."""

import tempfile
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.ledger.lives import CORPUS, LATER_CORPUS, ids, make_request, run_sql, take
from unilogit.errors import InputError
from unilogit.ledger import MOVES, IllegalMove, Ledger, RequestState

NAMES = [f"r{number}" for number in range(6)]
SETTINGS = {"stateful_step_count": 30, "deadline": None}
names = st.lists(st.sampled_from(NAMES), max_size=4, unique=True)
corpora = st.sampled_from([CORPUS, LATER_CORPUS])


@dataclass
class Known:
    """What a request must be, by this test's own book-keeping."""

    state: str = "validated"
    batch: str | None = None
    moves: int = 2
    corpus: str | None = None
    reasons: list[str] = field(default_factory=list)
    approvals: list[str] = field(default_factory=list)
    certificate: str | None = None
    purged: bool = False


@dataclass
class Taken:
    """What a batch must be."""

    members: list[str]
    withdrawn: set[str] = field(default_factory=set)
    attempts: int = 1
    training: bool = False
    open: bool = True
    passed: bool | None = None


class AnyOrder(RuleBasedStateMachine):
    """Calls in any order, legal or not, against a plain dictionary of states."""

    def new_location(self):
        self.folder = tempfile.TemporaryDirectory()
        return Path(self.folder.name) / "ledger.db"

    @initialize()
    def start(self):
        self.location = self.new_location()
        self.ledger = Ledger(self.location)
        self.known: dict[str, Known] = {}
        self.batches: dict[str, Taken] = {}
        self.files = 0

    def teardown(self):
        self.ledger.__exit__()

    def move(self, references, target, **values):
        for name in references:
            known = self.known[name]
            assert target in MOVES[RequestState(known.state)]
            known.state, known.moves = target, known.moves + 1
            vars(known).update(values)

    def standing(self, batch_id, *states):
        return sorted(name for name, item in self.known.items() if item.batch == batch_id and item.state in states)

    def open_batch_id(self):
        return next((name for name, batch in self.batches.items() if batch.open), None)

    def closed_batches(self):
        return [name for name, batch in self.batches.items() if not batch.open]

    def close(self, batch_id, passed):
        self.batches[batch_id].open, self.batches[batch_id].passed = False, passed

    def refused(self, call, *arguments, error=(IllegalMove, InputError)):
        with pytest.raises(error):
            call(*arguments)

    @rule(sent=names)
    def receive(self, sent):
        self.files += 1
        receipt = take(self.ledger, *[make_request(name) for name in sent], word=str(self.files))
        new = set(sent) - set(self.known)
        assert (receipt.new, receipt.repeated, receipt.rejected) == (len(new), len(sent) - len(new), 0)
        assert receipt.purged == sum(self.known[name].purged for name in set(sent) - new)
        self.known |= {name: Known() for name in new}

    @rule(cap=st.integers(1, 4), corpus=corpora, attempts=st.integers(1, 3), retry=st.booleans())
    def open_batch(self, cap, corpus, attempts, retry):
        batch = self.ledger.open_batch(cap, "run", corpus, attempts, retry)
        if current := self.open_batch_id():
            in_work, taken = self.standing(current, "batched", "unlearned"), self.batches[current]
            if in_work and taken.attempts < attempts:
                taken.attempts += 1
                assert (batch.batch_id, batch.in_work, batch.attempts) == (current, in_work, taken.attempts)
                assert (ids(batch), batch.withdrawn) == (taken.members, sorted(taken.withdrawn))
                return
            self.move(in_work, "failed")
            self.close(current, False if in_work else None)
        waiting = [name for name, item in sorted(self.known.items()) if retry and item.state == "failed"]
        waiting += [name for name, item in sorted(self.known.items()) if item.state == "validated"]
        watched = {name for name, item in self.known.items() if item.state == "watched" and item.corpus != corpus}
        members = set(ids(batch) if batch else [])
        assert len(members) == min(cap, len(waiting) + len(watched))
        assert members <= {*waiting[:cap], *watched}
        assert members >= set(waiting[:cap])
        if batch:
            assert (batch.in_work, batch.attempts, batch.resumed) == (ids(batch), 1, False)
            approvals = {name: self.known[name].approvals for name in members}
            assert batch.approved == {name: reasons for name, reasons in approvals.items() if reasons}
            self.batches[batch.batch_id] = Taken(ids(batch))
            self.move(members, "batched", batch=batch.batch_id)

    @precondition(lambda self: self.batches)
    @rule(data=st.data(), told=names, corpus=corpora, holding=st.booleans())
    def watch_or_hold(self, data, told, corpus, holding):
        batch_id = data.draw(st.sampled_from(sorted(self.batches)))
        reasons = {name: [f"reason {name}"] for name in told}
        arguments = (reasons,) if holding else (told, corpus)
        call = self.ledger.hold if holding else self.ledger.watch
        present = self.standing(batch_id, "batched", "unlearned", "awaiting_promotion", "fulfilled", "failed", "purged")
        unlearned = [name for name in told if name in present and self.known[name].state != "batched"]
        if unlearned or not set(told) <= set(self.batches[batch_id].members):
            return self.refused(call, batch_id, *arguments, "run", error=IllegalMove)
        call(batch_id, *arguments, "run")
        moving = [name for name in told if name in present]
        for name in moving:
            values = {"reasons": reasons[name]} if holding else {"corpus": corpus}
            self.move([name], "held" if holding else "watched", **values)
        return None

    @precondition(lambda self: self.open_batch_id())
    @rule(left_out=names)
    def begin_training(self, left_out):
        batch_id = self.open_batch_id()
        batch = self.batches[batch_id]
        missing = sorted(batch.withdrawn - set(left_out))
        assert self.ledger.begin_training(batch_id, "run", left_out) == missing
        if not missing and not batch.training:
            batch.training = True
            for name in self.standing(batch_id, "batched"):
                self.known[name].moves += 1

    @precondition(lambda self: self.batches)
    @rule(data=st.data(), verb=st.sampled_from(["unlearned", "passed", "failed", "ended", "put_back", "give_up"]))
    def go_on(self, data, verb):
        batch_id = data.draw(st.sampled_from(sorted(self.batches)))
        batch, ledger = self.batches[batch_id], self.ledger
        batched, unlearned = self.standing(batch_id, "batched"), self.standing(batch_id, "unlearned")
        match verb:
            case "unlearned":
                ledger.unlearned(batch_id, "run")
                self.move(batched, "unlearned")
            case "put_back":
                if unlearned or batch.passed is not None:
                    return self.refused(ledger.put_back, batch_id, "run", "why")
                ledger.put_back(batch_id, "run", "why")
                self.move(batched, "validated", batch=None)
                self.close(batch_id, None)
            case "give_up":
                ledger.give_up(batch_id, "run", "why")
                given_up = self.standing(batch_id, "unlearned", "awaiting_promotion", "fulfilled")
                self.move(given_up, "validated", batch=None, certificate=None)
                batch.open = batch.open and bool(batched)
            case _:
                passed = {"passed": True, "failed": False, "ended": None}[verb]
                if not batch.open and passed in (None, batch.passed):
                    return ledger.finish_batch(batch_id, passed, "run")
                if not batch.open or (passed and batched) or (passed is None and batched + unlearned):
                    return self.refused(ledger.finish_batch, batch_id, passed, "run")
                ledger.finish_batch(batch_id, passed, "run")
                self.move(batched + unlearned, "awaiting_promotion" if passed else "failed")
                self.close(batch_id, passed)
        return None

    @rule(
        name=st.sampled_from(NAMES), verb=st.sampled_from(["withdraw", "reopen", "retry", "approve", "refuse", "close"])
    )
    def decide(self, name, verb):
        self.files += 1
        who = f"person {self.files}"  # somebody else each time: nobody repeats what was decided
        arguments = [name, who] if verb in ("withdraw", "retry", "approve") else [name, who, "why"]
        sources, target = {
            "withdraw": (["validated", "watched", "held", "failed", "batched"], "withdrawn"),
            "reopen": (["withdrawn", "not_found", "rejected", "fulfilled"], "validated"),
            "retry": (["failed", "escalated"], "validated"),
            "approve": (["held"], "validated"),
            "refuse": (["held"], "rejected"),
            "close": (["watched"], "not_found"),
        }[verb]
        known = self.known.get(name, Known("unknown"))
        in_training = known.state == "batched" and self.batches[known.batch].training
        if known.state not in sources or known.purged or in_training:
            return self.refused(getattr(self.ledger, verb), *arguments, error=InputError)
        for _ in range(2):
            getattr(self.ledger, verb)(*arguments)
        if verb == "withdraw" and known.state == "batched":
            self.batches[known.batch].withdrawn.add(name)
        if verb == "approve":
            known.approvals += [reason for reason in known.reasons if reason not in known.approvals]
        afresh = {"batch": None, "corpus": None, "reasons": [], "certificate": None} if target == "validated" else {}
        self.move([name], target, **afresh)
        return None

    @rule(chosen=names)
    def fulfil(self, chosen):
        certificates = {name: name * 32 for name in chosen}
        if any(self.known.get(name, Known()).certificate is None for name in chosen) and not all(
            name in self.known and (self.known[name].certificate or self.known[name].state == "awaiting_promotion")
            for name in chosen
        ):
            return self.refused(self.ledger.fulfil, certificates, "run", "Ada")
        self.ledger.fulfil(certificates, "run", "Ada")
        for name in chosen:
            if not self.known[name].certificate:
                self.move([name], "fulfilled", certificate=certificates[name])
        return None

    @rule(chosen=names)
    def purge(self, chosen):
        kept = [name for name in chosen if name in self.known and not self.known[name].purged]
        forgettable = ("fulfilled", "not_found", "withdrawn", "rejected")
        if not set(chosen) <= set(self.known) or any(self.known[name].state not in forgettable for name in kept):
            return self.refused(self.ledger.purge, chosen, "run", error=InputError)
        purged = [name for name in kept if self.known[name].batch in (None, *self.closed_batches())]
        assert self.ledger.purge(chosen, "run") == purged
        for name in purged:
            self.known[name].purged = True
            self.known[name].moves += 1
            self.known[name].state = self.known[name].state.replace("fulfilled", "purged")
        return None

    @rule(days=st.sampled_from([-1, 1]), corpus=corpora)
    def close_watched(self, days, corpus):
        closed = [n for n, item in self.known.items() if item.state == "watched" and item.corpus == corpus and days > 0]
        assert self.ledger.close_watched(0, corpus, datetime.now(UTC) + timedelta(days=days), "run") == sorted(closed)
        self.move(closed, "not_found")

    @rule()
    def restart(self):
        self.ledger.__exit__()
        self.ledger = Ledger(self.location)

    @invariant()
    def holds(self):
        rows = {row.reference: row for row in self.ledger.requests()}
        assert rows.keys() == self.known.keys()
        assert self.ledger.verify_audit() == sum(item.moves for item in self.known.values())
        for name, item in self.known.items():
            row = rows[name]
            assert (row.state, row.batch_id, row.approvals) == (item.state, item.batch, item.approvals)
            assert (row.certificate_sha256, row.searched_corpus) == (item.certificate, item.corpus)
            assert (row.purged_at is not None) == item.purged
            history = self.ledger.history(name)
            assert [move.from_state for move in history] == [None, *[move.to_state for move in history[:-1]]]
            for move in history[1:]:
                assert move.to_state in {*MOVES[move.from_state], move.from_state}


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=25, **SETTINGS)


def test_calls_in_any_order_on_postgresql(postgresql):
    class OnPostgresql(AnyOrder):
        def new_location(self):
            self.schema = f"ledger_{uuid.uuid4().hex[:12]}"
            run_sql(postgresql, f"CREATE SCHEMA {self.schema}")
            return f"{postgresql}?options=-csearch_path={self.schema}"

        def teardown(self):
            super().teardown()
            run_sql(postgresql, f"DROP SCHEMA {self.schema} CASCADE")

    run_state_machine_as_test(OnPostgresql, settings=settings(max_examples=6, **SETTINGS))
