"""A model on TOFU and MUSE, in small files of their formats: everything finite, and the retain model beside itself."""

import math
from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.evaluation.benchmarks import test_muse, test_tofu
from unilogit.errors import InputError
from unilogit.evaluation.attacks.measure import RobustnessSettings
from unilogit.evaluation.benchmarks.measure import evaluate_on_suite
from unilogit.evaluation.benchmarks.registry import read_suite
from unilogit.evaluation.registry import METRICS
from unilogit.training.from_scratch import train_tokenizer

TOKENIZER = train_tokenizer([text for row in test_tofu.tables()["full"] for text in row.values()], 320)
MUSE_METRICS = ("verbmem", "knowmem_forget", "knowmem_retain")
SMALL = {"batch_tokens": 320, "max_new_tokens": 4}
ATTACKS = RobustnessSettings(max_new_tokens=4, prefix_tokens=(0, 2), samples=(1, 2), relearning_steps=(0, 1))


def build(seed, extra_tokens=0):
    torch.manual_seed(seed)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=len(TOKENIZER) + extra_tokens, **shape, initializer_range=0.5)
    ).eval()


@pytest.fixture(scope="module")
def models():
    return build(0), build(1)


@pytest.fixture(scope="module")
def tofu(tmp_path_factory):
    return read_suite("tofu", test_tofu.write(tmp_path_factory.mktemp("tofu"), test_tofu.tables()), "forget05")


@pytest.fixture(scope="module")
def muse(tmp_path_factory):
    return read_suite("muse", test_muse.write(tmp_path_factory.mktemp("muse"), test_muse.PLAIN))


def numbers(metrics, prefix=""):
    """Each number by its dotted path, but how many records there are."""
    for name, value in metrics.items():
        if isinstance(value, dict):
            yield from numbers(value, f"{prefix}{name}.")
        elif name != "n":
            yield f"{prefix}{name}", value


def test_tofu_beside_the_retain_model(models, tofu):
    metrics, examples = evaluate_on_suite(models[0], TOKENIZER, tofu, retain_model=models[1], max_examples=6, **SMALL)
    assert metrics["unavailable"] == {}
    values = dict(numbers(metrics["model"]))
    assert all(math.isfinite(value) for value in values.values())
    assert {path.split(".", 1)[-1] if path.split(".")[0] in tofu.sets else path for path in values} <= set(METRICS)
    assert all(0 <= values[path] <= 1 for path in values if path.endswith(("probability", "auc", "memorisation")))
    itself = metrics["retain_model"]
    assert itself["forget_quality"]["p_value"] == 1
    assert itself["privleak"] == 0
    assert itself["retain_divergence"] == {"kl_retain_model_to_model": 0, "kl_model_to_retain_model": 0}
    assert list(examples) == list(metrics["seconds"]) == list(metrics["generated_tokens"]) == ["model", "retain_model"]
    assert examples["model"]["set"].value_counts().to_dict() == {
        "forget": 6, "retain": 6, "real_authors": 3, "world_facts": 4, "holdout": 5
    }  # fmt: skip


@pytest.mark.parametrize("name", ["tofu", "muse"])
def test_attacks_on_both_models(models, name, request):
    suite = request.getfixturevalue(name)
    metrics, examples = evaluate_on_suite(
        models[0], TOKENIZER, suite, retain_model=models[1], robustness=ATTACKS, max_examples=3, **SMALL
    )
    attacked = {f"robustness.{metric}" for metric in metrics["model"]["robustness"]}
    of_people = {path for path in METRICS if path.startswith(("robustness.paraphrased", "robustness.clues"))}
    assert attacked == {path for path in METRICS if path.startswith("robustness.")}
    without = set() if name == "tofu" else of_people  # MUSE has no paraphrases, and says of nobody whom it is about
    assert {path for path in metrics["unavailable"] if path.startswith("robustness.")} == without
    records = suite.sets["knowmem_forget" if name == "muse" else "forget"][:3]
    for role in ("model", "retain_model"):
        weights = examples[f"{role}-quantisation"]
        assert set(weights["record_id"]) == {record.record_id for record in records}
        in_4_bits = weights[weights["bits"] == 4]["probability"].mean()
        assert metrics[role]["robustness"]["quantised_4_bit_probability"] == pytest.approx(in_4_bits)
        assert metrics["seconds"][role]["attacks"] > 0


def test_without_a_retain_model_nothing_takes_its_place(models, tofu):
    metrics, examples = evaluate_on_suite(
        models[0], TOKENIZER, tofu, no_retain_model="nobody trained one", max_examples=3, **SMALL
    )
    assert list(examples) == ["model"]
    assert metrics["model"]["privleak"] is None
    assert metrics["model"]["forget_quality"]["p_value"] is None
    for path in ("privleak", "forget_quality.p_value", "membership_inference.reference_auc"):
        assert metrics["unavailable"][path] == "nobody trained one"


def test_muse_has_its_own_metrics(models, muse):
    metrics, examples = evaluate_on_suite(models[0], TOKENIZER, muse, retain_model=models[1], **SMALL)
    assert set(metrics["model"]) == {*MUSE_METRICS, "membership_inference", "privleak"}
    assert all(0 <= metrics["model"][name] <= 1 for name in MUSE_METRICS)
    auc, retain_auc = (metrics[role]["membership_inference"]["min_k_auc"] for role in ("model", "retain_model"))
    assert metrics["model"]["privleak"] == pytest.approx((retain_auc - auc) / (1 - retain_auc) * 100, abs=1e-6)
    assert metrics["retain_model"]["privleak"] == 0
    assert len(examples["model"]) == 9
    assert list(metrics["seconds"]) == ["model", "retain_model"]
    assert metrics["generated_tokens"] == {}
    alone, _ = evaluate_on_suite(models[0], TOKENIZER, muse, **SMALL)
    assert alone["model"] == metrics["model"] | {"privleak": None}
    assert alone["unavailable"] == {"privleak": "there is no retain model"}


def test_a_model_without_numbers_has_no_leak_on_muse(models, muse):
    broken = build(0)
    broken.lm_head.weight.data[0] = math.nan
    metrics, _ = evaluate_on_suite(broken, TOKENIZER, muse, retain_model=models[1], **SMALL)
    assert metrics["model"]["privleak"] is None
    assert metrics["model"]["membership_inference"]["min_k_auc"] is None
    assert set(metrics["unavailable"]) == {"privleak", "membership_inference.min_k_auc"}
    assert metrics["retain_model"]["privleak"] == 0
    metrics, _ = evaluate_on_suite(models[1], TOKENIZER, muse, retain_model=broken, **SMALL)
    assert "not finite" in metrics["unavailable"]["retain_model.membership_inference.min_k_auc"]
    assert "not finite" in metrics["unavailable"]["privleak"]


def test_a_retain_model_of_another_vocabulary_is_refused(models, tofu):
    larger = build(1, extra_tokens=1)
    with pytest.raises(InputError, match="is compared with one of 321"):
        evaluate_on_suite(models[0], TOKENIZER, tofu, retain_model=larger, max_examples=2, **SMALL)


def test_bars_say_which_model_is_measured_and_stay_away_unless_asked(models, tofu, capfd):
    suite = replace(tofu, sets={name: records[:1] for name, records in tofu.sets.items()})
    evaluate_on_suite(models[0], TOKENIZER, suite, retain_model=models[1], **SMALL)
    assert capfd.readouterr().err == ""
    evaluate_on_suite(models[0], TOKENIZER, suite, retain_model=models[1], progress="measure", **SMALL)
    shown = capfd.readouterr().err
    assert "measure model: generate" in shown
    assert "measure retain model: generate" in shown
