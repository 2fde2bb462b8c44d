"""The trainer on a tiny model: what a step sees, what is trained, what a resumed run gives."""

import copy

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback

from unilogit.errors import InputError
from unilogit.evaluation.probability import score_answers
from unilogit.losses.registry import METHODS
from unilogit.params import load_params
from unilogit.training.from_scratch import train_tokenizer
from unilogit.training.trainer import Monitor, UnlearningTrainer


def pairs(count, kind):
    return [
        (f"Where does {kind} {number} live?", f"{number * 7} {'very ' * (number % 4)}far Street")
        for number in range(count)
    ]


FORGET, RETAIN = pairs(8, "Ada"), pairs(11, "Bo")
TOKENIZER = train_tokenizer([text for pair in FORGET + RETAIN for text in pair], 320)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(TOKENIZER),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=64,
            tie_word_embeddings=True,
        )
    )


def trainer(model, folder, *overrides, **arguments):
    settings = load_params(
        "params.yaml",
        [
            "unlearn.epochs=2",
            "unlearn.batch_size=4",
            "unlearn.retain_per_forget=1",
            "unlearn.rmu.layer=0",
            *(f"unlearn.{override}" for override in overrides),
        ],
    ).unlearn
    defaults = {"forget": FORGET, "retain": RETAIN, "seed": 1}
    return UnlearningTrainer(
        model=model, tokenizer=TOKENIZER, settings=settings, output_dir=folder, **defaults | arguments
    )


def weights(model):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def largest_difference(one, other):
    assert one.keys() == other.keys()
    return max((one[name] - other[name]).abs().max().item() for name in one)


def nll(model, of):
    prompts, answers = zip(*of, strict=True)
    return float(score_answers(model, TOKENIZER, prompts, answers, batch_size=16)["nll"].mean())


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_and_records_its_terms(method, model, tmp_path):
    before = weights(model)
    history = trainer(
        model,
        tmp_path,
        f"method={method}",
        alternatives=["Elsewhere." for _ in FORGET],
    ).run()
    steps = [entry for entry in history if "forget_loss" in entry]
    assert len(steps) == 4
    published = METHODS[method].retain_term
    assert all(("retain_loss" in entry) == (published != "none") for entry in steps)
    for entry in steps:
        total = entry["forget_loss"] + 5 * entry.get("retain_loss", 0)
        assert entry["loss"] == pytest.approx(total, rel=1e-4, abs=1e-6)
    assert largest_difference(before, weights(model)) > 1e-4


@pytest.mark.parametrize("method", ["unilogit", "npo", "undial"])
@pytest.mark.parametrize("retain", ["nll", "kl", "activations", "none"])
def test_any_retain_term_goes_with_any_method(method, retain, model, tmp_path):
    history = trainer(model, tmp_path, f"method={method}", f"retain_term={retain}", "epochs=1").run()
    assert ("retain_loss" in history[0]) == (retain != "none")


@pytest.mark.parametrize(
    "nothing", [{"retain": []}, {"overrides": ["retain_weight=0"]}, {"overrides": ["retain_per_forget=0"]}]
)
def test_nothing_to_retain_leaves_the_forget_term_alone(nothing, model, tmp_path):
    overrides = nothing.get("overrides", [])
    history = trainer(model, tmp_path, *overrides, "epochs=1", retain=nothing.get("retain", RETAIN)).run()
    assert all("retain_loss" not in entry for entry in history)
    assert history[0]["loss"] == pytest.approx(history[0]["forget_loss"])


@pytest.mark.parametrize("method", ["unilogit", "npo", "undial", "idk_dpo"])
def test_a_step_is_the_same_in_one_part_or_in_four(method, model, tmp_path):
    """Answers are of uneven length: the mean of the parts' means would be another loss."""
    model.double()
    results = []
    for accumulation in (1, 4):
        one = copy.deepcopy(model)
        task = trainer(
            one, tmp_path / str(accumulation), f"method={method}", "batch_size=8", f"accumulation={accumulation}"
        )
        assert task.args.per_device_train_batch_size == 8 // accumulation
        results.append((weights(one), task.run(), weights(one)))
    (before, history, after), (_, history_of_parts, after_parts) = results
    assert largest_difference(before, after) > 1e-4
    assert largest_difference(after, after_parts) < 1e-6
    for whole, parts in zip(history[:-1], history_of_parts[:-1], strict=True):
        assert {"loss", "forget_loss"} < whole.keys() == parts.keys()
        for name in {"loss", "forget_loss", "retain_loss"} & whole.keys():
            assert whole[name] == pytest.approx(parts[name], rel=1e-6)


class Kill(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "overrides",
    [[], ["lora_rank=2", "method=npo"], ["batch_size=4", "accumulation=2", "method=idk_dpo"], ["retain_term=kl"]],
    ids=lambda overrides: ",".join(overrides) or "default",
)
def test_a_run_that_was_killed_ends_where_it_would_have(overrides, model, tmp_path):
    def start(folder):
        one = copy.deepcopy(model)
        return one, trainer(one, tmp_path / folder, *overrides, "epochs=3")

    whole, task = start("whole")
    task.run()
    _, task = start("killed")
    task.add_callback(Kill(step=5))  # a step after the second epoch's checkpoint
    with pytest.raises(KeyboardInterrupt):
        task.run()
    resumed, task = start("killed")
    history = task.run()
    assert history[-1]["step"] == 6
    assert largest_difference(weights(whole), weights(resumed)) == 0


def test_adapters_are_trained_alone_and_merged(model, tmp_path):
    before = weights(model)
    task = trainer(model, tmp_path, "lora_rank=2", "learning_rate=1e-2")
    trained = {name for name, parameter in task.model.named_parameters() if parameter.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    task.run()
    after = weights(model)
    assert after.keys() == before.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if "proj" in name}
    model.save_pretrained(tmp_path / "saved")
    loaded = LlamaForCausalLM.from_pretrained(tmp_path / "saved")
    assert nll(loaded, FORGET) == pytest.approx(nll(model, FORGET), rel=1e-6)


@pytest.mark.parametrize("lora", ["null", "2"])
def test_the_reference_stays_the_model_before_unlearning(lora, model, tmp_path):
    parent = copy.deepcopy(model).eval()
    task = trainer(model, tmp_path, "method=npo", f"lora_rank={lora}", "learning_rate=1e-2")
    loss = task.unlearning_loss
    assert (loss.reference.model is loss.scorer.model) == (lora != "null")  # no second copy beside adapters
    inputs = {"input_ids": torch.tensor([[3, 4, 5, 6]]), "attention_mask": torch.ones(1, 4, dtype=torch.int64)}
    expected = parent.model(**inputs).last_hidden_state

    class Look(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            with torch.no_grad(), loss.as_reference():
                torch.testing.assert_close(loss.reference.features(**inputs).last, expected)
            assert not torch.allclose(loss.scorer.features(**inputs).last, expected)

    task.add_callback(Look())
    history = task.run()
    assert history[0]["forget_loss"] == pytest.approx(20 * 0.693147, rel=1e-4)
    assert history[-2]["forget_loss"] != pytest.approx(20 * 0.693147, rel=1e-4)


@pytest.mark.parametrize("overrides", [["method=undial"], ["method=rmu"], ["method=npo", "lora_rank=2"]])
def test_gradient_checkpointing_changes_no_result(overrides, model, tmp_path):
    model.double()
    results = []
    for on in ("true", "false"):
        one = copy.deepcopy(model)
        trainer(one, tmp_path / on, *overrides, f"gradient_checkpointing={on}").run()
        results.append(weights(one))
    assert largest_difference(*results) < 1e-9


@pytest.mark.slow  # compiling takes a minute
def test_compiling_changes_no_result(model, tmp_path):
    model.double()
    results = []
    for on in ("true", "false"):
        one = copy.deepcopy(model)
        trainer(one, tmp_path / on, f"compile={on}", "gradient_checkpointing=true").run()
        results.append(weights(one))
    # Llama's norms and rotary angles are float32 whatever its dtype: compiled, their last bits may differ.
    assert largest_difference(*results) < 1e-6
    assert largest_difference(weights(model), results[0]) > 1e-3


def test_bfloat16_computes_in_it_and_keeps_the_models_own_type(model, tmp_path):
    exact, start = copy.deepcopy(model), weights(model)
    trainer(exact, tmp_path / "exact", "learning_rate=1e-5").run()
    trainer(model, tmp_path / "bf16", "bf16=true", "learning_rate=1e-5").run()
    assert model.dtype == torch.float32
    assert 0 < largest_difference(weights(exact), weights(model)) < 1e-4
    half = LlamaForCausalLM(model.config)
    half.load_state_dict(start)
    half.to(torch.bfloat16)
    task = trainer(half, tmp_path / "half", "bf16=true", "method=npo")
    assert task.model.dtype == torch.float32
    task.run()
    assert half.dtype == torch.bfloat16


def test_the_same_run_gives_the_same_bits(model, tmp_path):
    results = []
    for folder in ("one", "two"):
        one = copy.deepcopy(model)
        task = trainer(one, tmp_path / folder, "method=undial", "retain_term=kl")
        assert task.deterministic
        task.run()
        assert not torch.are_deterministic_algorithms_enabled()
        results.append(weights(one))
    assert largest_difference(*results) == 0
    assert not trainer(model, tmp_path / "off", "deterministic=false").deterministic


def test_it_stops_once_forgotten_and_retained(model, tmp_path):
    monitor = Monitor(forget=FORGET, retain=RETAIN, unseen=RETAIN[:4])
    history = trainer(model, tmp_path, "method=grad_diff", "epochs=30", "retain_recovery=1.0", monitor=monitor).run()
    first, *watched, last = [entry for entry in history if "forget_nll" in entry]
    assert len(watched) < 20

    def holds(entry):
        return entry["forget_nll"] >= entry["unseen_nll"] and entry["retain_probability"] >= first["retain_probability"]

    assert holds(last)
    assert not any(holds(entry) for entry in watched)


def test_settings_that_cannot_work_say_so(model, tmp_path):
    with pytest.raises(InputError, match=r"rmu\.layer is 7, but the model's layers are 0 to 1"):
        trainer(model, tmp_path, "method=rmu", "rmu.layer=7")
    with pytest.raises(InputError, match="a better answer for each of the 8 forget records, but there are 0"):
        trainer(model, tmp_path, "method=dpo")
    with pytest.raises(InputError, match=r"accumulation = 3: must divide batch_size \(4\)"):
        trainer(model, tmp_path, "accumulation=3")
