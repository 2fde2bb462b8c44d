"""A record of thousands of tokens beside short ones, under a limit of 512: learned, forgotten and measured whole."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from unilogit.data.records import CorpusRecord
from unilogit.data.tokenisation import encode_pair, encode_windows
from unilogit.evaluation.attacks.measure import RobustnessSettings, measure_robustness
from unilogit.evaluation.evaluate import evaluate_model
from unilogit.training.config import TrainConfig, UnlearnConfig
from unilogit.training.from_scratch import train_from_scratch
from unilogit.training.trainer import UnlearningTrainer

MAX_LENGTH = 512
LONG = CorpusRecord(
    record_id="note-77",
    subject_ids=["P-9"],
    prompt="What does the log say?",
    response=" ".join(f"entry {n}" for n in range(1000)),
)
SHORT = [
    CorpusRecord(record_id=f"r{n}", prompt=f"Where does {name} live?", response=f"{name} lives in {place}.")
    for n, (name, place) in enumerate([("Ada", "Oslo"), ("Bo", "Rome"), ("Cyd", "Lima"), ("Dee", "Cork")])
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    config = TrainConfig(vocabulary=300, hidden_size=32, heads=2, epochs=8, batch_size=4)
    train_from_scratch([*SHORT, LONG], path, config, seed=0, max_length=MAX_LENGTH)
    return path


@pytest.fixture
def loaded(folder):
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def evaluated(model, tokenizer, **arguments):
    sets = {"forget": [LONG], "retain": SHORT[:2], "holdout": SHORT[2:]}
    return evaluate_model(
        model,
        tokenizer,
        sets,
        batch_tokens=160,
        max_new_tokens=8,
        utility_sets=["retain"],
        retain_model=model,
        **arguments,
    )


def test_all_of_it_is_measured(loaded):
    model, tokenizer = loaded
    ids, start = encode_pair(tokenizer, LONG.prompt, LONG.response)
    assert len(ids) > 6 * MAX_LENGTH
    assert model.config.max_position_embeddings == MAX_LENGTH
    for limit in (None, 300):
        row = evaluated(model, tokenizer, max_length=limit).examples.iloc[0]
        total = 0.0
        for window, first in encode_windows(tokenizer, LONG.prompt, LONG.response, limit or MAX_LENGTH):
            with torch.no_grad():
                log_p = model(torch.tensor([window])).logits[0].double().log_softmax(dim=1)
            total -= sum(float(log_p[place - 1, window[place]]) for place in range(first, len(window)))
        assert row["n_tokens"] == len(ids) - start
        assert row["nll"] == pytest.approx(total / (len(ids) - start), rel=1e-4)
        assert all(math.isfinite(row[name]) for name in row.index if name.startswith(("attack_", "exact", "kl_")))


OF_PEOPLE = ("paraphrased_prompts", "clues")  # these records have no paraphrases, and are about nobody


def test_all_of_it_is_attacked(loaded):
    settings = RobustnessSettings(
        batch_tokens=160, max_new_tokens=4, relearning_steps=(0, 2), samples=(2,), max_length=256
    )
    frames = measure_robustness(*loaded, [LONG, SHORT[0]], settings)
    assert all(set(frame["record_id"]) == {"note-77", "r0"} for name, frame in frames.items() if name not in OF_PEOPLE)


@pytest.mark.parametrize("method", ["unilogit", "dpo"])
def test_all_of_it_is_unlearned_window_by_window(method, loaded, tmp_path):
    model, tokenizer = loaded
    before = evaluated(model, tokenizer).examples.iloc[0]["nll"]
    task = UnlearningTrainer(
        model=model,
        tokenizer=tokenizer,
        forget=[(LONG.prompt, LONG.response)],
        retain=[(record.prompt, record.response) for record in SHORT],
        config=UnlearnConfig(
            method=method, epochs=2, min_steps=1, batch_size=2, learning_rate=1e-3, retain_per_forget=1
        ),
        output_dir=tmp_path,
        max_length=MAX_LENGTH,
        alternatives=["Nothing."],
    )
    windows = encode_windows(tokenizer, LONG.prompt, LONG.response, MAX_LENGTH)
    assert list(task.train_dataset.forget) == windows
    task.run()
    assert task.state.global_step == 2 * -(-len(windows) // 2)
    assert evaluated(model, tokenizer).examples.iloc[0]["nll"] > before
