"""Adapters: what is trained, in which dtype, and what is left of them in the end."""

import copy

import pytest
import torch
from transformers import LlamaForCausalLM, TrainerCallback

from tests.adapted import merged_by_hand, save_random_adapter
from tests.training.tiny import FORGET, TOKENIZER, largest_difference, tiny_model, tiny_trainer, weights
from unilogit.adapters import save_adapter
from unilogit.data.tokenisation import collate, encode_pair
from unilogit.errors import InputError
from unilogit.evaluation.probability import score_answers
from unilogit.model import load_adapted, load_model

KNOBS = {"lora_rank": 2, "learning_rate": 1e-2}
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)


class Adapters(TrainerCallback):
    """A copy of them at the end of training, by the name of the weight that they are beside."""

    def on_train_end(self, args, state, control, model, **kwargs):
        self.parts = {
            name.removeprefix("base_model.model.").replace(".lora_A.default", "").replace(".lora_B.default", ""): {}
            for name, _ in model.named_parameters()
            if "lora_" in name
        }
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                kind = "A" if "lora_A" in name else "B"
                plain = name.removeprefix("base_model.model.").replace(f".lora_{kind}.default", "")
                self.parts[plain][kind] = parameter.detach().clone()


@DTYPES
def test_adapters_are_trained_alone_and_what_is_merged_is_base_and_adapters(dtype):
    model = tiny_model(dtype)
    before = weights(model)
    task = tiny_trainer(model, **KNOBS)
    trained = {name: parameter for name, parameter in task.model.named_parameters() if parameter.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    assert {parameter.dtype for parameter in trained.values()} == {torch.float32}
    adapters = Adapters()
    task.add_callback(adapters)
    task.run()
    assert task.model is model
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    after = weights(model)
    assert set(adapters.parts) == {name for name in before if "proj" in name}
    for name, weight in before.items():
        if name not in adapters.parts:
            assert torch.equal(weight, after[name])
            continue
        part = 2 * adapters.parts[name]["B"].double() @ adapters.parts[name]["A"].double()
        assert part.abs().max() > 1e-3
        rounding = torch.finfo(dtype).eps * (weight.abs() + part.abs()).double()
        assert ((after[name].double() - weight.double() - part).abs() <= rounding + 1e-7).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_adapters_of_a_16_bit_model_take_the_steps_of_a_32_bit_one(dtype):
    half = tiny_model(dtype)
    full = copy.deepcopy(half).float()
    expected, history = (
        [entry["loss"] for entry in tiny_trainer(model, **KNOBS, epochs=6).run() if "loss" in entry]
        for model in (full, half)
    )
    assert len(history) == 12
    assert expected[-1] < 0.99 * expected[0]
    assert history == pytest.approx(expected, rel=2 * torch.finfo(dtype).eps)


def test_what_is_saved_is_a_plain_model(tmp_path):
    model = tiny_model()
    tiny_trainer(model, **KNOBS).run()
    model.save_pretrained(tmp_path)
    loaded = LlamaForCausalLM.from_pretrained(tmp_path)
    assert largest_difference(weights(loaded), weights(model)) == 0
    prompts, answers = zip(*FORGET, strict=True)
    scores = [
        score_answers(one, TOKENIZER, prompts, answers, batch_tokens=320)["nll"].mean() for one in (model, loaded)
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)


def test_the_model_without_its_adapters_is_the_reference():
    model = tiny_model()
    parent = copy.deepcopy(model).eval()
    task = tiny_trainer(model, retain_term="kl", **KNOBS)
    loss = task.unlearning_loss
    assert loss.reference.model is loss.scorer.model  # no second copy
    inputs = {"input_ids": torch.tensor([[3, 4, 5, 6]]), "attention_mask": torch.ones(1, 4, dtype=torch.int64)}
    expected = parent.model(**inputs).last_hidden_state

    class Look(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            with torch.no_grad(), loss.as_reference():
                torch.testing.assert_close(loss.reference.features(**inputs).rows, expected)
            assert not torch.allclose(loss.scorer.features(**inputs).rows, expected)

    task.add_callback(Look())
    task.run()


def test_alpha_and_targets_are_the_given_ones():
    task = tiny_trainer(tiny_model(), lora_alpha=3, lora_targets=["q_proj", "mlp.up_proj"], **KNOBS)
    layers = {name: part for name, part in task.model.named_modules() if hasattr(part, "lora_A")}
    assert {name.partition("layers.")[2] for name in layers} == {
        f"{layer}.{part}" for layer in range(2) for part in ("self_attn.q_proj", "mlp.up_proj")
    }
    assert {part.scaling["default"] for part in layers.values()} == {3 / 2}


@pytest.mark.parametrize("target", ["query", "self_attn", "o_pro"])
def test_a_target_that_is_no_module_is_named_with_those_there_are(target):
    with pytest.raises(InputError) as error:
        tiny_trainer(tiny_model(), lora_targets=["q_proj", target], **KNOBS)
    assert error.value.problems == [
        f"unlearn.lora_targets: {target} is no module of LlamaForCausalLM that can have an adapter; there are"
        " down_proj, embed_tokens, gate_proj, k_proj, lm_head, o_proj, q_proj, up_proj, v_proj"
    ]


def test_a_target_that_is_head_and_embeddings_in_one_is_refused():
    with pytest.raises(InputError, match=r"unlearn\.lora_targets: an adapter on the embeddings or on the head"):
        tiny_trainer(tiny_model(), lora_targets=["lm_head"], **KNOBS)


@pytest.fixture
def adapter(tmp_path):
    """Somebody's adapter on a base."""
    tiny_model(tie_word_embeddings=False).save_pretrained(tmp_path / "base")
    TOKENIZER.save_pretrained(tmp_path / "base")
    return save_random_adapter(tmp_path / "adapter", tmp_path / "base")


def adapter_parts(model):
    return {name: part.detach().clone() for name, part in model.named_parameters() if "lora_" in name}


def test_a_given_adapter_is_trained_further_alone(adapter, tmp_path):
    model, tokenizer = load_adapted(str(adapter))
    before, parts = weights(model), adapter_parts(model)
    task = tiny_trainer(model, learning_rate=1e-2)
    task.run()
    assert task.model is model
    after = weights(model)
    assert [name for name in before if not torch.equal(before[name], after[name])] == list(parts)
    assert largest_difference(parts, adapter_parts(model)) > 1e-3
    save_adapter(model, tokenizer, tmp_path / "saved", str(tmp_path / "base"))
    expected = merged_by_hand(tmp_path / "base", tmp_path / "saved", 5 / 3)
    loaded = load_model(str(tmp_path / "saved"))[0].cpu()
    assert largest_difference(weights(loaded), expected) < 1e-6
    prompts, answers = zip(*FORGET, strict=True)
    scores = [
        score_answers(one, TOKENIZER, prompts, answers, batch_tokens=320)["nll"].mean() for one in (model, loaded)
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)


def test_steps_of_a_given_adapter_are_those_of_its_matrices_in_the_merged_model(adapter):
    """One step of plain gradient descent on B alone moves W by −rate · scale² · G · Aᵀ · A, G being W's gradient."""
    beside, _ = load_adapted(str(adapter))
    merged, _ = load_model(str(adapter))
    batch = collate([encode_pair(TOKENIZER, *pair) for pair in FORGET[:4]], 0)
    for model in (beside, merged):
        model(**{name: tensor.to(model.device) for name, tensor in batch.items()}).loss.backward()
    name = "model.layers.0.self_attn.q_proj"
    layer = beside.get_base_model().get_submodule(name)
    lowering, raising = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    expected = 5 / 3 * merged.get_submodule(name).weight.grad.double() @ lowering.double().T
    torch.testing.assert_close(raising.grad.double(), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("knobs", [{"method": "npo"}, {"retain_term": "kl"}, {"method": "idk_dpo"}], ids=str)
def test_what_a_given_adapter_is_compared_with_is_the_model_before_with_that_adapter(adapter, knobs):
    model, _ = load_adapted(str(adapter))
    parent, _ = load_model(str(adapter))
    inputs = {"input_ids": torch.tensor([[3, 4, 5, 6]]), "attention_mask": torch.ones(1, 4, dtype=torch.int64)}
    inputs = {name: tensor.to(parent.device) for name, tensor in inputs.items()}
    expected = parent.model(**inputs).last_hidden_state
    task = tiny_trainer(model, learning_rate=1e-2, **knobs)
    loss = task.unlearning_loss
    if loss.reference:
        shared = {id(part) for part in model.parameters() if not part.requires_grad}
        own = [part for part in loss.reference.model.parameters() if id(part) not in shared]
        assert sum(part.numel() for part in own) == sum(part.numel() for part in adapter_parts(model).values())

    class Look(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if loss.reference:
                with torch.no_grad(), loss.as_reference():
                    rows = loss.reference.features(**inputs).rows
                    torch.testing.assert_close(rows, expected, rtol=1e-4, atol=1e-4)
            assert not torch.allclose(loss.scorer.features(**inputs).rows, expected, rtol=1e-4, atol=1e-4)

    task.add_callback(Look())
    task.run()
    if "method" in knobs:
        prompts, answers = zip(*FORGET, strict=True)
        nll = score_answers(parent, TOKENIZER, prompts, answers, batch_tokens=320)["nll"]
        measured = [-log_p.mean() for log_p in task.examples.reference_log_p[: len(FORGET)]]
        assert measured == pytest.approx(list(nll), rel=1e-4)


def test_a_given_adapter_resumes_where_it_was_killed(adapter, tmp_path):
    class Killed(BaseException):
        pass

    class Kill(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            raise Killed

    knobs = {"method": "npo", "retain_term": "kl", "learning_rate": 1e-2, "epochs": 4}
    whole, _ = load_adapted(str(adapter))
    tiny_trainer(whole, **knobs).run()
    broken = tiny_trainer(load_adapted(str(adapter))[0], tmp_path / "checkpoints", **knobs)
    broken.add_callback(Kill())
    with pytest.raises(Killed):
        broken.run()
    resumed, _ = load_adapted(str(adapter))
    tiny_trainer(resumed, tmp_path / "checkpoints", **knobs).run()
    assert largest_difference(adapter_parts(whole), adapter_parts(resumed)) == 0


def test_new_adapters_that_are_not_merged_are_left_around_the_model():
    model = tiny_model()
    before = weights(model)
    task = tiny_trainer(model, arguments={"merges": False}, **KNOBS)
    task.run()
    inner = {name.replace(".base_layer", ""): value for name, value in weights(task.model.get_base_model()).items()}
    assert all(torch.equal(before[name], inner[name]) for name in before)
    assert max(part.abs().max().item() for name, part in adapter_parts(task.model).items() if "lora_B" in name) > 1e-3


@pytest.mark.parametrize(
    ("knobs", "problem"),
    [
        ({"lora_rank": 4}, "unlearn.lora_rank is 4, but that of the adapter, which is trained further, is 3"),
        (
            {"lora_rank": 3, "lora_alpha": 6},
            "unlearn.lora_alpha is 6.0, but that of the adapter, which is trained",
        ),
        ({"lora_rank": 3, "lora_targets": ["q_proj"]}, "further, are ['down_proj', 'q_proj']; set it to all-linear"),
        ({"lora_rank": 3, "lora_alpha": 5, "lora_targets": ["q_proj", "down_proj"]}, None),
        ({"lora_rank": 3}, None),
    ],
)
def test_a_given_adapter_keeps_its_rank_alpha_and_targets(adapter, knobs, problem):
    model, _ = load_adapted(str(adapter))
    if problem is None:
        assert tiny_trainer(model, **knobs).model.peft_config["default"].r == 3
        return
    with pytest.raises(InputError) as error:
        tiny_trainer(model, **knobs)
    assert problem in str(error.value)


def test_whole_modules_of_16_bits_are_not_trained_further(adapter, tmp_path):
    load_model(str(tmp_path / "base"))[0].to(torch.bfloat16).save_pretrained(tmp_path / "base")
    save_random_adapter(adapter, tmp_path / "base", modules_to_save=["lm_head"])
    with pytest.raises(InputError, match=r"whole modules or biases of a base of 16 bits.*set register\.save to merged"):
        tiny_trainer(load_adapted(str(adapter))[0])
    assert load_model(str(adapter), own_dtype=True)[0].dtype == torch.bfloat16


def test_processes_do_not_share_the_weights_of_a_given_adapter(adapter, monkeypatch):
    model, _ = load_adapted(str(adapter))
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(InputError, match=r"set unlearn\.sharding to none"):
        tiny_trainer(model)
    with pytest.raises(InputError, match=r"cannot share the weights of one with its base \(FSDP\); set unlearn\.shard"):
        load_model(str(adapter))
