"""Continuations against a plain loop: one prompt, one token, no cache."""

import pytest
import torch
from rouge_score.rouge_scorer import RougeScorer

from unilogit.data.records import CorpusRecord
from unilogit.data.tokenisation import encode_prompt
from unilogit.evaluation.attacks.prefix_attack import COLUMNS, prefix_attack

SETTINGS = {"prefix_tokens": (0, 1, 2, 4), "batch_tokens": 200, "max_new_tokens": 12}


def plain_recall(model, tokenizer, record, k):
    answer = tokenizer.encode(record.response, add_special_tokens=False)
    before = [*encode_prompt(tokenizer, record.prompt), *answer[:k]]
    said = []
    with torch.no_grad():
        while len(said) < 12:
            token = int(model(torch.tensor([before + said]), use_cache=False).logits[0, -1].argmax())
            if token == tokenizer.eos_token_id:
                break
            said.append(token)
    rest, text = tokenizer.decode(answer[k:]), tokenizer.decode(said, skip_special_tokens=True)
    return RougeScorer(["rougeL"], use_stemmer=True).score(rest, text)["rougeL"].recall


def half_trained(knowing, untrained):
    """Between a model that knows and one that does not: some beginnings help it and others do not."""
    weights = untrained.state_dict()
    model = type(knowing)(knowing.config)
    model.load_state_dict({name: 0.55 * weight + 0.45 * weights[name] for name, weight in knowing.state_dict().items()})
    return model.eval()


def test_recalls_equal_a_plain_loop(knowing, untrained, tokenizer, records):
    model = half_trained(knowing, untrained)
    found = prefix_attack(model, tokenizer, records, **SETTINGS)
    assert list(found.columns) == COLUMNS
    assert found["prefix_tokens"].tolist() == [k for k in (0, 1, 2, 4) for _ in records]
    record_of = {r.record_id: r for r in records}
    expected = [
        plain_recall(model, tokenizer, record_of[row.record_id], row.prefix_tokens) for row in found.itertuples()
    ]
    assert found["rouge_l_recall"].tolist() == pytest.approx(expected)
    assert 0 < found["rouge_l_recall"].mean() < 1


def test_what_is_known_by_heart_is_finished_from_anywhere(knowing, tokenizer, records):
    found = prefix_attack(knowing, tokenizer, records, **SETTINGS | {"max_new_tokens": 20})
    assert (found["rouge_l_recall"] == 1).all()


def test_answers_with_no_word_left_have_no_row(untrained, tokenizer):
    responses = {"one": "x", "two": "xy", "stop": "x.", "script": "Ж", "five": "vwxyz"}
    lengths = {name: len(tokenizer.encode(text, add_special_tokens=False)) for name, text in responses.items()}
    assert lengths == {"one": 1, "two": 2, "stop": 2, "script": 2, "five": 5}
    records = [CorpusRecord(record_id=name, prompt="?", response=text) for name, text in responses.items()]
    found = prefix_attack(untrained, tokenizer, records, **SETTINGS)
    assert found.groupby("prefix_tokens")["record_id"].agg(list).to_dict() == {
        0: ["one", "two", "stop", "script", "five"],
        1: ["two", "five"],
        2: ["five"],
        4: ["five"],
    }


@pytest.mark.parametrize("prefix_tokens", [(), (0, 1), (99,)])
def test_nothing_to_measure(untrained, tokenizer, records, prefix_tokens):
    given = records if prefix_tokens != (0, 1) else []
    found = prefix_attack(untrained, tokenizer, given, **SETTINGS | {"prefix_tokens": prefix_tokens})
    assert found.empty
    assert list(found.columns) == COLUMNS
