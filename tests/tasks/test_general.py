"""Ordinary chat of real, tiny models: what is measured once, what the default gates make of it, and refusals."""

from importlib.util import find_spec

import pytest
import torch
from transformers import AutoModelForCausalLM

from tasks.general import check_lm_eval, measure_ordinary_chat
from tests.tasks.steps.prepare import loader
from tests.tiny import save_model
from unilogit.errors import InputError
from unilogit.evaluation.general import measure
from unilogit.gates import judge

params = loader("evaluate.general.questions=30", "evaluate.batch_tokens=800")


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path / "home"))


@pytest.fixture
def models(tmp_path):
    """Before; another; and, as the model after, before itself."""
    before = save_model(tmp_path / "before", seed=0)
    return dict.fromkeys(("before", "after"), before)


@pytest.fixture
def damaged(models, tmp_path):
    """The same, but that after is not quite before."""
    model = AutoModelForCausalLM.from_pretrained(models["before"])
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.5)
    model.save_pretrained(tmp_path / "damaged")
    for file in (tmp_path / "before").glob("*token*"):
        (tmp_path / "damaged" / file.name).write_bytes(file.read_bytes())
    return models | {"after": str(tmp_path / "damaged")}


@pytest.fixture
def scored(monkeypatch):
    """What was really measured: the role of each model, and of each beside the model before."""
    done = []

    def count(name, sign):
        real = getattr(measure, name)

        def counting(*args, progress, **kwargs):
            done.append(progress.removeprefix("evaluate ") + sign)
            return real(*args, progress=None, **kwargs)

        monkeypatch.setattr(measure, name, counting)

    count("measure_general", "")
    count("measure_drift", " drift")
    return done


def measured(models, *overrides):
    metrics = {role: {} for role in models} | {"unavailable": {}}
    took = measure_ordinary_chat(models, params(*overrides), metrics)
    for role, cost in took.items():
        metrics[role]["earlier"] = cost.earlier
    return metrics


def verdicts(metrics):
    gates = [gate for gate in params().gates if "general" in gate.metric]
    assert {gate.scope for gate in gates} == {"utility"}
    return {verdict.name: verdict.passed for verdict in judge(gates, metrics).gates}


def test_the_default_gates_let_an_unchanged_model_pass_and_a_damaged_one_fail(models, damaged):
    metrics = measured(models)
    assert metrics["after"]["general"] == metrics["before"]["general"]
    assert metrics["after"]["general"]["drift"] == 0
    assert metrics["after"]["retained"]["general_perplexity"] == 1
    assert verdicts(metrics) == dict.fromkeys(("ordinary-chat-drift", "ordinary-chat-text"), True)
    metrics = measured(damaged)
    assert verdicts(metrics) == dict.fromkeys(("ordinary-chat-drift", "ordinary-chat-text"), False)


def earlier(metrics):
    """What was taken from an earlier measurement, which is none of the metrics."""
    return {role: metrics[role].pop("earlier") for role in ("before", "after")}


def test_each_model_is_measured_once(models, damaged, scored):
    first = measured(damaged)
    assert scored == ["before", "after", "after drift"]
    assert earlier(first) == {"before": [], "after": []}
    second = measured(damaged)
    assert earlier(second) == {"before": ["ordinary chat"], "after": ["ordinary chat", "drift"]}
    assert second == first
    assert scored == ["before", "after", "after drift"]
    measured(models)
    assert scored[3:] == ["after drift"]  # of the same weights as before
    measured(models, "evaluate.general.text=false")
    assert scored[4:] == ["before", "after drift"]


def test_the_model_after_is_not_measured_again_when_it_is_the_next_one_before(damaged, models, scored):
    measured(damaged)
    scored.clear()
    measured({"before": damaged["after"], "after": damaged["before"]})
    assert scored == ["after drift"]


def test_what_a_kill_leaves_is_taken_up(damaged, scored, monkeypatch):
    counting = measure.measure_general

    def killed(*args, progress, **kwargs):
        if progress == "evaluate after":
            raise KeyboardInterrupt
        return counting(*args, progress=progress, **kwargs)

    monkeypatch.setattr(measure, "measure_general", killed)
    with pytest.raises(KeyboardInterrupt):
        measured(damaged)
    monkeypatch.setattr(measure, "measure_general", counting)
    measured(damaged)
    assert scored == ["before", "after", "after drift"]


def test_switched_off_nothing_is_opened_and_gates_say_why(tmp_path):
    nowhere = dict.fromkeys(("before", "after"), str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="nowhere"):
        measured(nowhere)
    metrics = measured(nowhere, "evaluate.general.questions=0", "evaluate.general.text=false")
    assert not any(verdicts(metrics).values())
    assert "evaluate.general.questions" in metrics["unavailable"]["general.drift"]
    assert "evaluate.general.text" in metrics["unavailable"]["retained.general_perplexity"]


@pytest.mark.skipif(find_spec("lm_eval") is not None, reason="lm-eval is installed")
def test_tasks_of_a_package_that_is_not_there_are_refused(models):
    check_lm_eval(params())
    tasks = params("evaluate.lm_eval_tasks=[hellaswag]")
    for refused in (
        lambda: check_lm_eval(tasks),
        lambda: measured(models, "evaluate.lm_eval_tasks=[hellaswag]"),
    ):
        with pytest.raises(InputError, match="pip install lm-eval"):
            refused()
