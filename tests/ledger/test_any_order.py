"""Calls in any order, legal or not, with restarts between them, against a plain dictionary."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.ledger.lives import ids, make_request, states, take
from unilogit.ledger import MOVES, IllegalMove, Ledger, RequestState


class AnyOrder(RuleBasedStateMachine):
    """Calls in any order, legal or not, against a plain dictionary of states."""

    @initialize()
    def open(self):
        self.folder = tempfile.TemporaryDirectory()
        self.ledger = Ledger(Path(self.folder.name) / "ledger.db")
        self.states, self.batches, self.moves, self.files = {}, {}, 0, 0
        self.batch, self.closed = None, {}

    def teardown(self):
        self.ledger.__exit__()
        self.folder.cleanup()

    def move(self, names, target):
        for name in names:
            assert target in MOVES[self.states[name]]
            self.states[name] = RequestState(target)
            self.moves += 1

    def held(self, *allowed):
        return sorted(n for n, batch in self.batches.items() if batch == self.batch and self.states[n] in allowed)

    @rule(names=st.sets(st.sampled_from([f"r{n}" for n in range(8)]), max_size=4))
    def receive(self, names):
        self.files += 1
        receipt = take(self.ledger, *[make_request(name) for name in sorted(names)], word=str(self.files))
        new = names - set(self.states)
        assert (receipt.new, receipt.repeated) == (len(new), len(names) - len(new))
        self.states |= dict.fromkeys(new, RequestState.validated)
        self.moves += 2 * len(new)

    @rule(cap=st.integers(1, 4), retry=st.booleans())
    def open_batch(self, cap, retry):
        batch = self.ledger.open_batch(cap, "run", retry)
        if self.batch and (held := self.held("batched", "unlearned")):
            assert (batch.batch_id, ids(batch), batch.resumed) == (self.batch, held, True)
            return
        if self.batch:
            self.closed[self.batch] = None
        failed = sorted(n for n, s in self.states.items() if s == "failed") if retry else []
        expected = (failed + sorted(n for n, s in self.states.items() if s == "validated"))[:cap]
        assert (ids(batch) if batch else []) == expected
        self.batch = batch.batch_id if batch else None
        assert batch is None or (not batch.resumed and self.batch not in self.batches.values())
        self.move(expected, "batched")
        self.batches |= dict.fromkeys(expected, self.batch)

    @precondition(lambda self: self.batch)
    @rule(data=st.data())
    def no_match(self, data):
        names = data.draw(st.sets(st.sampled_from(sorted(self.states))))
        in_batch = self.held(*RequestState)
        if names <= set(in_batch) and all(self.states[name] in ("batched", "no_match") for name in names):
            self.ledger.no_match(self.batch, names, "run")
            self.move([name for name in names if self.states[name] == "batched"], "no_match")
        else:
            with pytest.raises(IllegalMove):
                self.ledger.no_match(self.batch, names, "run")

    @precondition(lambda self: self.batch)
    @rule()
    def unlearned(self):
        self.ledger.unlearned(self.batch, "run")
        self.move(self.held("batched"), "unlearned")

    @precondition(lambda self: self.batch)
    @rule(passed=st.sampled_from([True, False, None]))
    def finish(self, passed):
        held, batched = self.held("batched", "unlearned"), self.held("batched")
        if (passed is None and held) or (passed and batched):
            with pytest.raises(IllegalMove):
                self.ledger.finish_batch(self.batch, passed, "run")
            return
        self.ledger.finish_batch(self.batch, passed, "run")
        self.move(held, "awaiting_promotion" if passed else "failed")
        self.closed[self.batch], self.batch = passed, None

    @precondition(lambda self: self.closed)
    @rule(data=st.data())
    def finish_again(self, data):
        self.ledger.finish_batch(*data.draw(st.sampled_from(list(self.closed.items()))), "run")

    @rule()
    def restart(self):
        self.ledger.__exit__()
        self.ledger = Ledger(Path(self.folder.name) / "ledger.db")

    @invariant()
    def holds(self):
        assert states(self.ledger) == self.states
        assert self.ledger.verify_audit() == self.moves
        for name, state in self.states.items():
            history = self.ledger.history(name)
            assert [move.from_state for move in history] == [None, *[move.to_state for move in history[:-1]]]
            assert all(move.from_state is None or move.to_state in MOVES[move.from_state] for move in history)
            assert history[-1].to_state == state


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
