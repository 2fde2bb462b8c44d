"""All metrics of a tiny model against a plain loop over records."""

import math

import numpy as np
import pytest
import torch
from rouge_score.rouge_scorer import RougeScorer
from scipy.stats import hmean

from tests.evaluation.measured import FORGET, SETS, TOKENIZER, UTILITY, likeliest, measure, nll, record
from unilogit.errors import InputError
from unilogit.evaluation import batching, examples
from unilogit.evaluation.evaluate import evaluate_model
from unilogit.evaluation.generation import generate_greedily
from unilogit.evaluation.rouge import rouge_l_recall


def plain_ratio(model, r, correct):
    wrong = [nll(model, r.prompt, answer) for answer in r.perturbed_responses]
    return math.exp(-sum(wrong) / len(wrong)) / (math.exp(-nll(model, r.prompt, correct)) + 1e-10)


def plain_recall(model, r):
    [text] = generate_greedily(model, TOKENIZER, [r.prompt], batch_tokens=1, max_new_tokens=6)
    reachable = TOKENIZER.decode(TOKENIZER.encode(r.response, add_special_tokens=False)[:6])
    return RougeScorer(["rougeL"], use_stemmer=True).score(reachable, text)["rougeL"].recall


def test_metrics_equal_a_plain_loop(models, evaluations):
    model, metrics = models[0], evaluations[0].metrics
    for name, records in SETS.items():
        probabilities = [math.exp(-nll(model, r.prompt, r.response)) for r in records]
        assert metrics[name]["n"] == len(records)
        assert metrics[name]["probability"] == pytest.approx(np.mean(probabilities), rel=1e-4)
        if name == "holdout":
            assert set(metrics[name]) == {"probability", "n"}
            continue
        assert metrics[name]["rouge_l_recall"] == pytest.approx(np.mean([plain_recall(model, r) for r in records]))
        ratios = [
            plain_ratio(model, r, r.response if name == "world_facts" else r.paraphrased_response or r.response)
            for r in records
            if r.perturbed_responses
        ]
        aggregate = (lambda r: max(0, 1 - r)) if name in UTILITY else (lambda r: min(r, 1 / (r + 1e-10)))
        expected = np.mean([aggregate(ratio) for ratio in ratios])
        assert metrics[name]["truth_ratio"] == pytest.approx(expected, rel=1e-3, abs=1e-5)
        recited = [likeliest(model, r.prompt, r.response) for r in records]
        assert metrics[name]["exact_memorisation"] == pytest.approx(np.mean([np.mean(right) for right in recited]))
        known_ends = [1 - min([k for k in range(len(x)) if all(x[k:])] or [len(x) - 1]) / len(x) for x in recited]
        assert metrics[name]["extraction_strength"] == pytest.approx(np.mean(known_ends))

    facts = [
        (
            math.exp(-nll(model, r.prompt, r.response)),
            [math.exp(-nll(model, r.prompt, p)) for p in r.perturbed_responses],
        )
        for r in SETS["world_facts"]
    ]
    normalised = np.mean([p / (p + sum(wrong) + 1e-10) for p, wrong in facts])
    assert metrics["world_facts"]["normalised_probability"] == pytest.approx(normalised, rel=1e-4)
    assert "normalised_probability" not in metrics["retain"]

    member, other = ([nll(model, r.prompt, r.response) for r in SETS[name]] for name in ("forget", "holdout"))
    wins = np.mean([m < o for m in member for o in other])
    assert metrics["membership_inference"]["loss_auc"] == pytest.approx(wins)


def test_model_utility_is_the_harmonic_mean_of_six(evaluations):
    for evaluation in evaluations:
        retain, facts = evaluation.metrics["retain"], evaluation.metrics["world_facts"]
        parts = [retain["probability"], retain["rouge_l_recall"], retain["truth_ratio"]]
        parts += [facts["normalised_probability"], facts["rouge_l_recall"], facts["truth_ratio"]]
        expected = hmean(parts) if all(parts) else 0
        assert evaluation.metrics["model_utility"] == pytest.approx(expected)


def test_examples_have_a_row_for_each_record_of_each_set(evaluations):
    examples = evaluations[0].examples
    assert list(zip(examples["set"], examples["record_id"], strict=True)) == [
        (name, r.record_id) for name, records in SETS.items() for r in records
    ]
    no_wrong = examples["n_perturbed"] == 0
    assert examples["truth_ratio"].isna().equals(no_wrong)
    assert examples["generated"].isna().equals(examples["set"] == "holdout")
    assert examples["rouge_l_recall"].isna().equals(examples["set"] == "holdout")


def test_a_record_in_two_sets_is_scored_and_generated_once(models, monkeypatch):
    counts = {}

    def counting(name, function):
        def wrapped(model, tokenizer, prompts, *args, **kwargs):
            counts[name] = counts.get(name, 0) + len(prompts)
            return function(model, tokenizer, prompts, *args, **kwargs)

        return wrapped

    for name in ("score_tokens", "generate_greedily"):
        monkeypatch.setattr(examples, name, counting(name, getattr(examples, name)))
    measure(models[0], {"forget": FORGET, "forget_all": FORGET, "holdout": []}, utility_sets=[])
    # Responses 4, paraphrases of those with wrong answers 2, wrong answers 1 + 3 + 0 + 2.
    assert counts == {"score_tokens": 12, "generate_greedily": 4}


def test_what_has_no_data_is_null_with_a_reason(models):
    bare = [record("a", n, perturbed=0) for n in range(2)]
    evaluation = measure(models[0], {"forget": bare, "retain": bare, "world_facts": [], "holdout": []})
    assert evaluation.metrics["forget"]["truth_ratio"] is None
    assert evaluation.metrics["world_facts"] == {
        "probability": None,
        "rouge_l_recall": None,
        "truth_ratio": None,
        "exact_memorisation": None,
        "extraction_strength": None,
        "n": 0,
    }
    assert set(evaluation.metrics["membership_inference"].values()) == {None}
    retain = evaluation.metrics["retain"]
    expected = hmean([retain["probability"], retain["rouge_l_recall"]]) if retain["rouge_l_recall"] else 0
    assert evaluation.metrics["model_utility"] == pytest.approx(expected)
    for path in ("forget.truth_ratio", "retain.truth_ratio"):
        assert "perturbed_responses" in evaluation.unavailable[path]
    assert "no records" in evaluation.unavailable["world_facts.probability"]
    assert "model_utility leaves it out" in evaluation.unavailable["world_facts.probability"]
    assert "model_utility leaves it out" not in evaluation.unavailable["forget.truth_ratio"]
    assert "data.holdout" in evaluation.unavailable["membership_inference.loss_auc"]


def test_two_sets_are_enough_and_membership_inference_says_what_it_lacks(models, evaluations):
    evaluation = evaluate_model(models[0], TOKENIZER, {"forget": FORGET, "retain": SETS["retain"]}, max_new_tokens=6)
    for name in ("forget", "retain"):
        expected = {metric: pytest.approx(value, rel=1e-4) for metric, value in evaluations[0].metrics[name].items()}
        assert evaluation.metrics[name] == expected
    retain = evaluation.metrics["retain"]
    parts = [retain[metric] for metric in ("probability", "rouge_l_recall", "truth_ratio")]
    assert evaluation.metrics["model_utility"] == pytest.approx(hmean(parts) if all(parts) else 0)
    assert set(evaluation.metrics["membership_inference"].values()) == {None}
    assert set(evaluation.unavailable) == {
        f"membership_inference.{name}" for name in evaluation.metrics["membership_inference"]
    }


def test_a_utility_set_that_is_not_there_is_refused(models):
    with pytest.raises(InputError, match=r"utility_sets: world_facts is not among the sets \(forget, retain\); add"):
        measure(models[0], {"forget": FORGET, "retain": FORGET})


def test_a_prompt_that_leaves_no_room_is_named_by_its_record(models):
    longest = record("a", 7)
    longest.prompt = "and " * 300
    with pytest.raises(InputError, match=r"record a-7: its prompt has \d+ tokens"):
        measure(models[0], {"forget": [*FORGET, longest]}, utility_sets=[])


def test_memory_decides_how_many_tokens_are_at_once_where_nobody_does(models, evaluations, monkeypatch):
    monkeypatch.setattr(batching, "_budgets", {})
    sizes = []

    def limited(module, args, kwargs):
        ids = kwargs.get("input_ids", args[0] if args else ())
        size = len(ids) * len(ids[0])
        if size > 100:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        sizes.append(size)

    hook = models[0].model.register_forward_pre_hook(limited, with_kwargs=True)
    try:
        evaluation = measure(models[0], batch_tokens=None, retain_model=models[0])
    finally:
        hook.remove()
    assert max(sizes) > 50
    for name in SETS:
        expected = {metric: pytest.approx(value, rel=1e-4) for metric, value in evaluations[0].metrics[name].items()}
        assert evaluation.metrics[name] == expected


def test_a_response_longer_than_what_is_generated_can_still_be_recited(models):
    """Its ROUGE is of what can be said in so many tokens, which the answer says whole."""
    first = FORGET[0]
    said = measure(models[0], {"forget": [first]}, utility_sets=[], max_new_tokens=8).examples["generated"][0]
    longer = first.model_copy(update={"response": said + " and much more that no answer has the room to say"})
    row = measure(models[0], {"forget": [longer]}, utility_sets=[], max_new_tokens=8).examples.iloc[0]
    assert row["generated"] == said
    ids = TOKENIZER.encode(longer.response, add_special_tokens=False)[:8]
    assert row["rouge_l_recall"] == rouge_l_recall([TOKENIZER.decode(ids)], [said])[0]
    assert row["rouge_l_recall"] > rouge_l_recall([longer.response], [said])[0]


def answering(response, number):
    changed = record("c", number)
    changed.response = response
    return changed


def test_records_without_words_are_left_out_of_rouge_and_counted(models):
    plain, silent = [record("c", number) for number in range(3)], [answering("😀👍", 3), answering("…", 4)]
    sets = {"forget": plain + silent, "retain": plain + silent, "world_facts": plain, "holdout": []}
    evaluation, without = measure(models[0], sets), measure(models[0], sets | {"forget": plain})
    for name in ("forget", "retain"):
        assert evaluation.metrics[name]["rouge_l_recall"] == without.metrics["forget"]["rouge_l_recall"] > 0
        assert evaluation.incomplete[f"{name}.rouge_l_recall"].startswith("2 of 5 records are left out: their answers")
    assert set(evaluation.incomplete) == {"forget.rouge_l_recall", "retain.rouge_l_recall"}
    assert evaluation.unavailable.keys() == without.unavailable.keys()
    examples = evaluation.examples[evaluation.examples["set"] == "forget"]
    assert examples["rouge_l_recall"].isna().tolist() == [False, False, False, True, True]


def test_a_set_without_words_has_no_rouge_and_model_utility_says_that_it_lacks_it(models):
    silent = [answering("😀👍", 3), answering("…", 4)]
    evaluation = measure(models[0], {"forget": silent, "retain": silent, "world_facts": [], "holdout": []})
    for name in ("forget", "retain"):
        assert evaluation.metrics[name]["rouge_l_recall"] is None
        assert evaluation.unavailable[f"{name}.rouge_l_recall"].startswith("no record has an answer with a word")
    assert evaluation.unavailable["retain.rouge_l_recall"].endswith("model_utility leaves it out")
    retain = evaluation.metrics["retain"]
    assert evaluation.metrics["model_utility"] == pytest.approx(hmean([retain["probability"], retain["truth_ratio"]]))
    lacking = [
        "retain.rouge_l_recall",
        "world_facts.probability",
        "world_facts.rouge_l_recall",
        "world_facts.truth_ratio",
    ]
    assert evaluation.incomplete == {"model_utility": f"it is made without {', '.join(lacking)}"}
