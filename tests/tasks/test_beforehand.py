"""What cannot end well is refused before anything is begun, naming the file that was given."""

import shutil

import pytest

from tasks.beforehand import check_beforehand
from tasks.params import load_params
from tasks.planning import plan
from tasks.planning.machine import Machine
from tests import tiny
from tests.adapted import save_random_adapter
from unilogit.errors import InputError
from unilogit.evaluation.registry import METRICS
from unilogit.files import write_json
from unilogit.training.launch import count_parameters


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """One for all tests: nothing is registered in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNILOGIT_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny.save_model(folder / "base", 0)
    tiny.save_model(folder / "retain", 1)
    tiny.save_model(folder / "other", 1, texts=["quite other words, so other tokens"] * 3)
    return folder


@pytest.fixture
def problems(models, tmp_path):
    """A function of overrides that gives the problems found."""
    for name in ("corpus.jsonl", "holdout.jsonl"):
        (tmp_path / name).touch()

    def check(*overrides):
        paths = [f"data.corpus={tmp_path}/corpus.jsonl", f"data.holdout={tmp_path}/holdout.jsonl"]
        params = load_params("params.yaml", [*paths, f"model.base={models / 'base'}", *overrides])
        try:
            check_beforehand(params, "mine.yaml")
        except InputError as error:
            told = [problem.partition("mine.yaml: ") for problem in error.problems]
            return [problem if before == "" else f"{before} is no file" for before, _, problem in told]
        return []

    return check


def test_what_ships_is_possible(problems, models):
    assert problems() == []
    assert problems(f"model.retain={models / 'retain'}") == []


@pytest.mark.parametrize("name", ["corpus", "holdout"])
def test_absent_data_are_named(problems, name):
    (problem,) = problems(f"data.{name}=nowhere.jsonl")
    assert problem.startswith(f"data.{name} = 'nowhere.jsonl': there is no such file or folder; correct the path")


def test_a_model_that_is_not_there_or_does_not_fit_is_named(problems, models, tmp_path):
    (problem,) = problems(f"model.base={tmp_path}/none")
    assert problem.startswith(f"model.base = '{tmp_path}/none': no model there (")
    (problem,) = problems(f"model.retain={tmp_path}/none")
    assert problem.startswith(f"model.retain = '{tmp_path}/none': no model there (config.json is missing); give")
    (problem,) = problems(f"model.retain={models / 'other'}")
    assert "its tokenizer is not that of model.base" in problem
    broken = shutil.copytree(models / "retain", tmp_path / "broken")
    (broken / "tokenizer.json").write_text("{")
    (problem,) = problems(f"model.retain={broken}")
    assert "cannot be read" in problem


def test_a_version_to_go_on_from_that_is_not_there_is_named(problems):
    (problem,) = problems("model.start=3")
    assert problem.startswith("model.start = 3: example-assistant has no such version; `unilogit models list` shows")


def test_targets_that_cannot_be_had_are_named(problems, models, tmp_path):
    assert problems("unlearn.target=auto", f"model.pretrained={models / 'retain'}") == []
    (problem,) = problems("unlearn.target=base")
    assert problem.startswith("unlearn.target = 'base': model.pretrained is null; name the checkpoint before")
    (problem,) = problems(f"model.pretrained={tmp_path}/none")
    assert problem.startswith(f"model.pretrained = '{tmp_path}/none': no model there (")
    (problem,) = problems(f"model.pretrained={models / 'other'}")
    assert problem.startswith(f"model.pretrained = '{models / 'other'}': its tokenizer is not that of model.base")
    unheld = problems("unlearn.target=unseen", "data.holdout=null")
    assert "needs people whom the model never saw, and data.holdout is null" in unheld[0]


def gate(metric):
    return f"gates=[{{name: mine, scope: utility, metric: {metric}, op: '<=', threshold: 1}}]"


def test_every_metric_of_its_own_can_be_gated_and_is_refused_without_what_it_needs(problems):
    metrics = [name for name in METRICS if "." in name or name in ("model_utility", "privleak")]
    gates = ", ".join(f"{{name: {name}, scope: utility, metric: {name}, op: '<=', threshold: 1}}" for name in metrics)
    assert problems(f"gates=[{gates}]") == []
    chat = ("evaluate.general.questions=0", "evaluate.general.text=false")
    without = problems(
        f"gates=[{gates}]", "data.holdout=null", "model.retain=null", "evaluate.robustness.attacks=[]", *chat
    )
    needy = ("forget_quality", "membership_inference", "people.known", "privleak", "retain_divergence", "robustness")
    needy += ("general", "retained.general")
    refused = [name for name in metrics if name.startswith(needy)]
    assert [problem.partition(" needs ")[0] for problem in without] == [f"gate {name}: {name}" for name in refused]


def test_sets_and_metrics_that_are_not_measured_are_refused(problems):
    for metric in ("forget.probability", "neighbours.rouge_l_recall", "world_facts.truth_ratio", "holdout.probability"):
        assert problems(gate(metric)) == []
    for metric, *overrides in (
        ("neighbours.probability", "data.neighbours=0"),
        ("world_facts.probability", "data.utility_groups=[]"),
        ("holdout.probability", "data.holdout=null"),
        ("forgot.probability",),
    ):
        (problem,) = problems(gate(metric), *overrides)
        assert problem.startswith(f"gate mine: {metric} is of no set that is measured: correct it, to one of forget,")
    (problem,) = problems(gate("forget.probabilty"))
    assert problem.startswith("gate mine: forget.probabilty is not measured: correct it, to one of probability,")


def test_a_task_of_lm_eval_that_is_gated_has_to_be_named(problems):
    (problem,) = problems(gate("lm_eval.arc_easy.acc"))
    assert problem.startswith(
        "gate mine: lm_eval.arc_easy.acc is of a task of lm-eval, and evaluate.lm_eval_tasks is []"
    )
    assert problems(gate("lm_eval.arc_easy.acc"), "evaluate.lm_eval_tasks=[arc_easy]") == []


def test_every_problem_is_told_at_once(problems, tmp_path):
    assert len(problems("data.corpus=nowhere", f"model.base={tmp_path}/none", gate("forgot.probability"))) == 3


def test_an_adapter_that_cannot_be_made_is_told(problems, models, tmp_path):
    (problem,) = problems("register.save=adapter")
    assert "is a whole model and unlearn.lora_rank is null; set unlearn.lora_rank, or register.save" in problem
    assert problems("register.save=adapter", "unlearn.lora_rank=2") == []
    folder = save_random_adapter(tmp_path / "adapter", models / "base")
    assert problems("register.save=adapter", f"model.base={folder}", f"model.retain={models / 'retain'}") == []
    write_json(folder / "adapter_config.json", {"peft_type": "LORA", "base_model_name_or_path": "/nowhere"})
    (problem,) = problems(f"model.base={folder}")
    assert problem.startswith(f"model.base: {folder}: the base of its adapter, /nowhere, is not there")


def test_what_cannot_fit_is_told_with_what_helps(problems, models, monkeypatch):
    weights = 4 * count_parameters(str(models / "base"))  # unlearning and training hold four of them
    small = Machine("CPU", (), memory=int(3.5 * weights), free_memory=1 << 40, free_disk=1 << 40, program=0)
    monkeypatch.setattr(plan, "look_around", lambda: small)
    told = problems()
    assert [problem.split(" needs ")[0] for problem in told] == ["retain_model", "unlearn"]
    assert "unlearn.lora_rank (16)" in told[1]
    assert not any(" of memory " in problem for problem in problems("model.base=./nowhere/at/all"))
