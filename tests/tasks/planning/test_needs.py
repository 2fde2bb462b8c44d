"""What each step needs, and what a machine that is too small is told to change."""

import pytest

from tasks.params import load_params
from tasks.planning.machine import Machine
from tasks.planning.needs import Load, find_needs, share_of_step
from tasks.planning.plan import too_much
from tests import tiny
from unilogit.training.splices import BEGINNING

LARGE = Machine("CPU", (), 1 << 40, 1 << 40, 1 << 40, 0)
LOAD = Load(8, 5, 30)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    size = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 2}
    return tiny.save_model(tmp_path_factory.mktemp("base"), 0, **size)


@pytest.fixture
def needs(base):
    """A function of overrides: step → its need."""

    def find(*overrides, machine=LARGE, load=LOAD):
        params = load_params("params.yaml", [f"model.base={base}", *overrides])
        return {need.step: need for need in find_needs(params, machine, load, corpus_bytes=1000)}

    return find


def memory(need):
    return sum(need.memory.values())


def disk(need):
    return sum(need.disk.values())


def test_every_step_with_a_model_or_a_copy_is_told_in_order(needs):
    names = ["extract, store", "parent", "familiarity", "retain_model", "targets", "unlearn", "attack", "evaluate"]
    assert list(needs()) == [*names, "register"]
    assert "retain_model" not in needs("model.retain=null")
    assert "unlearn" not in needs("unlearn.method=none")


def test_sources_of_targets_take_the_models_that_they_ask(needs, base):
    weights = needs()["familiarity"].memory["weights"]
    assert "targets" not in needs("unlearn.target=uniform")
    assert needs()["targets"].memory["weights"] == weights
    assert needs(f"model.pretrained={base}")["targets"].memory["weights"] == 2 * weights


def test_adapters_need_less_of_all_but_the_attack(needs):
    whole, adapters = needs(), needs("unlearn.lora_rank=2")
    weights = whole["unlearn"].memory["weights"]
    assert whole["unlearn"].memory["optimizer"] == 2 * weights
    assert adapters["unlearn"].memory["optimizer"] < weights / 4
    assert disk(adapters["unlearn"]) < disk(whole["unlearn"]) / 3
    assert memory(adapters["attack"]) == memory(whole["attack"])  # relearning trains all weights
    without = needs("unlearn.lora_rank=2", "evaluate.robustness.attacks=[sampling]")
    assert memory(whole["attack"]) - memory(without["attack"]) == 4 * weights


def test_adapters_that_go_on_from_a_version_need_the_model_before_beside_it(needs):
    knobs = ("unlearn.lora_rank=2", "unlearn.retain_term=kl")
    plain, apart = needs(*knobs), needs(*knobs, "model.start=1")
    weights = disk(plain["parent"])  # as they are stored
    assert memory(apart["unlearn"]) - memory(plain["unlearn"]) == weights
    assert disk(apart["parent"]) == 2 * weights


def test_relearning_takes_adapters_where_a_copy_does_not_fit(needs):
    weights = needs()["attack"].memory["weights"]
    large, small = (Machine("CPU", (), size * weights, 1 << 40, 1 << 40, 0) for size in (6, 5))
    assert needs(machine=large)["attack"].memory["a copy to relearn"] == weights
    assert needs(machine=small)["attack"].memory.keys() == {"weights", "a copy in fewer bits", "a batch"}


def test_checkpoints_hold_weights_moments_and_the_nearest_weights(needs):
    unlearn = needs()["unlearn"]
    weights = unlearn.memory["weights"]
    assert unlearn.disk == {"3 checkpoints, until it ends": 12 * weights, "the model": weights}
    assert needs("evaluate.baselines=[npo]")["unlearn"].disk["the model of npo"] == weights


def test_processes_on_the_cpu_share_its_memory(needs):
    one, two = needs()["unlearn"], needs("unlearn.processes=2")["unlearn"]
    assert two.memory["weights"] == 2 * one.memory["weights"]


def test_what_a_process_is_given_of_a_step():
    def load(*overrides, processes=1):
        return share_of_step(load_params("params.yaml", list(overrides)), processes, 99)

    uniform = "unlearn.target=uniform"
    assert load(uniform) == Load(8, 3, 99)
    assert load() == Load(8, 4, 99 + BEGINNING)
    assert load(uniform, processes=2) == Load(4, 3, 99)
    assert load("unlearn.method=idk_dpo") == Load(8, 4, 99)
    assert load(uniform, "unlearn.retain_term=none") == Load(8, 1, 99)


def test_a_step_is_taken_in_as_many_parts_as_memory_needs(needs):
    whole = needs()["unlearn"]
    assert whole.parts == 1
    parted = needs("unlearn.accumulation=4")["unlearn"]
    assert (parted.parts, parted.memory["activations"]) == (4, whole.memory["activations"] // 4)
    enough = int(memory(whole) / 0.8) + 1
    assert needs(machine=Machine("CPU", (), enough, enough, 1 << 40, 0))["unlearn"].parts == 1
    little = needs(machine=Machine("CPU", (), enough - 2, enough, 1 << 40, 0))["unlearn"]
    assert little.parts == 2
    assert memory(little) < memory(whole)
    assert needs(machine=Machine("CPU", (), 1, 1, 1 << 40, 0))["unlearn"].parts == 8


def test_without_records_only_what_no_run_can_do_without_counts(needs):
    least, usual = needs(load=None), needs()
    assert not {"activations", "logits", "heap"} & set(least["unlearn"].memory)
    assert memory(least["unlearn"]) == 5 * least["unlearn"].memory["weights"]
    assert all(memory(least[step]) <= memory(usual[step]) for step in usual)


def told(needs, machine, *overrides):
    return list(too_much(list(needs(*overrides, machine=machine).values()), machine))


def test_what_memory_does_not_hold_is_told_with_what_helps(needs):
    unlearn = memory(needs()["unlearn"])
    small = Machine("CPU", (), unlearn - 1, unlearn, 1 << 40, 0)
    (problem,) = [one for one in told(needs, small, "unlearn.accumulation=1") if one.startswith("unlearn ")]
    assert "optimizer" in problem
    assert "CPU has" in problem
    for knob in ("unlearn.lora_rank", "unlearn.gradient_checkpointing", "unlearn.accumulation (8)"):
        assert knob in problem
    helped = ["unlearn.lora_rank=16", "unlearn.gradient_checkpointing=true", "unlearn.accumulation=8"]
    least = needs(*helped, machine=small)
    assert memory(least["unlearn"]) < unlearn / 3
    assert not told(needs, Machine("CPU", (), 1 << 40, 0, 1 << 40, 0))


def test_a_batch_takes_no_more_than_there_is(needs):
    weights = needs()["familiarity"].memory["weights"]
    for free in (3 * weights, 1 << 40):
        machine = Machine("CPU", (), free, free, 1 << 40, 0)
        assert memory(needs(machine=machine)["familiarity"]) < free


def test_attacks_and_a_retain_model_that_do_not_fit_are_told(needs):
    weights = needs()["unlearn"].memory["weights"]
    small = Machine("CPU", (), 4 * weights - 1, 1 << 40, 1 << 40, 0)
    problems = told(needs, small, "unlearn.lora_rank=1")
    assert any("retain_model needs" in one and "model.retain: the folder of one, or null" in one for one in problems)
    assert not any("attack needs" in one for one in problems)  # where a copy does not fit, relearning trains adapters


def test_a_full_disk_is_told(needs):
    machine = Machine("CPU", (), 1 << 40, 1 << 40, 1000, 0)
    (problem,) = told(needs, machine)
    assert "under UNILOGIT_HOME" in problem
    assert "has 1 kB left" in problem


def test_the_program_counts_where_models_share_its_memory(needs):
    machine = Machine("CPU", (), 1 << 40, 1 << 40, 1 << 40, 500)
    assert needs(machine=machine)["unlearn"].memory["the program"] == 500
