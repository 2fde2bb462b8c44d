"""The same run written by hand: a row at a time, full logits, PyTorch's AdamW and nothing of the trainer's.

`python -m tests.invariant.plain` writes the reference trajectory anew.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch

from tests.invariant.problem import TERMS, build_model, build_trainer
from unilogit.training.examples import FILLER, FORGET

REFERENCE = Path(__file__).with_name("trajectory.json")


def log_p(model, example):
    """Of each answer token, float64."""
    ids, start = example
    scores = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return scores[range(start - 1, len(ids) - 1), ids[start:]]


def unilogit(log_p, vocabulary):
    """KL of (p, 1 − p) from (1/V, 1 − 1/V) for each token: the paper's reverse direction."""
    p = log_p.exp()
    return p * (log_p + math.log(vocabulary)) + (1 - p) * ((1 - p).log() - math.log(1 - 1 / vocabulary))


def train(model, parameters, examples, config):
    """[steps, 3], as `problem.losses` has it."""
    parameters = list(parameters)
    steps = len(examples) // config.batch_size
    optimiser = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=0.0)
    trajectory = []
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = config.learning_rate * (1 - step / steps)
        places = range(step * config.batch_size, (step + 1) * config.batch_size)
        rows = [row for place in places for row in examples[place] if row.role != FILLER]
        scores = [(row.role == FORGET, log_p(model, row.example)) for row in rows]
        forget = torch.cat([unilogit(score, model.config.vocab_size) for forgets, score in scores if forgets]).mean()
        retain = torch.cat([-score for forgets, score in scores if not forgets]).mean()
        loss = forget + config.retain_weight * retain
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        trajectory.append([loss.item(), forget.item(), retain.item()])
    return np.array(trajectory)


def add_adapters(model, adapters):
    """Have linear layers add 2·B·A·x; all else is frozen.

    Args:
        adapters: (A, B) by the layer's name.
    """
    model.requires_grad_(False)
    for name, (down, up) in adapters.items():

        def add(module, inputs, output, down=down, up=up):
            return output + 2 * inputs[0] @ down.T @ up.T

        model.get_submodule(name).register_forward_hook(add)


if __name__ == "__main__":
    task = build_trainer()
    model = build_model()
    rows = train(model, model.parameters(), task.examples, task.config)
    REFERENCE.write_text(json.dumps([dict(zip(TERMS, row, strict=True)) for row in rows.tolist()], indent=1) + "\n")
