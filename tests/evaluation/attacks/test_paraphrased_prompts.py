"""Both wordings against scores and answers of one record at a time."""

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer

from unilogit.evaluation.attacks.paraphrased_prompts import paraphrased_prompts
from unilogit.evaluation.attacks.wording import COLUMNS
from unilogit.evaluation.generation import generate_greedily

SETTINGS = {"batch_tokens": 200, "max_new_tokens": 20}


def test_both_wordings_equal_a_plain_loop(knowing, tokenizer, records, score):
    found = paraphrased_prompts(knowing, tokenizer, records, **SETTINGS)
    assert list(found.columns) == COLUMNS
    paraphrased = [r for r in records if r.paraphrased_prompt]
    assert 0 < len(paraphrased) < len(records)
    rows = iter(found.itertuples())
    for r in paraphrased:
        for wording, prompt in (("original", r.prompt), ("paraphrased", r.paraphrased_prompt)):
            row = next(rows)
            [text] = generate_greedily(knowing, tokenizer, [prompt], batch_tokens=1, max_new_tokens=20)
            recall = RougeScorer(["rougeL"], use_stemmer=True).score(r.response, text)["rougeL"].recall
            assert (row.record_id, row.wording) == (r.record_id, wording)
            assert row.probability == pytest.approx(score(knowing, prompt, r.response), rel=1e-3)
            assert row.nll == pytest.approx(-np.log(row.probability))
            assert row.rouge_l_recall == pytest.approx(recall)
    assert next(rows, None) is None
    assert (found.loc[found["wording"] == "original", "rouge_l_recall"] == 1).all()


@pytest.mark.parametrize("with_records", [True, False])
def test_no_record_has_a_paraphrase(untrained, tokenizer, records, with_records):
    bare = [r for r in records if not r.paraphrased_prompt] if with_records else []
    found = paraphrased_prompts(untrained, tokenizer, bare, **SETTINGS)
    assert found.empty
    assert list(found.columns) == COLUMNS
