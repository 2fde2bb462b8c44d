"""What a model recites word for word is found in every script, and a gate fails on what cannot be measured.

Given: answers in many scripts, and answers of emoji and punctuation alone.
"""

import json

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tasks.params import load_params
from tasks.steps.validate import run_validate
from tasks.workspace import Place, Workspace
from unilogit.data.records import frame_records
from unilogit.data.tokenisation import collate, encode_pair
from unilogit.evaluation.attacks.measure import (
    RobustnessSettings,
    measure_robustness,
    robustness_curves,
    robustness_metrics,
)
from unilogit.evaluation.comparison import compare
from unilogit.evaluation.evaluate import evaluate_model
from unilogit.evaluation.rouge import rouge_l_f1, rouge_l_recall
from unilogit.gates import Gate, judge
from unilogit.training.from_scratch import train_tokenizer

ANSWERS = {  # script → what is known by heart, and the same sentence of somebody else
    "Cyrillic": ("Живёт в Линце, работает врачом", "Держит двух кошек"),
    "Greek": ("Ζει στο Λιντς και είναι γιατρός", "Έχει δύο γάτες"),
    "Arabic": ("يعيش في لينتس ويعمل طبيبا", "لديه قطتان"),
    "Hebrew": ("הוא גר בלינץ ועובד כרופא", "יש לו שני חתולים"),
    "Hindi": ("वह लिंज़ में रहती है और डॉक्टर है", "उसके पास दो बिल्लियाँ हैं"),
    "Bengali": ("সে লিনৎসে থাকে", "তার দুটি বিড়াল আছে"),
    "Tamil": ("அவர் லின்ஸில் வாழ்கிறார்", "இரண்டு பூனைகள் உள்ளன"),
    "Chinese": ("她住在林茨，是医生。", "养了两只猫。"),
    "Japanese": ("彼女はリンツに住む医師です。", "ねこ二匹。"),
    "Thai": ("เธออยู่ที่ลินซ์", "แมวสองตัว"),
    "Khmer": ("នាងរស់នៅលីនស៍", "ឆ្មាពីរ"),
    "Burmese": ("သူမ လင့်ဇ်မှာ နေတယ်", "ကြောင်"),
    "Korean": ("그녀는 린츠에 사는 의사다", "고양이 두 마리"),
    "Georgian": ("ის ცხოვრობს ლინცში", "ჰყავს ორი კატა"),
    "Armenian": ("Նա ապրում է Լինցում", "ունի երկու կատու"),
    "mixed": ("Живёт в Linz, 林茨 4020", "two cats, две кошки"),
    "accented Latin": ("Żyje w Łodzi, è città", "Má dvě kočky"),
    "accents alone": ("Öä é", "Å ñ"),
}
SILENT = ["😀👍🏽", "👩‍👩‍👧", "…!?", "。、", "❤️"]
FORGET = Gate(name="forgotten", scope="forget", metric="forget.rouge_l_recall", op="<=", threshold=0.4)
KEPT = Gate(name="kept", scope="utility", metric="retained.model_utility", op=">=", threshold=0.95)
USEFUL = Gate(name="useful", scope="utility", metric="retain.rouge_l_recall", op=">=", threshold=0.9)


@pytest.mark.parametrize("script", ANSWERS)
def test_an_answer_word_for_word_is_all_of_it_and_another_is_little(script):
    answer, other = ANSWERS[script]
    for function in (rouge_l_recall, rouge_l_f1):
        whole, unlike, nothing = function([answer] * 3, [f"  {answer}!", other, "😀"])
        assert whole == 1
        assert unlike < 0.4
        assert nothing == 0


@pytest.mark.parametrize("answer", SILENT)
def test_an_answer_without_words_is_not_measured(answer):
    assert pd.isna(rouge_l_recall([answer], [answer])).all()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Records as the pipeline reads them: a question and an answer in each script, and those without words."""
    folder = tmp_path_factory.mktemp("scripts")
    answers = [answer for pair in ANSWERS.values() for answer in pair]
    rows = [
        {"record_id": f"з-{place}", "subject_ids": [f"К-{place}"], "prompt": f"№{place}?", "response": answer}
        for place, answer in enumerate([*answers, *SILENT])
    ]
    file = folder / "corpus.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    workspace = Workspace(folder / "run")
    run_validate(workspace, load_params(overrides=[f"data.corpus={file}", "data.holdout="]))
    records = frame_records(pq.read_table(workspace.path(Place.CORPUS)).to_pandas())
    assert [record.response for record in records] == [row["response"] for row in rows]
    return records


@pytest.fixture(scope="module")
def reciting(corpus):
    """A tiny model that knows all of it by heart, and its tokenizer."""
    tokenizer = train_tokenizer([text for record in corpus for text in (record.prompt, record.response)], 900)
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=128,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    pairs = [encode_pair(tokenizer, record.prompt, record.response) for record in corpus]
    inputs, optimizer = collate(pairs, tokenizer.pad_token_id), torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(80):
        model(**inputs).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval(), tokenizer


def evaluate(reciting, **sets):
    evaluation = evaluate_model(*reciting, sets, batch_tokens=2560, max_new_tokens=60)
    return compare(evaluation, evaluation, None)


def test_nothing_forgotten_fails_the_forget_gate_and_passes_the_utility_gate(corpus, reciting):
    worded = corpus[: -len(SILENT)]
    metrics = evaluate(reciting, forget=worded[::2], retain=worded[1::2])
    assert metrics["after"]["forget"]["probability"] > 0.9
    assert metrics["after"]["forget"]["rouge_l_recall"] > 0.9
    assert [gate.passed for gate in judge([FORGET, USEFUL], metrics).gates] == [False, True]
    assert "rouge_l_recall" not in json.dumps([metrics["unavailable"], metrics["incomplete"]])


def test_what_cannot_be_measured_fails_every_gate_with_the_reason(corpus, reciting):
    silent = corpus[-len(SILENT) :]
    metrics = evaluate(reciting, forget=silent, retain=silent)
    for verdict in judge([FORGET, USEFUL], metrics).gates:
        assert (verdict.passed, verdict.value) == (False, None)
        assert "is not available: no record has an answer with a word to compare" in verdict.reason
    assert metrics["after"]["model_utility"] > 0.9  # of the probability alone, and that is said
    assert "model_utility leaves it out" in metrics["unavailable"]["retain.rouge_l_recall"]
    [kept] = judge([KEPT], metrics).gates
    assert kept.passed
    assert kept.reason.endswith("; it is made without retain.rouge_l_recall, retain.truth_ratio")
    json.dumps(metrics, allow_nan=False)


def test_records_that_cannot_be_measured_are_counted_where_the_number_is_shown(corpus, reciting):
    metrics = evaluate(reciting, forget=corpus[-len(SILENT) - 4 :], retain=corpus[:6])
    assert metrics["after"]["forget"]["n"] == len(SILENT) + 4
    assert metrics["after"]["forget"]["rouge_l_recall"] > 0.9
    [verdict] = judge([FORGET], metrics).gates
    told = f"{len(SILENT)} of {len(SILENT) + 4} records are left out: their answers have no word to compare"
    assert metrics["incomplete"]["forget.rouge_l_recall"].startswith(told)
    assert not verdict.passed
    assert told in verdict.reason


def test_attacks_bring_it_back_in_every_script(corpus, reciting):
    settings = RobustnessSettings(
        attacks=("paraphrased_prompts", "prefix_attack", "sampling"),
        batch_tokens=2560,
        max_new_tokens=60,
        samples=(1, 4),
    )
    asked = [record.model_copy(update={"paraphrased_prompt": record.prompt}) for record in corpus[:-2]]
    found = robustness_metrics(robustness_curves(measure_robustness(*reciting, asked, settings)))
    names = {f"{attack}_rouge_l_recall" for attack in ("paraphrased", "prefix_attack", "sampling")}
    assert all(found.metrics[name] > 0.8 for name in names)
    assert set(found.incomplete) == names - {"prefix_attack_rouge_l_recall"}
