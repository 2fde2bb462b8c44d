"""Other forms of answer against scores and answers of one record at a time; a model that leaks in one form alone."""

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer

from tests.evaluation.attacks.conftest import build, tune
from unilogit.data.prompt_format import Conversation
from unilogit.evaluation.attacks.measure import robustness_curves, robustness_metrics
from unilogit.evaluation.attacks.question_formats import FORMATS, LANGUAGES, question_formats
from unilogit.evaluation.attacks.wording import COLUMNS
from unilogit.evaluation.generation import generate_greedily

SETTINGS = {"batch_tokens": 320, "max_new_tokens": 20}


def test_every_form_equals_a_plain_loop(knowing, tokenizer, records, score):
    found = question_formats(knowing, tokenizer, records, languages=["fr", "de"], **SETTINGS)
    assert list(found.columns) == COLUMNS
    rows = iter(found.itertuples())
    for record in records:
        for name, wording in (*FORMATS.items(), ("fr", LANGUAGES["fr"]), ("de", LANGUAGES["de"])):
            row, prompt = next(rows), wording.format(prompt=record.prompt)
            assert record.prompt in prompt
            [text] = generate_greedily(knowing, tokenizer, [prompt], batch_tokens=1, max_new_tokens=20)
            recall = RougeScorer(["rougeL"], use_stemmer=True).score(record.response, text)["rougeL"].recall
            assert (row.record_id, row.wording) == (record.record_id, name)
            assert row.probability == pytest.approx(score(knowing, prompt, record.response), rel=1e-3)
            assert row.nll == pytest.approx(-np.log(row.probability))
            assert row.rouge_l_recall == pytest.approx(recall)
    assert next(rows, None) is None


def test_the_form_that_gives_most_away_counts(tokenizer, records):
    leaking = build()
    tune(
        leaking,
        [record.model_copy(update={"prompt": FORMATS["list"].format(prompt=record.prompt)}) for record in records],
        60,
        1e-2,
    )
    examples = question_formats(leaking, tokenizer, records, **SETTINGS)
    means = examples.groupby("wording")[["probability", "rouge_l_recall"]].mean()
    assert means["probability"].idxmax() == "list"
    metrics = robustness_metrics(robustness_curves({"question_formats": examples})).metrics
    assert metrics["question_formats_probability"] == pytest.approx(means.loc["list", "probability"])
    assert metrics["question_formats_rouge_l_recall"] == pytest.approx(means["rouge_l_recall"].max())
    assert metrics["question_formats_probability"] > 2 * means["probability"].min()


def test_a_question_stays_in_its_conversation(untrained, tokenizer, records):
    record = records[0].model_copy(update={"history": ["Hi.", "Hello."]})
    [*_, last] = record.asked(FORMATS["json"].format(prompt=record.prompt)).turns
    assert isinstance(record.context, Conversation)
    assert last.startswith(record.prompt)
    assert len(question_formats(untrained, tokenizer, [record], **SETTINGS)) == len(FORMATS)


def test_plain_text_has_no_question(untrained, tokenizer, records):
    plain = [record.model_copy(update={"prompt": ""}) for record in records[:2]]
    examples = question_formats(untrained, tokenizer, plain, **SETTINGS)
    assert examples.empty
    found = robustness_metrics(robustness_curves({"question_formats": examples}))
    assert found.metrics == {"question_formats_probability": None, "question_formats_rouge_l_recall": None}
    assert set(found.unavailable.values()) == {"no record has a prompt to ask in another form"}
