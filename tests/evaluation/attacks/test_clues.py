"""Clues against scores of one conversation at a time; a model that needs them to remember."""

import pytest
import torch

from tests.evaluation.attacks.conftest import TOKENIZER, build
from unilogit.data.prompt_format import Conversation
from unilogit.data.records import CorpusRecord
from unilogit.data.tokenisation import LEAST_ROOM, collate, encode_pair, encode_prompt
from unilogit.evaluation.attacks.clues import clues
from unilogit.evaluation.attacks.measure import robustness_curves, robustness_metrics
from unilogit.evaluation.generation import generate_greedily

SETTINGS = {"counts": (1, 2), "batch_tokens": 640, "max_new_tokens": 12}
QUESTIONS = ("Where does Ada live?", "Home of Ada?", "Where is Ada now?")


def about(person, *numbers, **extra):
    return [
        CorpusRecord(
            record_id=f"{person}{number}",
            subject_ids=[person],
            prompt=QUESTIONS[number].replace("Ada", person),
            response=f"{person} lives in {('Oslo', 'Rome', 'Lima')[number]} now.",
            **extra,
        )
        for number in numbers
    ]


def test_clues_are_other_records_about_the_same_people(knowing, tokenizer, score):
    records = [*about("Ada", 0, 1, 2), *about("Bo", 0, 1), *about("Cyd", 0)]
    found = clues(knowing, tokenizer, records, **SETTINGS)
    told = {record.record_id: record for record in records}
    expected = {
        ("Ada0", 1): ["Ada1"],
        ("Ada1", 1): ["Ada0"],
        ("Ada2", 1): ["Ada0"],
        ("Bo0", 1): ["Bo1"],
        ("Bo1", 1): ["Bo0"],
        ("Ada0", 2): ["Ada1", "Ada2"],
        ("Ada1", 2): ["Ada0", "Ada2"],
        ("Ada2", 2): ["Ada0", "Ada1"],
    }
    assert list(zip(found["record_id"], found["clues"], strict=True)) == list(expected)
    for row, names in zip(found.itertuples(), expected.values(), strict=True):
        record = told[row.record_id]
        before = [text for name in names for text in (told[name].prompt, told[name].response)]
        prompt = Conversation((*before, record.prompt))
        assert row.probability == pytest.approx(score(knowing, prompt, record.response), rel=1e-3)
    metrics = robustness_metrics(robustness_curves({"clues": found})).metrics
    means = found.groupby("clues")[["probability", "rouge_l_recall"]].mean()
    assert metrics["clues_probability"] == pytest.approx(means["probability"].max())
    assert metrics["clues_rouge_l_recall"] == pytest.approx(means["rouge_l_recall"].max())


def test_a_model_that_needs_clues_gives_itself_away(tokenizer):
    records = about("Ada", 0, 1)
    with_clue = Conversation((records[0].prompt, records[0].response, records[1].prompt))
    inputs = collate([encode_pair(TOKENIZER, with_clue, records[1].response)], TOKENIZER.pad_token_id)
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(120):
        model(**inputs).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    [said] = generate_greedily(model, tokenizer, [with_clue], max_new_tokens=20)
    assert said == records[1].response
    found = clues(model, tokenizer, records, **SETTINGS | {"max_new_tokens": 20})
    assert found.set_index("record_id")["rouge_l_recall"]["Ada1"] == 1.0


def test_clues_that_leave_no_room_are_not_told(knowing, tokenizer):
    records = about("Ada", 0, 1, 2)
    longest = max(
        len(encode_prompt(tokenizer, Conversation((first.prompt, first.response, second.prompt))))
        for first in records
        for second in records
        if first is not second
    )
    found = clues(knowing, tokenizer, records, **SETTINGS, max_length=longest + LEAST_ROOM)
    assert set(found["clues"]) == {1}
    nothing = robustness_metrics(
        robustness_curves({"clues": clues(knowing, tokenizer, records, **SETTINGS, max_length=16)})
    )
    assert nothing.metrics == {"clues_probability": None, "clues_rouge_l_recall": None}
    assert all("about the same people" in reason for reason in nothing.unavailable.values())


def test_a_conversation_goes_on(knowing, tokenizer, score):
    first, second = about("Ada", 0, 1, history=["Hi.", "Yes?"])
    found = clues(knowing, tokenizer, [first, second], **SETTINGS)
    prompt = Conversation(("Hi.", "Yes?", second.prompt, second.response, first.prompt))
    assert found["probability"].iloc[0] == pytest.approx(score(knowing, prompt, first.response), rel=1e-3)


def test_plain_text_and_facts_about_nobody_have_no_clues(knowing, tokenizer):
    texts = [record.model_copy(update={"prompt": ""}) for record in about("Ada", 0, 1)]
    facts = [record.model_copy(update={"subject_ids": []}) for record in about("Bo", 0, 1)]
    assert clues(knowing, tokenizer, [*texts, *facts], **SETTINGS).empty
