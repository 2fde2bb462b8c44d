"""All metrics of a tiny model against a plain loop over records, and models side by side."""

import json
import math

import numpy as np
import pytest
import torch
from rouge_score.rouge_scorer import RougeScorer
from scipy.stats import hmean, ks_2samp
from transformers import LlamaConfig, LlamaForCausalLM

from unilogit.data.records import CorpusRecord
from unilogit.data.tokenisation import collate, encode_pair, encode_prompt
from unilogit.evaluation import evaluate
from unilogit.evaluation.comparison import compare
from unilogit.evaluation.evaluate import evaluate_model
from unilogit.evaluation.generation import generate_greedily
from unilogit.evaluation.golden_divergence import golden_divergence
from unilogit.training.from_scratch import train_tokenizer

UTILITY = ["retain", "world_facts"]


def record(kind, number, perturbed=2, paraphrased=True, group=""):
    return CorpusRecord(
        record_id=f"{kind}-{number}",
        prompt=f"What of {kind} {number}?",
        response=f"It is {number} times {kind}.",
        paraphrased_prompt=f"Tell me of {kind} {number}.",
        paraphrased_response=f"{kind}, {number} times." if paraphrased else None,
        perturbed_responses=[f"It is {number + k} times wrong." for k in range(1, perturbed + 1)],
        group=group,
    )


FORGET = [record("a", 1, 1), record("a", 2, 3), record("a", 3, 0), record("a", 4, 2, paraphrased=False)]
SETS = {
    "forget": FORGET,
    "forget_all": [*FORGET, record("b", 1)],
    "retain": [record("c", n) for n in range(5)],
    "world_facts": [record("d", n, 5, group="world_facts") for n in range(3)],
    "holdout": [record("e", n) for n in range(6)],
}
TOKENIZER = train_tokenizer([text for r in SETS["forget_all"] for text in (r.prompt, r.response)], 300)


def build():
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(TOKENIZER),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=256,
            eos_token_id=TOKENIZER.eos_token_id,
            pad_token_id=TOKENIZER.pad_token_id,
        )
    ).eval()


def train(model):
    """Enough steps to say some right words, so that no metric is 0."""
    pairs = [encode_pair(TOKENIZER, r.prompt, r.response) for records in SETS.values() for r in records]
    inputs = collate(pairs, TOKENIZER.pad_token_id)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(40):
        model(**inputs).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def blurred(model):
    """The same model, a little worse."""
    other = build()
    with torch.no_grad():
        for blurry, parameter in zip(other.parameters(), model.parameters(), strict=True):
            blurry.copy_(parameter + torch.randn_like(parameter) * 0.05)
    return other


def measure(model, sets=SETS, **changed):
    return evaluate_model(
        model, TOKENIZER, sets, **{"batch_size": 4, "max_new_tokens": 6, "utility_sets": UTILITY} | changed
    )


@pytest.fixture(scope="module")
def models():
    model = train(build())
    return [model, blurred(model), blurred(model)]


@pytest.fixture(scope="module")
def evaluations(models):
    return [measure(model) for model in models]


def nll(model, prompt, answer):
    before = encode_prompt(TOKENIZER, prompt)
    wanted = [*TOKENIZER.encode(answer, add_special_tokens=False), TOKENIZER.eos_token_id]
    with torch.no_grad():
        log_p = torch.log_softmax(model(torch.tensor([before + wanted])).logits[0].double(), dim=-1)
    return -sum(float(log_p[len(before) - 1 + i, token]) for i, token in enumerate(wanted)) / len(wanted)


def plain_ratio(model, r, correct):
    wrong = [nll(model, r.prompt, answer) for answer in r.perturbed_responses]
    return math.exp(-sum(wrong) / len(wrong)) / (math.exp(-nll(model, r.prompt, correct)) + 1e-10)


def plain_recall(model, r):
    [text] = generate_greedily(model, TOKENIZER, [r.prompt], batch_size=1, max_new_tokens=6)
    return RougeScorer(["rougeL"], use_stemmer=True).score(r.response, text)["rougeL"].recall


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
        monkeypatch.setattr(evaluate, name, counting(name, getattr(evaluate, name)))
    measure(models[0], {"forget": FORGET, "forget_all": FORGET, "holdout": []}, utility_sets=["retain"])
    # Responses 4, paraphrases of those with wrong answers 2, wrong answers 1 + 3 + 0 + 2.
    assert counts == {"score_tokens": 12, "generate_greedily": 4}


def test_side_by_side(evaluations):
    before, after, golden = evaluations
    metrics = compare(before, after, golden)
    json.dumps(metrics, allow_nan=False)
    assert metrics["schema_version"] == 1
    assert all("golden_divergence" in path for path in metrics["unavailable"])
    for name, evaluation in (("before", before), ("after", after)):
        ratios = [
            each.examples.loc[each.examples["set"] == "forget", "truth_ratio"].dropna() for each in (evaluation, golden)
        ]
        test = ks_2samp(*ratios)
        quality = metrics[name]["forget_quality"]
        assert quality["p_value"] == pytest.approx(test.pvalue)
        assert quality["ks_statistic"] == pytest.approx(test.statistic)
        assert quality["log10_p_value"] == pytest.approx(math.log10(test.pvalue))
    retained = metrics["after"]["retained"]["retain_probability"]
    assert retained == pytest.approx(after.metrics["retain"]["probability"] / before.metrics["retain"]["probability"])
    for name, value in golden.metrics.items():
        assert metrics["golden"][name] == value or metrics["golden"][name].items() >= value.items()
    assert "retained" not in metrics["before"]
    itself = compare(golden, golden, golden)["after"]
    assert itself["forget_quality"]["p_value"] == 1
    assert itself["privleak"] == 0
    assert itself["membership_inference"]["reference_auc"] == 0.5


def test_attacks_that_compare_with_the_golden_target(models, evaluations):
    before, after, golden = evaluations
    metrics = compare(before, after, golden)["before"]
    gap = {
        name: [nll(models[0], r.prompt, r.response) - nll(models[2], r.prompt, r.response) for r in SETS[name]]
        for name in ("forget", "holdout")
    }
    wins = np.mean([m < o for m in gap["forget"] for o in gap["holdout"]])
    assert metrics["membership_inference"]["reference_auc"] == pytest.approx(wins)
    auc, of_golden = (each.metrics["membership_inference"]["min_k_auc"] for each in (before, golden))
    assert metrics["privleak"] == pytest.approx(100 * ((1 - auc) - (1 - of_golden)) / (1 - of_golden))


def test_divergence_is_the_mean_over_tokens(models, evaluations):
    golden = evaluations[2]
    after = measure(models[1], golden=models[2])
    metrics = compare(evaluations[0], after, golden)
    sets = [(r.prompt, r.response) for r in FORGET]
    tokens = golden_divergence(models[1], models[2], TOKENIZER, *zip(*sets, strict=True), batch_size=1)
    for name in ("kl_golden_to_model", "kl_model_to_golden"):
        expected = tokens[name].sum() / tokens["n_tokens"].sum()
        assert metrics["after"]["golden_divergence"][name] == pytest.approx(expected, rel=1e-5)
        assert metrics["before"]["golden_divergence"][name] is None
        assert f"before.golden_divergence.{name}" in metrics["unavailable"]


def test_without_a_golden_target_its_metrics_are_unavailable(evaluations):
    metrics = compare(evaluations[0], evaluations[1], None, no_golden="nobody trained one")
    assert metrics["golden"] is None
    for path in ("forget_quality.ks_statistic", "privleak", "membership_inference.reference_auc"):
        assert metrics["unavailable"][path] == "nobody trained one"
    assert metrics["after"]["privleak"] is None
    assert metrics["after"]["membership_inference"]["reference_auc"] is None


def test_what_has_no_data_is_null_with_a_reason(models):
    bare = [record("a", n, perturbed=0) for n in range(2)]
    found = measure(models[0], {"forget": bare, "retain": bare, "world_facts": [], "holdout": []})
    assert found.metrics["forget"]["truth_ratio"] is None
    assert found.metrics["world_facts"] == {
        "probability": None,
        "rouge_l_recall": None,
        "truth_ratio": None,
        "exact_memorisation": None,
        "extraction_strength": None,
        "n": 0,
    }
    assert set(found.metrics["membership_inference"].values()) == {None}
    retain = found.metrics["retain"]
    expected = hmean([retain["probability"], retain["rouge_l_recall"]]) if retain["rouge_l_recall"] else 0
    assert found.metrics["model_utility"] == pytest.approx(expected)
    metrics = compare(found, found, found)
    for path in ("forget.truth_ratio", "retain.truth_ratio", "forget_quality.p_value"):
        assert "perturbed_responses" in metrics["unavailable"][path]
    assert "no records" in metrics["unavailable"]["world_facts.probability"]
    assert "model_utility leaves it out" in metrics["unavailable"]["world_facts.probability"]
    assert "data.holdout" in metrics["unavailable"]["membership_inference.loss_auc"]
    assert metrics["after"]["forget_quality"] == {
        "p_value": None,
        "log10_p_value": None,
        "ks_statistic": None,
    }


def test_a_broken_model_has_no_numbers_and_says_so(models):
    broken = build()
    with torch.no_grad():
        broken.model.norm.weight.fill_(math.nan)
    whole, bad = measure(models[0]), measure(broken)
    metrics = compare(whole, bad, whole)
    json.dumps(metrics, allow_nan=False)
    for path in (
        "forget.probability",
        "retain.truth_ratio",
        "model_utility",
        "membership_inference.loss_auc",
    ):
        assert "not finite" in metrics["unavailable"][path]
    assert "not finite" in metrics["unavailable"]["forget_quality.ks_statistic"]
    assert metrics["after"]["retained"] == {"model_utility": None, "retain_probability": None}
    backwards = compare(bad, whole, whole)
    assert "not finite" in backwards["unavailable"]["before.forget.probability"]
    assert "not finite" in backwards["unavailable"]["before.forget_quality.p_value"]
    assert "forget_quality.p_value" not in backwards["unavailable"]
    assert "before" in backwards["unavailable"]["retained.retain_probability"]
