"""What a retry and the next batch take from earlier measurements: what comes of it is the same to the last bit."""

import shutil

import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM

from tasks import stamp
from tests.tasks.steps.measurable import blur, make, rows, run
from unilogit.files import write_parquet

FORGOTTEN, KEPT, FACTS, HOLDOUT = "forget and forget_all", "retain and neighbours", "world_facts", "holdout"
SETS = {FORGOTTEN, KEPT, FACTS, HOLDOUT}
CHAT = {"ordinary chat", "drift"}
ANSWERS = {"fluency"}  # about the forgotten, and how they read
QUICK = "evaluate.general.text=false"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A batch that was measured, its home, and what came of it."""
    folder = tmp_path_factory.mktemp("first")
    make(folder / "workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNILOGIT_HOME", str(folder / "home"))
        run(folder / "workspace", QUICK)
    return folder


class Batch:
    """A copy of the batch, in a home of its own that holds what was measured of the first one."""

    def __init__(self, made, folder, patch):
        self.patch, self.folder = patch, folder
        self.workspace, self.home = folder / "workspace", folder / "home"
        shutil.copytree(made, folder)
        self.before = self.workspace / "before"
        patch.setenv("UNILOGIT_HOME", str(self.home))

    def retrain(self, name="model"):
        """Other weights, as a retry gives them."""
        model = AutoModelForCausalLM.from_pretrained(self.workspace / name)
        torch.manual_seed(1)
        blur(model)
        model.save_pretrained(self.workspace / name)

    def write(self, kind, records):
        write_parquet(self.workspace / "data" / f"{kind}.parquet", pd.DataFrame(records))

    def measure(self, *overrides):
        """What was taken from earlier measurements, by role."""
        told = run(self.workspace, QUICK, *overrides, before=self.before)
        return {role: set(cost.earlier) for role, cost in told.took.items()}

    def measured_alone(self):
        """The outcome of a home in which nothing was measured yet."""
        shutil.copytree(self.home / "keys", self.folder / "empty" / "keys")  # people are called the same
        self.patch.setenv("UNILOGIT_HOME", str(self.folder / "empty"))
        assert not any(self.measure().values())
        return self.outcome()

    def outcome(self):
        """metrics.json, and the values of every record."""
        evaluation = self.workspace / "evaluation"
        files = [evaluation / "metrics.json", *sorted(evaluation.glob("models/*.parquet"))]
        return {file.name: file.read_bytes() for file in files}


@pytest.fixture
def batch(made, tmp_path, monkeypatch):
    return Batch(made, tmp_path / "batch", monkeypatch)


def test_a_retry_measures_the_unlearned_model_alone(batch):
    batch.retrain()
    earlier = batch.measure()
    assert earlier == {
        "before": SETS | ANSWERS | {"ordinary chat"},
        "after": set(),
        "retain_model": SETS | ANSWERS | CHAT,
    }
    assert batch.outcome() == batch.measured_alone()


def test_the_next_batch_takes_what_depends_on_no_batch_from_the_model_it_starts_from(batch):
    """Its parent is the model after, in a copy that a registry has loaded meanwhile; who is forgotten is another."""
    batch.before = shutil.copytree(batch.workspace / "model", batch.workspace / "champion")
    config = batch.before / "tokenizer_config.json"
    config.write_text(config.read_text().replace("{", '{"is_local": true, ', 1))
    batch.retrain()
    batch.write("forget", rows("later", 4, batch="current") + rows("forget", 6, batch="earlier"))
    batch.write("retain", rows("retain", 10) + rows("fact", 4, group="world_facts"))
    earlier = batch.measure()
    assert earlier["before"] == {FACTS, HOLDOUT, "ordinary chat"}
    assert earlier["after"] == set()
    assert batch.outcome() == batch.measured_alone()


def change_weights(batch):
    batch.retrain("before")
    return {"before": set(), "after": SETS | {"ordinary chat"}, "retain_model": SETS | {"ordinary chat"}}


def change_a_record(batch):
    records = rows("fact", 4, group="world_facts")
    records[2]["perturbed_responses"][0] += "?"
    batch.write("retain", rows("retain", 12) + records)
    return expected(SETS - {FACTS} | ANSWERS | CHAT)


def change_the_retain_model(batch):
    batch.retrain("retain_model/model")
    every = expected(SETS - {FORGOTTEN} | ANSWERS | CHAT)
    return every | {"retain_model": ANSWERS}  # it says the same


def change_the_code(batch):
    digest = stamp.code_digest
    batch.patch.setattr("tasks.steps.evaluate.code_digest", lambda module: f"{digest(module)} but for a line")
    return expected(ANSWERS | CHAT)


def expected(names):
    return {"before": names - {"drift"}, "after": names, "retain_model": names}


@pytest.mark.parametrize("change", [change_weights, change_a_record, change_the_retain_model, change_the_code])
def test_what_changed_is_measured_anew(batch, change):
    assert change(batch) == batch.measure()


@pytest.mark.parametrize(
    ("knob", "kept"),
    [
        ("evaluate.max_new_tokens=15", CHAT),
        ("evaluate.general.questions=6", SETS | ANSWERS),
        ("model.max_length=500", set()),
        ("unlearn.learning_rate=1e-3", SETS | ANSWERS | CHAT),
    ],
)
def test_a_knob_counts_where_it_matters(batch, knob, kept):
    assert batch.measure(knob) == expected(kept)
