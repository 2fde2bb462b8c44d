"""Ordinary chat of real, tiny models: what is measured once, what the default gates make of it, and refusals."""

from importlib.util import find_spec

import pytest
import torch
from transformers import AutoModelForCausalLM

from tasks.general import Measurable, check_lm_eval, measure_ordinary_chat
from tasks.stamp import digest
from tasks.workspace import Workspace
from tests.tasks.steps.prepare import loader
from tests.tiny import save_model
from unilogit.errors import InputError
from unilogit.evaluation.general import measure
from unilogit.gates import judge

params = loader("evaluate.general.questions=30", "evaluate.batch_tokens=800")


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def models(tmp_path):
    """Before; another; and, as the model after, before itself."""
    before = save_model(tmp_path / "before", seed=0)
    return {role: Measurable(before, digest(tmp_path / "before")) for role in ("before", "after")}


@pytest.fixture
def damaged(models, tmp_path):
    """The same, but that after is not quite before."""
    model = AutoModelForCausalLM.from_pretrained(models["before"].location)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.5)
    model.save_pretrained(tmp_path / "damaged")
    for file in (tmp_path / "before").glob("*token*"):
        (tmp_path / "damaged" / file.name).write_bytes(file.read_bytes())
    return models | {"after": Measurable(str(tmp_path / "damaged"), digest(tmp_path / "damaged"))}


@pytest.fixture
def scored(monkeypatch):
    """The roles whose models were really measured."""
    roles = []
    real = measure.measure_general

    def counting(*args, progress, **kwargs):
        roles.append(progress.removeprefix("evaluate "))
        return real(*args, progress=None, **kwargs)

    monkeypatch.setattr(measure, "measure_general", counting)
    return roles


def measured(workspace, models, *overrides):
    metrics = {role: {} for role in models} | {"unavailable": {}}
    measure_ordinary_chat(workspace, models, params(*overrides), metrics)
    return metrics


def verdicts(metrics):
    gates = [gate for gate in params().gates if "general" in gate.metric]
    assert {gate.scope for gate in gates} == {"utility"}
    return {verdict.name: verdict.passed for verdict in judge(gates, metrics).gates}


def test_the_default_gates_let_an_unchanged_model_pass_and_a_damaged_one_fail(workspace, models, damaged):
    metrics = measured(workspace, models)
    assert metrics["after"]["general"] == metrics["before"]["general"]
    assert metrics["after"]["general"]["drift"] == 0
    assert metrics["after"]["retained"]["general_perplexity"] == 1
    assert verdicts(metrics) == dict.fromkeys(("ordinary-chat-drift", "ordinary-chat-text"), True)
    metrics = measured(workspace, damaged)
    assert verdicts(metrics) == dict.fromkeys(("ordinary-chat-drift", "ordinary-chat-text"), False)


def test_each_model_is_measured_once(workspace, models, damaged, scored):
    first = measured(workspace, damaged)
    assert scored == ["before", "after"]
    assert measured(workspace, damaged) == first
    assert scored == ["before", "after"]
    measured(workspace, models)
    assert scored == ["before", "after", "after"]
    workspace.ordinary_chat("before").write_text("torn")
    measured(workspace, models)
    assert scored[3:] == ["before"]
    measured(workspace, models, "evaluate.general.text=false")
    assert scored[4:] == ["before", "after"]


def test_what_a_kill_leaves_is_taken_up(workspace, models, scored, monkeypatch):
    counting = measure.measure_general

    def killed(*args, progress, **kwargs):
        if progress == "evaluate after":
            raise KeyboardInterrupt
        return counting(*args, progress=progress, **kwargs)

    monkeypatch.setattr(measure, "measure_general", killed)
    with pytest.raises(KeyboardInterrupt):
        measured(workspace, models)
    monkeypatch.setattr(measure, "measure_general", counting)
    measured(workspace, models)
    assert scored == ["before", "after"]


def test_switched_off_nothing_is_opened_and_gates_say_why(workspace, tmp_path):
    nowhere = {role: Measurable(str(tmp_path / "nowhere"), None) for role in ("before", "after")}
    with pytest.raises(InputError, match="nowhere"):
        measured(workspace, nowhere)
    metrics = measured(workspace, nowhere, "evaluate.general.questions=0", "evaluate.general.text=false")
    assert not any(verdicts(metrics).values())
    assert "evaluate.general.questions" in metrics["unavailable"]["general.drift"]
    assert "evaluate.general.text" in metrics["unavailable"]["retained.general_perplexity"]


@pytest.mark.skipif(find_spec("lm_eval") is not None, reason="lm-eval is installed")
def test_tasks_of_a_package_that_is_not_there_are_refused(workspace, models):
    check_lm_eval(params())
    tasks = params("evaluate.lm_eval_tasks=[hellaswag]")
    for refused in (
        lambda: check_lm_eval(tasks),
        lambda: measured(workspace, models, "evaluate.lm_eval_tasks=[hellaswag]"),
    ):
        with pytest.raises(InputError, match="pip install lm-eval"):
            refused()
