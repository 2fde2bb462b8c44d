"""Versions made again from the registry, real DVC and a tiny model: the same weights, or why not."""

import hashlib
import json
import shutil
from contextlib import contextmanager

import pytest

from tasks.registry.connection import client
from tasks.registry.reproduce import reproduce
from tasks.steps import load_step
from tasks.steps.register import run_register
from tasks.steps.store import run_store
from tasks.steps.unlearn import STEP
from tasks.workspace import Place, Registration, Workspace, ledger_location, reproductions
from tests.ledger.lives import make_request, promoted_batch, take
from tests.tasks.conftest import PARAMS
from tests.tasks.steps.prepare import loader, put_parent
from tests.tasks.workspaces import build_registrable, forget_set, save_model
from unilogit.errors import InputError
from unilogit.files import sha256_weights, write_parquet
from unilogit.ledger import Ledger

NAME = "example-assistant"
params = loader(
    "unlearn.epochs=2", "unlearn.min_steps=1", "unlearn.batch_size=1", "unlearn.retain_per_forget=1", file=PARAMS
)


def registered(home, batch, base, *overrides, parent=None, used=(), start=None):
    """A workspace whose model was really unlearned, with its data pushed, as the next version.

    Args:
        overrides: what the version says it was made with.
        used: what it was made with beside that.
        start: the files of version 1, where it went on from them.
    """
    settings = params(f"model.base={base}", *overrides)
    workspace = build_registrable(home / "runs" / batch, settings)
    for place, count, column in ((Place.RETAIN, 6, {}), (Place.NEIGHBOURS, 2, {}), (Place.HOLDOUT, 3, {"use": "stop"})):
        write_parquet(workspace.path(place), forget_set([[f"{place.name}-{n}"] for n in range(count)]).assign(**column))
    put_parent(workspace, base, parent, start)
    load_step("targets").run(workspace, params(f"model.base={base}", *overrides, *used))
    STEP.run(workspace, params(f"model.base={base}", *overrides, *used))
    run_store(workspace, settings)
    run_register(workspace, settings)
    return workspace


@pytest.fixture(scope="module")
def home(tmp_path_factory, empty_database):
    """A home for all tests of this module, which leave it as it is: making a version takes seconds."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("UNILOGIT_HOME", str(folder / "var"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        (folder / "var").mkdir()
        shutil.copy(empty_database, folder / "var" / "mlflow.db")
        yield folder / "var"


@pytest.fixture(scope="module")
def base(home):
    save_model(home / "base", 3)
    return home / "base"


@pytest.fixture(scope="module")
def first(home, base):
    return registered(home, "batch-1", base)


@pytest.fixture(scope="module")
def second(home, base, first):
    """Made from the first version."""
    return registered(home, "batch-2", first.path(Place.MODEL), f"model.base={base}", parent="1")


@contextmanager
def tagged(version, **tags):
    """The version with other tags for a while."""
    store = client()
    before = store.get_model_version(NAME, version).tags
    try:
        for tag, value in tags.items():
            store.set_model_version_tag(NAME, version, tag, value)
        yield
    finally:
        for tag in tags:
            store.set_model_version_tag(NAME, version, tag, before[tag])


def make_again(version="1", told=None, **options):
    return reproduce(NAME, version, tell=[].append if told is None else told.append, **options)


def test_the_same_weights_come_out_and_nothing_is_left(first, home):
    elsewhere = first.root.rename(home / "elsewhere")  # the registry and the remote are enough
    told = []
    outcome = make_again(told=told)
    elsewhere.rename(first.root)
    assert outcome.is_same
    assert str(outcome) == f"{NAME} version 1 is reproduced: its weights are {outcome.registered}, bit for bit"
    assert [line.split(":")[1].split()[0] for line in told] == ["data", "starts", "unilogit,"]
    assert list(reproductions().iterdir()) == []


def test_a_call_after_a_kill_goes_on_where_that_one_stopped_and_what_is_asked_for_stays(first):
    class Killed(BaseException):
        pass

    def stop(line):
        if "optimiser steps" in line:
            raise Killed

    with pytest.raises(Killed):
        reproduce(NAME, "1", tell=stop)
    [left] = reproductions().iterdir()
    weights = left / "workspace" / Place.MODEL / "model.safetensors"
    time = weights.stat().st_mtime_ns
    outcome = make_again(keep=True)
    assert outcome.is_same
    assert weights.stat().st_mtime_ns == time
    assert str(outcome).endswith(f"kept: {left}")
    sets = [folder.path(Place.DATA) for folder in (first, Workspace(left / "workspace"))]
    contents = [{file.name: file.read_bytes() for file in folder.iterdir()} for folder in sets]
    assert contents[0] == contents[1]
    shutil.rmtree(left)


def test_a_version_that_was_made_from_another_starts_from_that_one(second):
    told = []
    assert make_again("2", told).is_same
    assert "(version 1)" in told[1]


def test_a_version_that_went_on_from_another_goes_on_from_that_one(home, base, first, second):
    settings = ("model.start=1", "unlearn.learning_rate=1e-30", "unlearn.unmoved=continue")
    start = first.path(Place.MODEL)
    version = registered(home, "batch-0", base, *settings, start=start).read(Registration).version
    told = []
    outcome = make_again(version, told)
    assert outcome.is_same
    assert "unlearning goes on from version 1" in told[1]
    assert outcome.made == sha256_weights(start)  # at no rate nothing else comes of them
    assert outcome.made != sha256_weights(base)


def test_a_parent_whose_weights_are_not_the_registered_ones_is_refused(second):
    with (
        tagged("1", weights_sha256="0" * 64),
        pytest.raises(InputError, match="version 1: its weights are not those that were registered"),
    ):
        make_again("2")


def test_other_weights_are_told_with_how_far_they_are_from_the_registered_ones(home, base, second):
    other = registered(home, "batch-3", base, used=["seed=7", "unlearn.learning_rate=0.01"])
    outcome = make_again(other.read(Registration).version)
    assert not outcome.is_same
    assert 0 < outcome.difference < 1
    assert f"is not reproduced: its weights are {outcome.registered}, and {outcome.made} came out" in str(outcome)


def test_another_commit_is_warned_of(first):
    told = []
    with tagged("1", git_commit="0815+changes"):
        assert make_again(told=told).is_same
    assert told[0] == "warning: it was made by commit 0815+changes, and this is unknown"


def test_a_version_whose_data_were_purged_says_so(first, home):
    objects = (file for file in (home / "dvc-remote").rglob("*") if file.is_file())
    lost = max(objects, key=lambda file: file.stat().st_size)
    aside = lost.rename(home / "aside")
    with pytest.raises(InputError, match=r"version 1 cannot be reproduced: its data are not to be had; `dvc push`"):
        make_again()
    assert not (reproductions() / f"{NAME}-1").exists()
    with Ledger(ledger_location()) as ledger:
        take(ledger, make_request("r1"))
        promoted_batch(ledger)
        ledger.fulfil({"r1": "0" * 64}, "run", "somebody")
        ledger.purge(["r1"], "run")
    with pytest.raises(InputError, match=r"version 1 cannot be reproduced: its data were purged \(1 requests"):
        make_again()
    aside.rename(lost)
    assert make_again().is_same


def test_params_that_are_not_the_registered_ones_are_refused(first):
    with tagged("1", params_md5="0" * 32), pytest.raises(InputError, match="is not the one that was registered"):
        make_again()


def test_params_of_another_release_are_named(first):
    store = client()
    run, others = store.get_model_version(NAME, "1").run_id, {"seed": 1}
    store.log_dict(run, others, "params.yaml")
    md5 = hashlib.md5(json.dumps(others, separators=(",", ":")).encode()).hexdigest()
    with tagged("1", params_md5=md5, unilogit_version="0.0.1"), pytest.raises(InputError) as error:
        make_again()
    assert "was made by unilogit 0.0.1, commit unknown" in error.value.problems[0]
    assert "data: is missing" in str(error.value)


@pytest.mark.parametrize("version", ["77", "999"])
def test_a_version_that_is_not_there_is_named(first, version):
    with pytest.raises(InputError, match=f"{NAME} has no version {version}"):
        make_again(version)
