"""The trainer on a tiny model: what a step sees, what is trained, what stays as it was."""

import copy

import pytest
import torch

from tests.training.tiny import ALTERNATIVES, FORGET, TOKENIZER, largest_difference, tiny_model, tiny_trainer, weights
from unilogit.errors import InputError
from unilogit.losses.pdu import Pdu
from unilogit.losses.registry import METHODS, RETAIN_TERMS


@pytest.fixture
def model():
    return tiny_model()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_and_records_its_terms(method, model):
    before = weights(model)
    constant = {"pdu": Pdu(dual_rate=0)}
    history = tiny_trainer(model, arguments={"alternatives": ALTERNATIVES}, method=method, **constant).run()
    steps = [entry for entry in history if "forget_loss" in entry]
    assert len(steps) == 4
    published = METHODS[method].retain_term
    assert all(("retain_loss" in entry) == (published != "none") for entry in steps)
    for entry in steps:
        total = entry["forget_loss"] + 5 * entry.get("retain_loss", 0)
        assert entry["loss"] == pytest.approx(total, rel=1e-4, abs=1e-6)
    assert largest_difference(before, weights(model)) > 1e-4


@pytest.mark.parametrize("method", ["unilogit", "npo", "undial"])
@pytest.mark.parametrize("retain", [*RETAIN_TERMS, "none"])
def test_any_retain_term_goes_with_any_method(method, retain, model):
    history = tiny_trainer(model, method=method, retain_term=retain, epochs=1).run()
    assert ("retain_loss" in history[0]) == (retain != "none")


@pytest.mark.parametrize("nothing", [{"retain_weight": 0}, {"retain_per_forget": 0}, {"retain_term": "none"}])
def test_nothing_to_retain_leaves_the_forget_term_alone(nothing, model):
    history = tiny_trainer(model, epochs=1, **nothing).run()
    assert all("retain_loss" not in entry for entry in history)
    assert history[0]["loss"] == pytest.approx(history[0]["forget_loss"])


@pytest.mark.parametrize("method", ["unilogit", "npo", "undial", "idk_dpo"])
def test_a_step_is_the_same_in_one_part_or_in_four(method, model):
    """Answers are of uneven length: the mean of the parts' means would be another loss. The last step is of fillers."""
    model.double()
    results = []
    for accumulation in (1, 4):
        one = copy.deepcopy(model)
        forget = FORGET[:7]
        task = tiny_trainer(
            one, arguments={"forget": forget}, method=method, batch_size=4, accumulation=accumulation, epochs=3
        )
        assert task.args.per_device_train_batch_size == 4 // accumulation
        results.append((weights(one), task.run(), weights(one)))
    (before, history, after), (_, history_of_parts, after_parts) = results
    assert history[-1]["step"] == 6  # of 21 examples, four at a time
    assert largest_difference(before, after) > 1e-4
    assert largest_difference(after, after_parts) < 1e-6
    for whole, parts in zip(history[:-1], history_of_parts[:-1], strict=True):
        assert {"loss", "forget_loss"} < whole.keys() == parts.keys()
        for name in {"loss", "forget_loss", "retain_loss"} & whole.keys():
            assert whole[name] == pytest.approx(parts[name], rel=1e-6)


@pytest.mark.parametrize("knobs", [{"method": "undial"}, {"method": "rmu"}, {"method": "npo", "lora_rank": 2}], ids=str)
def test_gradient_checkpointing_changes_no_result(knobs, model):
    model.double()
    results = []
    for on in (True, False):
        one = copy.deepcopy(model)
        tiny_trainer(one, gradient_checkpointing=on, **knobs).run()
        results.append(weights(one))
    assert largest_difference(*results) < 1e-9


@pytest.mark.slow  # compiling takes a minute
def test_compiling_changes_no_result(model):
    model.double()
    results = []
    for on in (True, False):
        one = copy.deepcopy(model)
        tiny_trainer(one, compile=on, gradient_checkpointing=True).run()
        results.append(weights(one))
    # Llama's norms and rotary angles are float32 whatever its dtype: compiled, their last bits may differ.
    assert largest_difference(*results) < 1e-6
    assert largest_difference(weights(model), results[0]) > 1e-3


def test_the_same_run_gives_the_same_bits(model):
    results = []
    for _ in range(2):
        one = copy.deepcopy(model)
        task = tiny_trainer(one, method="undial", retain_term="kl")
        assert task.deterministic
        task.run()
        assert not torch.are_deterministic_algorithms_enabled()
        results.append(weights(one))
    assert largest_difference(*results) == 0
    assert not tiny_trainer(model, deterministic=False).deterministic


def test_without_a_folder_nothing_is_left(model, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    task = tiny_trainer(model)
    task.run()
    assert list(tmp_path.iterdir()) == []
    assert task.epochs_done == 2


def test_the_configuration_is_as_it_was(model):
    before = model.config.to_dict()
    assert before["use_cache"]
    tiny_trainer(model).run()
    assert model.config.to_dict() == before


def test_training_that_diverges_says_so(model):
    with pytest.raises(InputError, match=r"the loss is nan by step 3, .*; lower unlearn\.learning_rate"):
        tiny_trainer(model, learning_rate=1e30).run()


def test_a_long_answer_is_trained_on_to_its_end(model):
    """Of each record in windows, every answer token counts once an epoch."""
    forget = [("Who?", "very far " * 40), *FORGET[:3]]
    arguments = {"forget": forget, "max_length": 48}
    task = tiny_trainer(model, arguments=arguments, retain_term="none", batch_size=2, epochs=1)
    assert len(task.examples.forget) > len(forget)
    rows = [row for position in range(len(task.examples)) for row in task.examples[position]]
    counted = sum(len(row.example.ids) - row.example.answer_start for row in rows)
    encode = TOKENIZER.encode
    assert counted == sum(len(encode(answer, add_special_tokens=False)) + 1 for _, answer in forget)
    assert all(len(row.example.ids) <= 48 for row in rows)
    task.run()
    assert task.epochs_done == 1
