"""VerbMem and KnowMem against a plain loop: one prompt, one token, no cache, words counted by hand."""

import re
from functools import cache

import pandas as pd
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from unilogit.data.records import CorpusRecord
from unilogit.evaluation.benchmarks import muse_metrics
from unilogit.evaluation.benchmarks.muse_metrics import evaluate_muse, knowmem, scalability, sustainability, verbmem
from unilogit.evaluation.benchmarks.suite import Suite
from unilogit.training.from_scratch import train_tokenizer

TEXT = "the red cat sat on a hat and the sun was hot so dog and cat ran off to eat ham"
TOKENIZER = train_tokenizer([TEXT, "Question: Answer:"] * 5, 340)


def build(seed=0):
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(TOKENIZER),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=512,
            bos_token_id=TOKENIZER.bos_token_id,
            eos_token_id=TOKENIZER.eos_token_id,
            pad_token_id=TOKENIZER.pad_token_id,
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6)
    return model.eval()


MODEL = build()


@cache
def continuation(prompt, limit):
    ids = [TOKENIZER.bos_token_id, *TOKENIZER.encode(prompt, add_special_tokens=False)]
    said: list[int] = []
    with torch.no_grad():
        while len(said) < limit:
            token = int(MODEL(torch.tensor([ids + said]), use_cache=False).logits[0, -1].argmax())
            if token == TOKENIZER.eos_token_id:
                break
            said.append(token)
    return TOKENIZER.decode(said, skip_special_tokens=True)


def beginning(text, n):
    return TOKENIZER.decode(TOKENIZER.encode(text, add_special_tokens=False)[:n])


def f1(reference, generated):
    a, b = (re.findall("[a-z0-9]+", text.lower()) for text in (reference, generated))
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return 2 * table[-1][-1] / (len(a) + len(b)) if a and b else 0.0


def record(number, prompt, response):
    return CorpusRecord(record_id=f"r{number}", prompt=prompt, response=response)


def some_records(limit, form="{}"):
    """Of each, a part of what the model says is right."""
    prompts = ["the red cat", "so dog and cat ran off", "a hat", "the sun was"]
    said = [continuation(form.format(prompt), limit) for prompt in prompts]
    return [
        record(n, prompt, (text[: len(text) * (n + 1) // 4] + " and much else") if n else "a hat")
        for n, (prompt, text) in enumerate(zip(prompts, said, strict=True))
    ]


@pytest.mark.parametrize("batch_tokens", [1, 120])
def test_verbmem_is_f1_with_the_true_continuation(batch_tokens):
    records = some_records(24)
    frame = verbmem(MODEL, TOKENIZER, records, batch_tokens=batch_tokens, max_new_tokens=24, stem=False)
    said = [continuation(r.prompt, 24) for r in records]
    expected = [f1(beginning(r.response, 24), text) for r, text in zip(records, said, strict=True)]
    assert list(frame.columns) == ["record_id", "generated", "rouge_l_f1"]
    assert frame["record_id"].tolist() == [r.record_id for r in records]
    assert frame["generated"].tolist() == said
    assert frame["rouge_l_f1"].tolist() == pytest.approx(expected)
    assert max(expected) > 0


def test_of_a_long_continuation_as_much_counts_as_the_model_may_say():
    said = continuation("the red cat", 10)
    assert len(TOKENIZER.encode(TEXT, add_special_tokens=False)) > 10
    frame = verbmem(MODEL, TOKENIZER, [record(0, "the red cat", TEXT)], batch_tokens=1, max_new_tokens=10, stem=False)
    assert frame["rouge_l_f1"].tolist() == [pytest.approx(f1(beginning(TEXT, 10), said))]


def test_knowmem_asks_after_solved_examples():
    few_shot = [record("a", "Who ran?", "dog"), record("b", "Who sat?", "cat")]
    form = "Question: Who ran?\nAnswer: dog\n\nQuestion: Who sat?\nAnswer: cat\n\nQuestion: {}\nAnswer: "
    records = some_records(12, form)
    frame = knowmem(MODEL, TOKENIZER, records, batch_tokens=120, few_shot=few_shot, max_new_tokens=12, stem=False)
    said = [continuation(form.format(r.prompt), 12) for r in records]
    assert frame["generated"].tolist() == said  # this model says nothing that would end an answer
    assert frame["rouge_l_f1"].tolist() == pytest.approx(
        [f1(r.response, text) for r, text in zip(records, said, strict=True)]
    )


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("cat\n\nQuestion: dog", "cat"),
        ("cat\nQuestion", "cat"),
        ("cat Question: Who?", "cat "),
        ("cat\nhat", "cat\nhat"),
        ("\n\ncat", ""),
        ("Question: a\n\nb", ""),
    ],
)
def test_an_answer_ends_where_the_next_question_begins(monkeypatch, said, answer):
    asked = []

    def generate(model, tokenizer, prompts, **settings):
        asked.append((prompts, settings["max_new_tokens"]))
        return [said] * len(prompts)

    monkeypatch.setattr(muse_metrics, "generate_greedily", generate)
    frame = knowmem(None, TOKENIZER, [record(0, "Who?", "cat")], batch_tokens=1)
    assert asked == [(["Question: Who?\nAnswer: "], 32)]
    assert frame["generated"].tolist() == [answer]
    assert frame["rouge_l_f1"].tolist() == pytest.approx([f1("cat", answer)])


def test_the_whole_suite_at_once():
    sets = {name: some_records(8)[:n] for n, name in enumerate(["verbmem", "knowmem_forget", "knowmem_retain"], 2)}
    few_shot = {"knowmem_retain": [record("a", "Who ran?", "dog")]}
    suite = Suite("muse", sets, ("knowmem_retain",), few_shot=few_shot)
    examples, findings = evaluate_muse(MODEL, TOKENIZER, suite)
    assert list(examples.columns) == ["set", "record_id", "generated", "rouge_l_f1"]
    assert examples.groupby("set", sort=False).size().to_dict() == {
        name: len(records) for name, records in sets.items()
    }
    means = examples.groupby("set")["rouge_l_f1"].mean()
    assert findings.metrics == {name: pytest.approx(mean) for name, mean in means.items()}
    alone = knowmem(MODEL, TOKENIZER, sets["knowmem_retain"], few_shot=few_shot["knowmem_retain"], batch_tokens=160)
    assert examples.loc[examples["set"] == "knowmem_retain", "generated"].tolist() == alone["generated"].tolist()


def test_curves():
    results = [{"verbmem": 0.5, "knowmem_retain": 0.4}, {"verbmem": 0.25}]
    pd.testing.assert_frame_equal(
        sustainability(results),
        pd.DataFrame({"batch": [1, 2], "verbmem": [0.5, 0.25], "knowmem_retain": [0.4, None]}),
    )
    assert scalability([800, 100], results).to_dict("list")["size"] == [100, 800]
    assert scalability([800, 100], results)["verbmem"].tolist() == [0.25, 0.5]
    assert list(sustainability([]).columns) == ["batch"]
    with pytest.raises(ValueError, match="argument 2"):
        scalability([1], results)


def test_answers_without_words_are_left_out_and_counted():
    words, silent = some_records(8)[:2], [record("s", "Who?", "😀")]
    suite = Suite("muse", {"verbmem": words, "knowmem_forget": words + silent, "knowmem_retain": silent}, ())
    examples, findings = evaluate_muse(MODEL, TOKENIZER, suite)
    scores = examples.groupby("set")["rouge_l_f1"].agg(list)
    assert findings.metrics["knowmem_forget"] == pytest.approx(sum(scores["knowmem_forget"][:2]) / 2)
    assert findings.metrics["knowmem_retain"] is None
    assert "no record has an answer with a word" in findings.unavailable["knowmem_retain"]
    assert set(findings.incomplete) == {"knowmem_forget"}
    assert findings.incomplete["knowmem_forget"].startswith("1 of 3 records are left out")
