"""The ledger: repeats and conflicts, batches, kills and races, and an audit table nobody can rewrite unseen."""

import hashlib
import json
import multiprocessing
import os
import signal
import sqlite3
import stat
import tempfile
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from unilogit.data.requests import DeletionRequest, Rejection
from unilogit.errors import InputError
from unilogit.ledger import MOVES, AuditBroken, IllegalMove, Ledger, Receipt, RequestState

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
fork = multiprocessing.get_context("fork")


def request(name, subject="somebody", days=30, received=NOON, row=1, file="a.jsonl"):
    return DeletionRequest(
        request_id=name,
        received_at=received,
        due_at=received + timedelta(days=days),
        subject_id=subject,
        file=file,
        row=row,
    )


def several(count, start=0):
    return [request(f"r{number:03}", row=number + 1) for number in range(start, start + count)]


def digest(word):
    return hashlib.sha256(word.encode()).hexdigest()


def ids(batch):
    return [item.request_id for item in batch.requests]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "var" / "ledger.db"


@pytest.fixture
def ledger(path):
    with Ledger(path) as ledger:
        yield ledger


def take(ledger, *requests, word="file"):
    return ledger.receive(f"{word}.jsonl", digest(word), list(requests), [], "run-1")


def states(ledger):
    return {row.request_id: row.state for row in ledger.requests()}


def test_every_state_has_its_moves_and_they_lead_to_states():
    assert set(MOVES) == set(RequestState)
    assert {state for state, moves in MOVES.items() if not moves} == {"fulfilled", "no_match", "rejected"}
    reached, border = {RequestState.received}, [RequestState.received]
    while border:
        border = [to for to in MOVES[border.pop()] - reached if not reached.add(to)] + border
    assert reached == set(RequestState)


def test_what_is_taken_in_comes_back(ledger, path):
    asked = request("r1", "Zoë", days=3, received=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC), row=7)
    refused = Rejection(file="file.jsonl", row=9, reasons=["is not JSON"], raw="{Zoë")
    receipt = ledger.receive("file.jsonl", digest("file"), [asked], [refused], "run-1")
    assert receipt == Receipt("file.jsonl", new=1, repeated=0, rejected=1)
    assert str(receipt) == "file.jsonl: 1 new, 0 taken in before, 1 rejected"
    assert ledger.get("r1") == asked
    assert ledger.get("r2") is None
    (row,) = ledger.requests("validated")
    assert (row.request_id, row.received_at, row.due_at) == ("r1", asked.received_at, asked.due_at)
    assert (row.batch_id, row.origin) == (None, "a.jsonl:7")
    assert ledger.requests("failed") == []
    (rejected,) = ledger.rejections()
    assert (rejected.file, rejected.row, rejected.reasons) == ("file.jsonl", 9, ["is not JSON"])
    assert abs(datetime.now(UTC) - rejected.at) < timedelta(minutes=1)
    assert {state: count for state, count in ledger.counts().items() if count} == {
        "validated": 1,
        "rejected": 1,
    }
    moves = [(move.from_state, move.to_state, move.run) for move in ledger.history("r1")]
    assert moves == [(None, "received", "run-1"), ("received", "validated", "run-1")]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_same_file_or_request_again_stores_nothing(ledger):
    assert not ledger.knows_file(digest("file"))
    take(ledger, *several(3))
    assert ledger.knows_file(digest("file"))
    refused = Rejection(file="file.jsonl", row=9, reasons=["is not JSON"], raw="")
    before = ledger.verify_audit()
    again = ledger.receive("copy.jsonl", digest("file"), several(3), [refused], "run-2")
    assert again == Receipt("copy.jsonl", new=0, repeated=3, rejected=0)
    moved = request("r000", file="b.jsonl", row=40)  # the same request from another place
    assert take(ledger, moved, *several(4), *several(4), word="more") == Receipt("more.jsonl", 1, 8, 0)
    assert ledger.verify_audit() == before + 2
    assert len(ledger.requests()) == 4
    assert ledger.rejections() == []


def test_an_id_with_other_content_is_refused_and_says_where_the_first_is(ledger):
    take(ledger, request("r1", "Zoë", row=5))
    receipt = take(
        ledger,
        request("r1", "Yan", row=2, file="b.jsonl"),
        request("r2", "Zoë", row=3, file="b.jsonl"),
        request("r2", "Yan", row=4, file="b.jsonl"),
        word="more",
    )
    assert receipt == Receipt("more.jsonl", new=1, repeated=0, rejected=2)
    assert [(row.file, row.row, row.reasons) for row in ledger.rejections()] == [
        (
            "b.jsonl",
            line,
            [f"request_id {name} was taken in before with other content ({where}); give it an id of its own"],
        )
        for line, name, where in [(2, "r1", "a.jsonl:5"), (4, "r2", "b.jsonl:3")]
    ]
    assert ledger.get("r1").subject_id == ledger.get("r2").subject_id == "Zoë"


def test_more_requests_than_a_query_has_parameters(ledger):
    many = several(2500)
    assert take(ledger, *many).new == 2500
    assert take(ledger, *many, *several(1, start=2500), word="more") == Receipt("more.jsonl", 1, 2500, 0)


def test_a_batch_takes_the_most_urgent_up_to_its_cap(ledger):
    take(
        ledger,
        request("late", days=20),
        request("b", days=2),
        request("a", days=2),
        request("earlier", days=3, received=NOON - timedelta(days=1)),
        request("soon", days=1),
    )
    batch = ledger.open_batch(4, "run")
    assert ids(batch) == ["soon", "earlier", "a", "b"]
    assert not batch.resumed
    stamp = datetime.strptime(batch.batch_id[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - stamp) < timedelta(minutes=1)
    assert states(ledger)["late"] == "validated"
    assert ledger.requests("batched")[0].batch_id == batch.batch_id


@pytest.mark.parametrize("cap", [0, -1])
def test_a_cap_must_be_positive(ledger, cap):
    with pytest.raises(InputError, match="make the cap 1 or more"):
        ledger.open_batch(cap, "run")


def test_an_open_batch_is_resumed_with_the_same_requests(path):
    with Ledger(path) as ledger:
        take(ledger, *several(5))
        first = ledger.open_batch(3, "run-1")
    with Ledger(path) as ledger:
        take(ledger, request("urgent", days=0), word="more")
        again = ledger.open_batch(10, "run-2", retry_failed=True)
        assert (again.batch_id, again.requests, again.resumed) == (first.batch_id, first.requests, True)
        ledger.no_match(first.batch_id, ["r001"], "run-2")
        ledger.unlearned(first.batch_id, "run-2")
    with Ledger(path) as ledger:
        assert ids(ledger.open_batch(3, "run-3")) == ["r000", "r002"]
        ledger.finish_batch(first.batch_id, True, "run-3")
        assert ids(ledger.open_batch(3, "run-3")) == ["urgent", "r003", "r004"]


def test_the_life_of_a_batch_can_be_told_twice(ledger):
    take(ledger, *several(3))
    batch = ledger.open_batch(3, "run")
    rows = []
    for _ in range(2):
        ledger.no_match(batch.batch_id, ["r001", "r001"], "run")
        rows.append(ledger.verify_audit())
    for _ in range(2):
        ledger.unlearned(batch.batch_id, "run")
        rows.append(ledger.verify_audit())
    for verdict in (True, True, None):
        ledger.finish_batch(batch.batch_id, verdict, "run", why="all gates passed")
        rows.append(ledger.verify_audit())
    assert rows == [10, 10, 12, 12, 14, 14, 14]
    assert states(ledger) == {"r000": "awaiting_promotion", "r001": "no_match", "r002": "awaiting_promotion"}
    assert ledger.history("r000")[-1].why == f"batch {batch.batch_id}: all gates passed"
    assert ledger.open_batch(3, "run") is None
    with pytest.raises(IllegalMove, match="another verdict"):
        ledger.finish_batch(batch.batch_id, False, "run")
    ledger.no_match(batch.batch_id, ["r001"], "run")
    ledger.unlearned(batch.batch_id, "run")
    assert ledger.verify_audit() == 14


def test_a_batch_without_any_match_closes_by_itself_or_by_none(ledger):
    take(ledger, *several(3))
    for name in ("r000", "r001"):
        batch = ledger.open_batch(1, "run")
        assert ids(batch) == [name]
        with pytest.raises(IllegalMove, match="still has 1 requests in work"):
            ledger.finish_batch(batch.batch_id, None, "run")
        ledger.no_match(batch.batch_id, [name], "run")
        if name == "r000":
            ledger.finish_batch(batch.batch_id, None, "run")
    assert ids(ledger.open_batch(1, "run")) == ["r002"]


def test_moves_that_are_not_legal_change_nothing(ledger):
    take(ledger, *several(2), request("r9", days=90))
    batch = ledger.open_batch(2, "run")
    before = states(ledger)
    with pytest.raises(IllegalMove, match="r000 cannot go from batched to awaiting_promotion"):
        ledger.finish_batch(batch.batch_id, True, "run")
    with pytest.raises(IllegalMove, match="does not hold request r9"):
        ledger.no_match(batch.batch_id, ["r000", "r9"], "run")
    assert (states(ledger), ledger.verify_audit()) == (before, 8)
    ledger.unlearned(batch.batch_id, "run")
    with pytest.raises(IllegalMove, match="r001 cannot go from unlearned to no_match"):
        ledger.no_match(batch.batch_id, ["r001"], "run")
    assert ledger.verify_audit() == 10


def test_failed_requests_are_retried_first_and_only_when_asked(ledger):
    take(ledger, *several(2))
    failed = ledger.open_batch(2, "run")
    ledger.finish_batch(failed.batch_id, False, "run", why="gate forget failed")
    take(ledger, request("urgent", days=0), word="more")
    assert ids(ledger.open_batch(9, "run")) == ["urgent"]
    ledger.finish_batch(ledger.open_batch(9, "run").batch_id, False, "run")
    assert ledger.open_batch(9, "run") is None
    take(ledger, request("later", days=90), request("now", days=0), word="third")
    retry = ledger.open_batch(4, "run", retry_failed=True)
    assert ids(retry) == ["urgent", "r000", "r001", "now"]
    ledger.finish_batch(failed.batch_id, False, "run")  # a repeat of old news leaves the new batch alone
    assert states(ledger)["r000"] == "batched"
    assert {row.batch_id for row in ledger.requests("batched")} == {retry.batch_id}


def test_earlier_requests_are_all_whose_forgetting_must_last(ledger):
    take(ledger, *several(4))
    passed = ledger.open_batch(1, "run")
    ledger.unlearned(passed.batch_id, "run")
    ledger.finish_batch(passed.batch_id, True, "run")
    ledger.finish_batch(ledger.open_batch(1, "run").batch_id, False, "run")
    without = ledger.open_batch(1, "run")
    ledger.no_match(without.batch_id, ["r002"], "run")
    current = ledger.open_batch(1, "run")
    take(ledger, request("waiting"), word="more")
    assert ledger.earlier_requests(current.batch_id) == several(2)  # not no_match, itself, or what waits
    retry_of_failed = [item.request_id for item in ledger.earlier_requests(passed.batch_id)]
    assert retry_of_failed == ["r001"]


def test_unknown_names_are_said_to_be_unknown(ledger):
    with pytest.raises(InputError, match="unilogit requests list"):
        ledger.history("nobody")
    with pytest.raises(InputError, match="there is no state lost; choose one of received, validated"):
        ledger.requests("lost")
    for call in (ledger.unlearned, lambda name, run: ledger.finish_batch(name, True, run)):
        with pytest.raises(InputError, match="there is no batch b"):
            call("b", "run")
    with pytest.raises(InputError, match="there is no batch b"):
        ledger.earlier_requests("b")


# --- the audit table ---


@pytest.fixture
def full(path):
    """A closed ledger whose audit table has 14 rows."""
    with Ledger(path) as ledger:
        take(ledger, *[request(f"r{n}", "Zoë Quux") for n in range(3)])
        batch = ledger.open_batch(3, "run")
        ledger.no_match(batch.batch_id, ["r1"], "run")
        ledger.unlearned(batch.batch_id, "run")
        ledger.finish_batch(batch.batch_id, True, "run")
        assert ledger.verify_audit() == 14
    return path


def raw(path, *statements):
    with sqlite3.connect(path) as connection:
        for statement in statements:
            rows = connection.execute(statement).fetchall()
    connection.close()
    return rows


DROP = [f"DROP TRIGGER ledger_audit_no_{verb}" for verb in ("UPDATE", "DELETE")]


def test_the_chain_is_sha256_over_the_hash_before_and_the_row(full):
    previous = ""
    columns = ["sequence", "at", "request_id", "from_state", "to_state", "why", "run"]
    for *values, stored in raw(full, f"SELECT {', '.join(columns)}, sha256 FROM ledger_audit ORDER BY 1"):
        row = dict(zip(columns, values, strict=True)) | {"previous": previous}
        text = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        previous = hashlib.sha256(text.encode()).hexdigest()
        assert stored == previous


def test_the_audit_table_and_the_rejections_hold_nobodys_data(full):
    with Ledger(full) as ledger:
        take(ledger, request("r0", "Zoë Quux", days=1), word="more")
        assert len(ledger.rejections()) == 1
    told = str(raw(full, "SELECT * FROM ledger_audit") + raw(full, "SELECT * FROM ledger_rejections"))
    assert "Zoë" not in told
    assert "Quux" not in told
    assert "Quux" in str(raw(full, "SELECT content FROM ledger_requests"))


@pytest.mark.parametrize(
    "statement", ["UPDATE ledger_audit SET why = 'x' WHERE sequence = 3", "DELETE FROM ledger_audit"]
)
def test_the_database_refuses_to_rewrite_the_audit_table(full, statement):
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        raw(full, statement)
    with Ledger(full) as ledger:
        assert ledger.verify_audit() == 14


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        *[
            (f"UPDATE ledger_audit SET {column} = {value} WHERE sequence = 5", "sequence 5:")
            for column, value in [
                ("at", "'2020-01-01T00:00:00.000000+00:00'"),
                ("request_id", "'r0'"),
                ("from_state", "NULL"),
                ("to_state", "'fulfilled'"),
                ("why", "'because'"),
                ("run", "'another'"),
                ("sha256", f"'{'0' * 64}'"),
            ]
        ],
        ("DELETE FROM ledger_audit WHERE sequence = 5", "sequence 5:"),
        ("DELETE FROM ledger_audit WHERE sequence = 1", "sequence 1:"),
        ("DELETE FROM ledger_audit WHERE sequence = 14", "request r2 is awaiting_promotion"),
        ("DELETE FROM ledger_audit", "request r0 is awaiting_promotion"),
        ("UPDATE ledger_requests SET state = 'fulfilled' WHERE request_id = 'r1'", "request r1 is fulfilled"),
        ("DELETE FROM ledger_requests WHERE request_id = 'r1'", "request r1 was audited but is gone"),
    ],
)
def test_a_change_behind_the_ledgers_back_is_found(full, statement, told):
    raw(full, *DROP, statement)
    with Ledger(full) as ledger, pytest.raises(AuditBroken, match=told):
        ledger.verify_audit()


# --- what cannot be opened ---


def test_a_newer_schema_is_refused_and_left_alone(full):
    raw(full, "UPDATE ledger_schema SET version = 2")
    before = full.read_bytes()
    with pytest.raises(InputError, match=r"ledger\.db: the ledger has schema version 2, .* up to 1"):
        Ledger(full)
    assert full.read_bytes() == before


@pytest.mark.parametrize("content", [b"request_id,subject_id\n" * 100, b"SQLite format 3\0" + b"\1" * 200])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "ledger.db"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"ledger\.db: cannot be used as a ledger"):
        Ledger(path)
    assert path.read_bytes() == content


def test_locations_that_lead_nowhere_are_refused(tmp_path):
    (tmp_path / "file").touch()
    for location in (
        tmp_path,
        tmp_path / "file" / "ledger.db",
        "nothing://x",
        "sqlite:////no/such/folder/l.db",
    ):
        with pytest.raises(InputError, match="cannot be used as a ledger"):
            Ledger(location)
    with pytest.raises(InputError) as told:
        Ledger("nothing://me:hunter2@host/x")
    assert "hunter2" not in str(told.value)


def test_a_url_and_a_path_name_the_same_ledger(path):
    with Ledger(path) as ledger:
        take(ledger, *several(1))
    with Ledger(f"sqlite:///{path}") as ledger:
        assert states(ledger) == {"r000": "validated"}


# --- kills and races ---


def tell_all(path):
    """A whole life: told again from the start after a kill, it must end the same."""
    with Ledger(path) as ledger:
        take(ledger, *several(4))
        while batch := ledger.open_batch(2, "run"):
            ledger.no_match(batch.batch_id, {"r001"} & set(ids(batch)), "run")
            ledger.unlearned(batch.batch_id, "run")
            ledger.finish_batch(batch.batch_id, True, "run")


def tell_until_killed(path, statements):
    left = statements

    def count_down(*_):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sa.event.listen(sa.Engine, "after_cursor_execute", count_down)
    tell_all(path)


def test_a_kill_at_any_statement_leaves_whole_transactions_only(tmp_path):
    whole = {  # how many requests have moved after each transaction
        (0, 0), (8, 4), (10, 4), (11, 4), (12, 4), (13, 4), (15, 4), (17, 4), (19, 4),
    }  # fmt: skip
    seen = set()
    for statements in range(1, 200):
        path = tmp_path / f"{statements}.db"
        child = fork.Process(target=tell_until_killed, args=(path, statements))
        child.start()
        child.join()
        with Ledger(path) as ledger:
            seen.add((ledger.verify_audit(), len(ledger.requests())))
            tell_all(path)
            assert ledger.verify_audit() == 19
            assert list(states(ledger).values()) == [
                "awaiting_promotion", "no_match", "awaiting_promotion", "awaiting_promotion",
            ]  # fmt: skip
        if child.exitcode == 0:
            break
        assert child.exitcode == -signal.SIGKILL
    assert child.exitcode == 0
    assert seen == whole


def work(path, gate, told):
    gate.wait()
    with Ledger(path) as ledger:
        receipt = take(ledger, *several(30))
        opened = []
        while batch := ledger.open_batch(3, "run"):
            if not batch.resumed:
                opened.append(ids(batch))
            ledger.unlearned(batch.batch_id, "run")
            ledger.finish_batch(batch.batch_id, True, "run")
        told.put((receipt.new, opened))


def test_processes_at_once_never_take_a_request_twice(path):
    gate, told = fork.Barrier(3), fork.Queue()
    workers = [fork.Process(target=work, args=(path, gate, told)) for _ in range(3)]
    for worker in workers:
        worker.start()
    answers = [told.get(timeout=30) for _ in workers]
    for worker in workers:
        worker.join()
    assert sorted(new for new, _ in answers) == [0, 0, 30]
    opened = [batch for _, batches in answers for batch in batches]
    assert sorted(opened) == [[f"r{n:03}" for n in range(start, start + 3)] for start in range(0, 30, 3)]
    with Ledger(path) as ledger:
        assert ledger.verify_audit() == 30 * 5
        assert ledger.counts()["awaiting_promotion"] == 30


# --- any order of calls ---


class AnyOrder(RuleBasedStateMachine):
    """Calls in any order, legal or not, against a plain dictionary of states."""

    @initialize()
    def open(self):
        self.folder = tempfile.TemporaryDirectory()
        self.ledger = Ledger(Path(self.folder.name) / "ledger.db")
        self.states, self.batch_of, self.moves, self.files = {}, {}, 0, 0
        self.batch, self.closed = None, {}

    def teardown(self):
        self.ledger.__exit__()
        self.folder.cleanup()

    def move(self, names, to):
        for name in names:
            assert to in MOVES[self.states[name]]
            self.states[name] = RequestState(to)
            self.moves += 1

    def held(self, *wanted):
        return sorted(n for n, b in self.batch_of.items() if b == self.batch and self.states[n] in wanted)

    @rule(names=st.sets(st.sampled_from([f"r{n}" for n in range(8)]), max_size=4))
    def receive(self, names):
        self.files += 1
        receipt = take(self.ledger, *[request(name) for name in sorted(names)], word=str(self.files))
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
        assert batch is None or (not batch.resumed and self.batch not in self.batch_of.values())
        self.move(expected, "batched")
        self.batch_of |= dict.fromkeys(expected, self.batch)

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
            told = self.ledger.history(name)
            assert [move.from_state for move in told] == [None, *[move.to_state for move in told[:-1]]]
            assert all(move.from_state is None or move.to_state in MOVES[move.from_state] for move in told)
            assert told[-1].to_state == state


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


# --- another database ---


@pytest.mark.skipif("UNILOGIT_TEST_POSTGRESQL" not in os.environ, reason="UNILOGIT_TEST_POSTGRESQL is not set")
def test_the_same_on_postgresql():
    url = sa.make_url(os.environ["UNILOGIT_TEST_POSTGRESQL"])
    schema = f"unilogit_{uuid.uuid4().hex}"
    admin = sa.create_engine(url)
    with admin.begin() as connection:
        connection.execute(sa.schema.CreateSchema(schema))
    try:
        here = url.update_query_dict({"options": f"-csearch_path={schema}"})
        place = here.render_as_string(hide_password=False)
        test_processes_at_once_never_take_a_request_twice(place)
        engine = sa.create_engine(here)
        for statement in (
            "UPDATE ledger_audit SET why = ''",
            "DELETE FROM ledger_audit",
            "TRUNCATE ledger_audit",
        ):
            with pytest.raises(sa.exc.DBAPIError, match="append-only"), engine.begin() as connection:
                connection.execute(sa.text(statement))
        engine.dispose()
    finally:
        with admin.begin() as connection:
            connection.execute(sa.schema.DropSchema(schema, cascade=True))
        admin.dispose()
