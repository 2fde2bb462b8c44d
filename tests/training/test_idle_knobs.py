"""Every knob of an unlearning run either acts or is refused by its name, whatever the method."""

import copy
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch

from tests.training.tiny import ALTERNATIVES, FORGET, RETAIN, TOKENIZER, tiny_model
from unilogit.data.tokenisation import collate, encode_pair
from unilogit.errors import InputError
from unilogit.losses.pdu import Pdu
from unilogit.losses.registry import METHODS
from unilogit.losses.rmu import Rmu
from unilogit.training.config import UnlearnConfig
from unilogit.training.idle_knobs import idle_knobs, retain_method, same_run_by
from unilogit.training.stopping import Monitor
from unilogit.training.trainer import UnlearningTrainer

BASE = UnlearnConfig(epochs=1, min_steps=1, checkpoint_minutes=60, batch_size=4, rmu=Rmu(layer=0), pdu=Pdu(warmup=0))
OTHER_VALUES = {
    "method": "ceu",
    "target": "base",
    "epochs": 2,
    "min_steps": 7,
    "checkpoint_minutes": 0.0,
    "learning_rate": 1e-3,
    "unmoved": "continue",
    "batch_size": 2,
    "accumulation": 2,
    "retain_term": "kl",
    "retain_per_forget": 3,
    "retain_weight": 2.0,
    "retain_recovery": 0.5,
    "pause_forgotten": False,
    "neighbour_share": 0.5,
    "lora_rank": 2,
    "lora_alpha": 3.0,
    "lora_targets": ["q_proj"],
    "bf16": True,
    "gradient_checkpointing": True,
    "compile": True,
    "deterministic": False,
    "processes": 3,
    "sharding": "fsdp",
    "unilogit.direction": "forward",
    "npo.beta": 5.0,
    "npo_sam.beta": 1.0,
    "npo_sam.radius": 1.0,
    "simnpo.beta": 1.0,
    "simnpo.delta": 1.0,
    "simnpo.gamma": 1.0,
    "dpo.beta": 5.0,
    "undial.beta": 1.0,
    "rmu.layer": 1,
    "rmu.steering": 1.0,
    "rmu.seed": 1,
    "wga.beta": 0.0,
    "satimp.beta1": 0.5,
    "satimp.beta2": 0.0,
    "pdu.retain_limit": 1.0,
    "pdu.dual_rate": 0.0,
    "pdu.warmup": 1.0,
}


def knobs():
    for name, field in UnlearnConfig.model_fields.items():
        if is_dataclass(field.default):
            yield from (f"{name}.{knob.name}" for knob in fields(field.default))
        else:
            yield name


def changed(config, knob):
    name, _, part = knob.partition(".")
    value = replace(getattr(config, name), **{part: OTHER_VALUES[knob]}) if part else OTHER_VALUES[knob]
    return config.model_copy(update={name: value})


@cache
def model_that_knows_half():
    """So that some losses have something to forget, and that some answers are paused."""
    model = tiny_model(hidden_size=16, intermediate_size=16, num_attention_heads=2)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-2)
    batch = collate([encode_pair(TOKENIZER, *pair) for pair in FORGET[:4] + RETAIN[:4]], 0)
    for _ in range(60):
        loss = model(**batch).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    assert loss < 1
    return model


def build(config, folder):
    return UnlearningTrainer(
        model=copy.deepcopy(model_that_knows_half()),
        tokenizer=TOKENIZER,
        forget=FORGET,
        retain=RETAIN[:8],
        neighbours=RETAIN[8:],
        alternatives=ALTERNATIVES,
        monitor=Monitor(FORGET, RETAIN, RETAIN[4:]),
        config=config,
        output_dir=folder,
        seed=1,
    )


def effects(config):
    """Everything that a run does, and how; or what it is refused with."""
    with TemporaryDirectory() as folder:
        return effects_in(folder, config)


def effects_in(folder, config):
    try:
        task = build(config, folder)
    except InputError as error:
        return error
    is_compiled = task.unlearning_loss.scorer.body._compiled_call_impl is not None
    if is_compiled:  # which takes a minute
        return is_compiled
    task.run()
    weights = torch.cat([parameter.flatten() for parameter in task.model.parameters()])
    how = (
        len(list(Path(folder).glob("checkpoint-*"))),
        task.deterministic,
        task.stop_rule,
        task.model.is_gradient_checkpointing,
        task.args.train_batch_size,
    )
    return weights.tolist(), how


def test_every_knob_has_another_value_here():
    assert list(OTHER_VALUES) == list(knobs())


@pytest.mark.parametrize(
    "method", [name if name == "unilogit" else pytest.param(name, marks=pytest.mark.slow) for name in METHODS]
)
def test_a_knob_acts_or_is_refused(method):
    base = BASE.model_copy(update={"method": method})
    if METHODS[method].retain_term == "kl":
        base = base.model_copy(update={"retain_term": "nll"})
    before = effects(base)
    of_other_methods = base
    for knob, value in OTHER_VALUES.items():
        if getattr(base, knob, None) == value:
            continue
        if "." in knob and knob not in METHODS[method].knob_names:
            of_other_methods = changed(of_other_methods, knob)
            continue
        result = effects(changed(base, knob))
        if isinstance(result, InputError):
            assert f"unlearn.{knob} is {value}" in str(result)
        else:
            assert result != before, knob
    assert effects(of_other_methods) == before


def test_the_layer_of_activations_acts_with_any_method():
    base = BASE.model_copy(update={"retain_term": "activations"})
    assert effects(changed(base, "rmu.layer")) != effects(base)


@pytest.mark.parametrize(
    ("knobs", "problem"),
    [
        ({"method": "ceu", "retain_weight": 2.0}, "as ceu is published without a retain term; leave it at 5.0"),
        ({"retain_term": "none", "retain_per_forget": 3}, "as unlearn.retain_term is none; leave it at 2"),
        ({"retain_weight": 0, "retain_term": "kl"}, "as unlearn.retain_weight is 0; leave it at published"),
        ({"retain_term": "none", "method": "pdu"}, "pdu holds the retain term under a limit, and there is none, as"),
        ({"retain_per_forget": 0, "neighbour_share": 0.5}, "as unlearn.retain_per_forget is 0; leave it at 0.0"),
    ],
)
def test_a_knob_of_a_retain_term_that_is_not_there_says_why(knobs, problem):
    config = UnlearnConfig(**knobs)
    assert retain_method(config) is None
    (sentence,) = idle_knobs(config)
    assert problem in sentence


def test_a_knob_of_adapters_acts_with_them_and_says_why_it_does_not_without():
    adapted = BASE.model_copy(update={"lora_rank": 2, "learning_rate": 1e-2})
    results = [
        effects(config) for config in (adapted, changed(adapted, "lora_alpha"), changed(adapted, "lora_targets"))
    ]
    assert results[0] != results[1] != results[2] != results[0]
    sentences = idle_knobs(UnlearnConfig(lora_alpha=3, lora_targets=["q_proj"]))
    assert [sentence.partition(",")[0] for sentence in sentences] == [
        "unlearn.lora_alpha is 3.0",
        "unlearn.lora_targets is ['q_proj']",
    ]
    assert sentences[0].endswith("as unlearn.lora_rank is null; leave it at null, or set unlearn.lora_rank")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "knobs",
    [{"retain_weight": 2.0, "retain_per_forget": 3}, {"retain_term": "kl"}, {"retain_term": "none"}, {}],
    ids=str,
)
def test_a_baseline_of_another_method_is_never_refused(method, knobs):
    config = UnlearnConfig(learning_rate=1e-3, **knobs)
    other = same_run_by(method, config)
    assert idle_knobs(other) == []
    assert (other.method, other.learning_rate) == (method, 1e-3)
    same = config.model_copy(update={"method": method, "unmoved": "continue"})
    assert other == same or retain_method(same) is None
    assert retain_method(other) is not None or not METHODS[method].limits_retain
