"""Other gates for a batch that failed: judged by what was measured, told to the ledger, registered as a version."""

import pytest

from flows.rejudge import FAILED, PASSED, rejudge
from tasks.registry.versions import CANDIDATE
from tasks.requests.batches import open_ledger
from tasks.steps import gate, register
from tasks.workspace import Place, Registration, Workspace, run_folder
from tests.ledger.lives import numbered_requests, open_batch, states, take
from tests.tasks.conftest import PARAMS, empty_database, home, params, store  # noqa: F401
from tests.tasks.workspaces import build_registrable
from unilogit.errors import InputError
from unilogit.files import read_json

NAME = "example-assistant"
LENIENT = ["gates=[{name: lenient, scope: forget, metric: forget.probability, op: '<=', threshold: 0.95}]"]


@pytest.fixture
def failed(store, params):  # noqa: F811
    """The id of a batch whose model still knows the forgotten."""
    with open_ledger() as ledger:
        take(ledger, *numbered_requests(2))
        batch_id = open_batch(ledger).batch_id
        ledger.begin_training(batch_id, "run")
        ledger.unlearned(batch_id, "run")
    workspace = build_registrable(run_folder(batch_id), params, forget_probability=0.9)
    gate.STEP.run(workspace, params)
    for place in register.STEP.reads:
        if not workspace.has(place):
            workspace.path(place).mkdir()
    register.STEP.run(workspace, params)
    with open_ledger() as ledger:
        ledger.finish_batch(batch_id, False, "run")
    return batch_id


def everything(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_gates_that_fail_change_nothing(failed, capsys):
    before = everything(run_folder(failed))
    assert rejudge(failed, PARAMS) == FAILED
    assert "failed: forget-probability" in capsys.readouterr().out
    assert everything(run_folder(failed)) == before
    with open_ledger() as ledger:
        assert set(states(ledger).values()) == {"failed"}


def test_gates_that_pass_let_it_be_promoted_and_may_be_applied_again(failed, store, capsys):  # noqa: F811
    workspace = Workspace(run_folder(failed))
    metrics = workspace.path(Place.METRICS).read_bytes()
    first = workspace.read(Registration).version
    for _ in range(2):
        assert rejudge(failed, PARAMS, LENIENT) == PASSED
        with open_ledger() as ledger:
            assert set(states(ledger).values()) == {"awaiting_promotion"}
            assert ledger.verify_audit() > 0
        registration = workspace.read(Registration)
        assert (registration.version, registration.alias) == (str(int(first) + 1), CANDIDATE)
        assert len(store.search_model_versions(f"name = '{NAME}'")) == 2
    version = store.get_model_version(NAME, registration.version)
    assert (version.tags["gates"], version.tags["weights_sha256"]) == (
        "passed",
        store.get_model_version(NAME, first).tags["weights_sha256"],
    )
    assert workspace.path(Place.METRICS).read_bytes() == metrics
    assert [verdict["name"] for verdict in read_json(workspace.path(Place.GATES))["gates"]] == ["lenient"]
    assert read_json(workspace.path(Place.VERSION_PARAMS))["gates"][0]["threshold"] == 0.95
    assert f"models promote {NAME} {registration.version}" in " ".join(capsys.readouterr().out.split())


def test_what_cannot_be_judged_again_is_refused(failed, home):  # noqa: F811
    with pytest.raises(InputError, match="no judged run is there"):
        rejudge("20260101-000000-abcdef", PARAMS, LENIENT)
    with open_ledger() as ledger:
        assert open_batch(ledger, retry_failed=True).batch_id != failed
    with pytest.raises(InputError, match=f"batch {failed} has no request left that failed"):
        rejudge(failed, PARAMS, LENIENT)
