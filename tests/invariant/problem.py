"""One unlearning run, small and fixed to the last number: what it is must not depend on how it is worked through."""

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from unilogit.training.config import UnlearnConfig
from unilogit.training.from_scratch import train_tokenizer
from unilogit.training.trainer import UnlearningTrainer

TERMS = ("loss", "forget_loss", "retain_loss")


def pairs(count, kind):
    return [(f"Where does {kind} {n} live?", f"{n * 7} {'very ' * (n % 4)}far Street") for n in range(count)]


FORGET, RETAIN = pairs(19, "Ada"), pairs(29, "Bo")  # 57 examples in steps of 8: the last has one
TOKENIZER = train_tokenizer([text for pair in FORGET + RETAIN for text in pair], 320)


def build_model():
    """Weights of NumPy's generator, whose numbers are the same everywhere."""
    sizes = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(TOKENIZER), tie_word_embeddings=False, **sizes))
    generator = np.random.default_rng(0)
    for parameter in model.parameters():
        values = generator.normal(1.0 if parameter.ndim == 1 else 0.0, 0.2, tuple(parameter.shape))
        parameter.data = torch.from_numpy(values).float()
    return model


def build_trainer(**knobs):
    config = UnlearnConfig(
        **{"epochs": 3, "min_steps": 1, "batch_size": 8, "retain_per_forget": 2}
        | {"learning_rate": 5e-3, "retain_weight": 0.5}
        | knobs
    )
    return UnlearningTrainer(
        model=build_model(), tokenizer=TOKENIZER, forget=FORGET, retain=RETAIN, config=config, seed=0
    )


def losses(history):
    """[steps, 3]: the loss of each step and its two terms."""
    return np.array([[entry[term] for term in TERMS] for entry in history if "loss" in entry])
