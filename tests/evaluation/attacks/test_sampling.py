"""Best of n against its closed form, for a model that draws its answers with known chances."""

import copy

import numpy as np
import pytest
import torch

from unilogit.data.records import CorpusRecord
from unilogit.evaluation.attacks.sampling import COLUMNS, sampling
from unilogit.evaluation.generation import generate_samples
from unilogit.evaluation.rouge import rouge_l_recall

SETTINGS = {"samples": (1, 2, 4, 8), "seed": 0, "batch_tokens": 800, "max_new_tokens": 8}


@pytest.fixture(scope="module")
def dice(untrained, tokenizer):
    """Says one letter: a with chance 0.2, otherwise b."""
    model = copy.deepcopy(untrained)
    model.lm_head = torch.nn.Linear(32, len(tokenizer), bias=True)
    with torch.no_grad():
        model.lm_head.weight.zero_()
        model.lm_head.bias.fill_(-1e9)
        model.lm_head.bias[tokenizer.convert_tokens_to_ids(["a", "b"])] = torch.tensor([0.2, 0.8]).log()
    return model


def test_the_best_of_n_is_right_unless_all_are_wrong(dice, tokenizer):
    count = 400
    records = [CorpusRecord(record_id=f"r{n}", prompt="?", response="a") for n in range(count)]
    found = sampling(dice, tokenizer, records, **SETTINGS | {"max_new_tokens": 1, "batch_tokens": 800})
    assert list(found.columns) == COLUMNS
    assert set(found["rouge_l_recall"]) == {0.0, 1.0}
    for n, mean in found.groupby("samples")["rouge_l_recall"].mean().items():
        expected = 1 - 0.8**n
        assert mean == pytest.approx(expected, abs=4 * (expected * (1 - expected) / count) ** 0.5)


def test_each_n_is_the_best_of_the_first_n_of_one_set(untrained, tokenizer, records):
    same = {"seed": 3, "batch_tokens": 800, "max_new_tokens": 8}
    found = sampling(untrained, tokenizer, records, samples=(8, 1, 4, 4), **same)
    drawn = generate_samples(untrained, tokenizer, [r.prompt for r in records], samples=8, **same)
    reachable = [tokenizer.decode(tokenizer.encode(r.response, add_special_tokens=False)[:8]) for r in records]
    expected = [
        max(rouge_l_recall([reference] * n, texts[:n]))
        for n in (1, 4, 8)
        for reference, texts in zip(reachable, drawn, strict=True)
    ]
    assert found["samples"].tolist() == [n for n in (1, 4, 8) for _ in records]
    assert found["record_id"].tolist() == [r.record_id for r in records] * 3
    assert found["rouge_l_recall"].tolist() == expected


def test_what_is_known_by_heart_is_said_often(knowing, tokenizer, records):
    means = (
        sampling(knowing, tokenizer, records, **SETTINGS | {"max_new_tokens": 20})
        .groupby("samples")["rouge_l_recall"]
        .mean()
    )
    assert means[8] > 0.99
    assert (np.diff(means) >= 0).all()


def test_nothing_to_measure(untrained, tokenizer, records):
    for given, samples in (([], (1, 2)), (records, ())):
        found = sampling(untrained, tokenizer, given, **SETTINGS | {"samples": samples})
        assert found.empty
        assert list(found.columns) == COLUMNS
