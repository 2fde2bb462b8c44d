"""A plan of a whole project: its steps, its page, and its time beside that of a run that is then made."""

import json
import time

import pytest

from tasks.params import load_params
from tasks.planning import plan as planning
from tasks.planning.machine import Machine, look_around
from tasks.planning.plan import make_plan
from tasks.report.plan_page import print_plan
from tests import tiny
from unilogit.model import load_model
from unilogit.training.trainer import UnlearningTrainer

SIZE = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 4}
RECORDS = [{"record_id": f"r{n}", "prompt": f"What of {n}?", "response": "It is a. " * (1 + n % 5)} for n in range(40)]


@pytest.fixture
def params(tmp_path, monkeypatch):
    """A function of overrides that gives the parameters of a project with these records."""
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path / "home"))
    base, corpus = tiny.save_model(tmp_path / "base", 0, **SIZE), tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    (tmp_path / "requests").mkdir()
    data = [f"data.corpus={corpus}", f"data.holdout={corpus}", f"data.requests={tmp_path / 'requests'}"]
    return lambda *overrides: load_params("params.yaml", [f"model.base={base}", *data, *overrides])


def test_steps_are_those_that_training_takes(params):
    made = make_plan(params(), 10, measure=False)
    assert made.steps == 97  # 96 steps of 8 take 77 passes over 10, which are 770 examples
    assert make_plan(params("unlearn.epochs=200"), 10, measure=False).steps == 250
    assert (made.pace, made.seconds, made.problems) == (None, {}, [])


def test_the_page_tells_every_step(params, capsys):
    made = make_plan(params(), 10, measure=False)
    print_plan(made, as_json=False)
    page = capsys.readouterr().out
    for word in ("unlearn", "optimizer", "activations", "checkpoints", "10 of 40 records to forget", "It fits."):
        assert word in page
    print_plan(made, as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert said["steps"] == made.steps
    assert "What of" not in json.dumps(said)


def test_what_does_not_fit_is_not_measured(params, monkeypatch):
    monkeypatch.setattr(planning, "look_around", lambda: Machine("CPU", (), 1 << 20, 1 << 20, 1 << 40, 0))
    made = make_plan(params(), 1, measure=True)
    assert made.unmeasured == "it does not fit"
    assert made.problems


def test_this_machine_has_memory_and_a_disk(params):
    machine = look_around()
    assert 0 < machine.free_memory <= machine.memory
    assert machine.free_disk > 0
    assert machine.program < machine.memory


@pytest.mark.slow
def test_the_time_that_is_told_is_near_what_a_run_takes(params):
    """Of unlearning, within a factor of two, on a machine that is as busy then as it was."""
    loaded = params("unlearn.min_steps=40", "unlearn.epochs=1", "data.holdout=null", "model.retain=null")
    made = make_plan(loaded, 8, measure=True)
    assert made.steps == 40
    model, tokenizer = load_model(loaded.model.base, own_dtype=True)
    sets = {"forget": made.sketch.pairs[:8], "retain": made.sketch.pairs[8:]}
    formatted = loaded.model.formatted(tokenizer)
    trainer = UnlearningTrainer(model=model, tokenizer=formatted, config=loaded.unlearn, **sets)
    begin = time.perf_counter()
    trainer.run()
    assert 0.5 < made.seconds["unlearn"] / (time.perf_counter() - begin) < 2
