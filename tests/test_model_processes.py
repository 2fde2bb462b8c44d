"""Two processes of FSDP load a model of which one has the weights, take it apart alike and train as one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.tiny_models import WITHOUT_PLAIN_HEAD, tiny
from tests.training.test_processes import SHARDED, free_port, shard_on_processors
from unilogit import UnlearnConfig, UnlearningTrainer, load_model, save_model
from unilogit.model import make_scorer
from unilogit.training.from_scratch import train_tokenizer

PAIRS = [(f"Where is {n}?", f"{n * 7} {'very ' * (n % 4)}far") for n in range(12)]
FAMILIES = ["Llama", WITHOUT_PLAIN_HEAD]


def look(folder):
    """What one process sees of each model, to <rank>.json."""
    facts = {}
    for family in FAMILIES:
        model, _ = load_model(str(folder / family), own_dtype=True)
        scorer = make_scorer(model)
        buffers = [float(buffer.double().sum()) for buffer in model.buffers()]
        tied = scorer.model.get_output_embeddings().weight is scorer.model.get_input_embeddings().weight
        weights = float(sum(parameter.abs().sum() for parameter in model.parameters()))
        facts[family] = [type(scorer).__name__, str(model.device), str(model.dtype), tied, buffers, weights]
    (folder / f"{os.environ['RANK']}.json").write_text(json.dumps(facts))


def train(folder, method):
    """Unlearn from the folder's Llama, and leave the weights there."""
    if "ACCELERATE_USE_FSDP" in os.environ:
        shard_on_processors()
    model, tokenizer = load_model(str(folder / "Llama"), own_dtype=True)
    config = UnlearnConfig(method=method, retain_term="nll", batch_size=2, epochs=2, min_steps=1)
    trainer = UnlearningTrainer(
        model=model, tokenizer=tokenizer, forget=PAIRS[:4], retain=PAIRS[4:], config=config, seed=1
    )
    trainer.run()
    if trainer.is_world_process_zero():
        torch.save(trainer.model.state_dict(), folder / f"{method}{trainer.args.world_size}.pt")


def run(processes, folder, *arguments):
    """This file, in so many processes."""
    environment = os.environ | {"PYTHONPATH": ".", "OMP_NUM_THREADS": "1"}
    if processes > 1:
        environment |= SHARDED | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    started = [
        subprocess.Popen(
            [sys.executable, __file__, str(folder), *arguments],
            env=environment | ({"RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(processes)
    ]
    for process in started:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output[-3000:]


@pytest.fixture
def folder(tmp_path):
    tokenizer = train_tokenizer([text for pair in PAIRS for text in pair], 300)
    for family in FAMILIES:
        save_model(tiny(family, vocab_size=len(tokenizer)), tokenizer, tmp_path / family)
    return tmp_path


@pytest.mark.slow
def test_one_process_has_the_weights_and_decides_for_both(folder):
    run(2, folder)
    first, second = (json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1))
    assert [first[family][0] for family in FAMILIES] == ["HeadScorer", "LogitScorer"]
    for family in FAMILIES:
        assert second[family][:-1] == first[family][:-1]
        assert second[family][-1] != first[family][-1]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["unilogit", "undial"])  # undial: the model before unlearning is shared out as well
def test_weights_that_one_process_loaded_are_trained_by_two(method, folder):
    for processes in (1, 2):
        run(processes, folder, method)
    one, two = (torch.load(folder / f"{method}{processes}.pt") for processes in (1, 2))
    before = load_model(str(folder / "Llama"), own_dtype=True)[0].state_dict()
    assert max((one[name] - before[name]).abs().max() for name in one) > 1e-3
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=0, atol=1e-9)


if __name__ == "__main__":
    place, *methods = sys.argv[1:]
    if methods:
        train(Path(place), *methods)
    else:
        look(Path(place))
