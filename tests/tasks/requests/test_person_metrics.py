"""One person's metrics are those that a batch of this person alone would have."""

from itertools import product

import pandas as pd
import pytest
from scipy.stats import ks_2samp

from tasks.requests.person_metrics import RecordMeasurements
from tasks.sets import PARENT, RETAIN_MODEL, UNLEARNED
from tests.tasks.requests.certifiable import AFTER, QUANTISED, build_certifiable, measured
from unilogit.files import write_parquet

UNSEEN = [0.005 + place / 100 for place in range(5)]


@pytest.fixture
def workspace(tmp_path):
    return build_certifiable(tmp_path / "batch-7")


@pytest.mark.parametrize(
    "records", [["record-0"], ["record-0", "record-2"], ["record-0", "record-1", "record-2", "record-3"]]
)
def test_values_are_those_of_brute_force(workspace, records):
    person = RecordMeasurements(workspace).of_records(records)
    mine = [AFTER[record] for record in records]
    pairs = [(value > other) + (value == other) / 2 for value, other in product(mine, UNSEEN)]
    compared = [AFTER[record] for record in records if record != "record-1"]  # it has no wrong answers
    expected = {
        "forget.probability": sum(mine) / len(mine),
        "forget_all.probability": sum(mine) / len(mine),
        "forget.rouge_l_recall": 2 * sum(mine) / len(mine),
        "membership_inference.loss_auc": sum(pairs) / len(pairs),
        "forget_quality.p_value": ks_2samp(compared, compared).pvalue,
    }
    for path, value in expected.items():
        assert person.value(UNLEARNED, path) == pytest.approx(value), path
        assert person.reason(path) is None
    assert person.value(PARENT, "forget.probability") == pytest.approx(10 * sum(mine) / len(mine))
    assert person.value(RETAIN_MODEL, "forget.probability") == pytest.approx(sum(mine) / len(mine) / 2)
    assert (person.records, person.highest_probability) == (len(records), max(mine))


def test_attacks_count_where_these_records_were_attacked(workspace):
    measurements = RecordMeasurements(workspace)
    path = "robustness.quantised_4_bit_probability"
    both = measurements.of_records(["record-0", "record-1", "record-2"])
    assert both.value(UNLEARNED, path) == pytest.approx((QUANTISED["record-0"] + QUANTISED["record-1"]) / 2)
    assert both.value(RETAIN_MODEL, path) == pytest.approx((QUANTISED["record-0"] + QUANTISED["record-1"]) / 4)
    assert both.value(PARENT, path) is None
    none = measurements.of_records(["record-2"])
    assert none.value(UNLEARNED, path) is None
    assert none.reason(path) == "none of these records is among those that show what the attack does"


def test_relearning_counts_only_what_the_attacker_did_not_train_on(workspace):
    rows = [("record-0", True, 0.9), ("record-1", False, 0.3), ("record-2", False, 0.1)]
    frame = pd.DataFrame(rows, columns=["record_id", "relearned", "probability"]).assign(step=20, nll=1.0)
    write_parquet(workspace.attacked(UNLEARNED, "relearning"), frame)
    measurements = RecordMeasurements(workspace)
    path = "robustness.relearned_probability"
    assert measurements.of_records(["record-0", "record-1", "record-2"]).value(UNLEARNED, path) == pytest.approx(0.2)
    assert measurements.of_records(["record-0"]).reason(path).startswith("none of these records")


def test_what_is_not_measured_has_its_reason(workspace):
    workspace.measured(RETAIN_MODEL)[1].unlink()
    person = RecordMeasurements(workspace).of_records(["record-1"])
    reasons = {
        "forget_quality.p_value": "there is no retain model",
        "forget.truth_ratio": "no record of this set has perturbed_responses",
        "model_utility": "it is not measured on what was forgotten",
        "retained.model_utility": "it is not measured on what was forgotten",
        "retain.probability": "it is not measured on what was forgotten",
        "world_facts.probability": "it is not measured on what was forgotten",
    }
    assert {path: person.reason(path) for path in reasons} == reasons
    assert not [path for path in reasons if person.value(UNLEARNED, path) is not None]


def test_likelihoods_that_are_no_numbers_are_none(workspace):
    frame = measured(1.0)
    frame.loc[frame["record_id"] == "record-0", ["probability", "nll", "attack_loss"]] = float("nan")
    write_parquet(workspace.measured(UNLEARNED)[1], frame)
    measurements = RecordMeasurements(workspace)
    broken, whole = measurements.of_records(["record-0", "record-1"]), measurements.of_records(["record-1"])
    assert broken.highest_probability is None
    for path in ("forget.probability", "membership_inference.loss_auc"):
        assert broken.value(UNLEARNED, path) is None
        assert broken.reason(path) == "the model's likelihoods are not finite numbers"
        assert whole.value(UNLEARNED, path) is not None


def test_records_of_nobody_were_not_measured(workspace):
    person = RecordMeasurements(workspace).of_records(["record-99"])
    assert (person.records, person.highest_probability) == (0, None)
    assert person.reason("forget.probability") == "this set has no records"


def test_answers_without_words_are_left_out_of_a_persons_rouge(workspace):
    frame = measured(1.0)
    frame.loc[frame["record_id"] == "record-0", "rouge_l_recall"] = float("nan")
    write_parquet(workspace.measured(UNLEARNED)[1], frame)
    said = pd.DataFrame({"record_id": ["record-0", "record-1"], "samples": 16, "rouge_l_recall": [None, 0.5]})
    write_parquet(workspace.attacked(UNLEARNED, "sampling"), said.astype({"rouge_l_recall": "float64"}))
    measurements = RecordMeasurements(workspace)
    silent, both = measurements.of_records(["record-0"]), measurements.of_records(["record-0", "record-1"])
    for path in ("forget.rouge_l_recall", "robustness.sampling_rouge_l_recall"):
        assert silent.value(UNLEARNED, path) is None
        assert silent.reason(path).startswith("no record has an answer with a word to compare")
    assert both.value(UNLEARNED, "forget.rouge_l_recall") == pytest.approx(2 * AFTER["record-1"])
    assert both.value(UNLEARNED, "robustness.sampling_rouge_l_recall") == 0.5
