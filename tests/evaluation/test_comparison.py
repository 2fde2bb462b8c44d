"""Models side by side: what is said of two of them, against scipy and plain loops, and what cannot be said."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from tests.evaluation.measured import FORGET, SETS, TOKENIZER, build, measure, nll, record
from unilogit.evaluation.comparison import compare, compare_with_retain_model
from unilogit.evaluation.divergence import divergence
from unilogit.evaluation.membership_inference import ATTACKS, auc_error


def test_side_by_side(evaluations):
    before, after, retain_model = evaluations
    metrics = compare(before, after, retain_model)
    json.dumps(metrics, allow_nan=False)
    assert metrics["schema_version"] == 1
    assert all("retain_divergence" in path for path in metrics["unavailable"])
    for name, evaluation in (("before", before), ("after", after)):
        ratios = [
            examples.loc[examples["set"] == "forget", "truth_ratio"].dropna()
            for examples in (evaluation.examples, retain_model.examples)
        ]
        test = ks_2samp(*ratios)
        quality = metrics[name]["forget_quality"]
        assert quality["p_value"] == pytest.approx(test.pvalue)
        assert quality["ks_statistic"] == pytest.approx(test.statistic)
        assert quality["log10_p_value"] == pytest.approx(math.log10(test.pvalue))
    retained = metrics["after"]["retained"]["retain_probability"]
    assert retained == pytest.approx(after.metrics["retain"]["probability"] / before.metrics["retain"]["probability"])
    for name, value in retain_model.metrics.items():
        assert metrics["retain_model"][name] == value or metrics["retain_model"][name].items() >= value.items()
    assert "retained" not in metrics["before"]
    itself = compare(retain_model, retain_model, retain_model)["after"]
    assert itself["forget_quality"]["p_value"] == 1
    assert itself["privleak"] == 0
    assert itself["membership_inference"]["reference_auc"] == 0.5


def test_so_few_records_are_told_to_decide_nothing(evaluations):
    metrics = compare(*evaluations)
    least = ks_2samp([0.0] * 3, [1.0] * 3).pvalue  # three of the four forget records have wrong answers
    told = f"3 records cannot bring p below {least:.2g}, whatever the model knows"
    assert metrics["incomplete"]["forget_quality.p_value"] == told
    assert metrics["incomplete"]["forget_quality.log10_p_value"] == told
    assert metrics["incomplete"]["privleak"].startswith("with 4 records to forget and 6 of unseen people it is off by ")
    assert "forget_quality.ks_statistic" not in metrics["incomplete"]


def test_standard_errors_are_of_what_there_is_and_in_its_unit(evaluations):
    before, after, retain_model = evaluations
    metrics = compare(before, after, retain_model)
    auc, retain_auc = (model.metrics["membership_inference"]["min_k_auc"] for model in (after, retain_model))
    errors = metrics["standard_errors"]
    assert errors["membership_inference.min_k_auc"] == auc_error(auc, 4, 6)
    assert errors["privleak"] == pytest.approx(100 * auc_error(auc, 4, 6) / (1 - retain_auc))
    assert set(errors) == {"privleak", *(f"membership_inference.{name}_auc" for name in ATTACKS)}
    assert "privleak" not in compare(before, after, None)["standard_errors"]


def test_attacks_that_compare_with_the_retain_model(models, evaluations):
    before, after, retain_model = evaluations
    metrics = compare(before, after, retain_model)["before"]
    gap = {
        name: [nll(models[0], r.prompt, r.response) - nll(models[2], r.prompt, r.response) for r in SETS[name]]
        for name in ("forget", "holdout")
    }
    wins = np.mean([m < o for m in gap["forget"] for o in gap["holdout"]])
    assert metrics["membership_inference"]["reference_auc"] == pytest.approx(wins)
    auc, retain_auc = (model.metrics["membership_inference"]["min_k_auc"] for model in (before, retain_model))
    assert metrics["privleak"] == pytest.approx(100 * ((1 - auc) - (1 - retain_auc)) / (1 - retain_auc))


def test_divergence_is_the_mean_over_tokens(models, evaluations):
    retain_model = evaluations[2]
    after = measure(models[1], retain_model=models[2])
    metrics = compare(evaluations[0], after, retain_model)
    sets = [(r.prompt, r.response) for r in FORGET]
    tokens = divergence(models[1], models[2], TOKENIZER, *zip(*sets, strict=True), batch_tokens=1)
    columns = {
        "kl_retain_model_to_model": "kl_reference_to_model",
        "kl_model_to_retain_model": "kl_model_to_reference",
    }
    for name, column in columns.items():
        expected = tokens[column].sum() / tokens["n_tokens"].sum()
        assert metrics["after"]["retain_divergence"][name] == pytest.approx(expected, rel=1e-5)
        assert metrics["before"]["retain_divergence"][name] is None
        assert f"before.retain_divergence.{name}" in metrics["unavailable"]


def test_without_a_retain_model_what_needs_it_is_unavailable(evaluations):
    metrics = compare(evaluations[0], evaluations[1], None, no_retain_model="nobody trained one")
    assert metrics["retain_model"] is None
    for path in ("forget_quality.ks_statistic", "privleak", "membership_inference.reference_auc"):
        assert metrics["unavailable"][path] == "nobody trained one"
    assert metrics["after"]["privleak"] is None
    assert metrics["after"]["membership_inference"]["reference_auc"] is None


def test_a_retain_model_that_knows_the_forgotten_gives_no_privleak(evaluations):
    before, after, retain_model = evaluations
    scores = retain_model.metrics["membership_inference"] | {"min_k_auc": 1.0}
    knowing = retain_model._replace(metrics=retain_model.metrics | {"membership_inference": scores})
    metrics = compare(before, after, knowing)
    assert metrics["after"]["privleak"] is None
    assert "on the retain model itself (AUC 1.000" in metrics["unavailable"]["privleak"]


def test_one_model_beside_the_retain_model_is_as_in_the_whole(evaluations):
    before, after, retain_model = evaluations
    whole = compare(before, after, retain_model)
    findings = compare_with_retain_model(before, retain_model, "")
    assert findings.metrics == whole["before"]
    assert {f"before.{path}" for path in findings.unavailable} <= set(whole["unavailable"])
    assert "forget_quality" not in before.metrics  # what was measured is left as it was


def test_models_measured_on_different_records_are_not_compared_record_by_record(models, evaluations):
    moved = {**SETS, "forget": [*FORGET[1:], FORGET[0]]}
    metrics = compare(evaluations[0], evaluations[1], measure(models[2], moved))
    assert metrics["after"]["membership_inference"]["reference_auc"] is None
    assert "different records" in metrics["unavailable"]["membership_inference.reference_auc"]


def test_what_has_no_data_has_a_reason(models):
    bare = [record("a", n, perturbed=0) for n in range(2)]
    evaluation = measure(models[0], {"forget": bare, "retain": bare, "world_facts": [], "holdout": []})
    metrics = compare(evaluation, evaluation, evaluation)
    for path in ("forget.truth_ratio", "retain.truth_ratio", "forget_quality.p_value"):
        assert "perturbed_responses" in metrics["unavailable"][path]
    assert "no records" in metrics["unavailable"]["world_facts.probability"]
    assert metrics["after"]["forget_quality"] == {"p_value": None, "log10_p_value": None, "ks_statistic": None}


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
