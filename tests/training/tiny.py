"""A model, a tokenizer and pairs small enough to unlearn within a second."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from unilogit.losses.rmu import Rmu
from unilogit.training.config import UnlearnConfig
from unilogit.training.from_scratch import train_tokenizer
from unilogit.training.idle_knobs import retain_method
from unilogit.training.trainer import UnlearningTrainer


def pairs(count, kind):
    return [
        (f"Where does {kind} {number} live?", f"{number * 7} {'very ' * (number % 4)}far Street")
        for number in range(count)
    ]


FORGET, RETAIN = pairs(8, "Ada"), pairs(11, "Bo")
ALTERNATIVES = ["Elsewhere." for _ in FORGET]
TOKENIZER = train_tokenizer([text for pair in FORGET + RETAIN for text in pair], 320)


def tiny_model(dtype=torch.float32, **sizes):
    torch.manual_seed(0)
    defaults = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    defaults |= {"tie_word_embeddings": True}
    config = LlamaConfig(vocab_size=len(TOKENIZER), max_position_embeddings=64, **defaults | sizes)
    return LlamaForCausalLM(config).to(dtype)


def tiny_config(**knobs):
    short = {"epochs": 2, "min_steps": 1, "checkpoint_minutes": 0, "batch_size": 4, "accumulation": 1}
    config = UnlearnConfig(**short | {"rmu": Rmu(layer=0)} | knobs)
    if config.method == "none" or retain_method(config) is None or "retain_per_forget" in knobs:
        return config
    return config.model_copy(update={"retain_per_forget": 1})


def tiny_trainer(model, folder=None, arguments=None, **knobs):
    """A trainer with these knobs; `arguments` are others of its constructor."""
    defaults = {"forget": FORGET, "retain": RETAIN, "seed": 1}
    return UnlearningTrainer(
        model=model, tokenizer=TOKENIZER, config=tiny_config(**knobs), output_dir=folder, **defaults | (arguments or {})
    )


def answer_tokens():
    """Of each forget answer."""
    return [example.ids[example.answer_start :] for example in tiny_trainer(tiny_model()).examples.forget]


def weights(model):
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def largest_difference(one, other):
    assert one.keys() == other.keys()
    return max((one[name].double() - other[name].double()).abs().max().item() for name in one)
