"""A model on a suite, and the retain model beside it, with the attacks or without.

Knows what is measured on which suite; definitions are in the modules of evaluation. Knows nothing of files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unilogit.evaluation.attacks.measure import (
    RobustnessSettings,
    measure_robustness,
    robustness_curves,
    robustness_metrics,
)
from unilogit.evaluation.benchmarks.muse import KNOWMEM_FORGET
from unilogit.evaluation.benchmarks.muse_metrics import evaluate_muse, min_k_auc
from unilogit.evaluation.benchmarks.suite import Suite
from unilogit.evaluation.comparison import compare_with_retain_model
from unilogit.evaluation.evaluate import evaluate_model
from unilogit.evaluation.examples import FORGET, HOLDOUT
from unilogit.evaluation.findings import Findings, Metrics
from unilogit.evaluation.membership_inference import privleak, why_no_privleak
from unilogit.evaluation.stopwatch import Stopwatch

MODEL, RETAIN_MODEL = "model", "retain_model"


class SuiteEvaluation(NamedTuple):
    """What was measured of a model, and of the retain model where there is one.

    Attributes:
        metrics: `model` and `retain_model`: metric -> number, those of a set or family one level down, None where
            there is no number; by dotted path, the retain model's behind "retain_model.", `unavailable`: of each
            None -> why, and `incomplete`: of each number that leaves something out -> what, and why; `seconds`:
            role -> part -> how long it took; `generated_tokens`: role -> how many, where they are counted.
        examples: values by record: of each role, and of each attack as "{role}-{attack}".
    """

    metrics: Metrics
    examples: dict[str, pd.DataFrame]


@dataclass
class _Measured:
    """The same of one model."""

    findings: Findings
    examples: pd.DataFrame
    seconds: dict[str, float]
    generated_tokens: int | None = None


@dataclass(frozen=True)
class _Task:
    """What is measured, and how; the arguments of `evaluate_on_suite`."""

    models: Mapping[str, PreTrainedModel]
    tokenizer: PreTrainedTokenizerBase
    suite: Suite
    batch_tokens: int | None
    max_new_tokens: int
    no_retain_model: str
    progress: str | None

    def label(self, role: str) -> str | None:
        return self.progress and f"{self.progress} {role.replace('_', ' ')}"


def evaluate_on_suite(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    suite: Suite,
    *,
    retain_model: PreTrainedModel | None = None,
    no_retain_model: str = "there is no retain model",
    batch_tokens: int | None = None,
    max_new_tokens: int = 200,
    max_examples: int | None = None,
    robustness: RobustnessSettings | None = None,
    progress: str | None = None,
) -> SuiteEvaluation:
    """Measure a model, and the retain model beside it, on a suite.

    On MUSE: VerbMem and KnowMem as published, Min-K% and PrivLeak on the texts that it gives for them. On every
    other suite: what `evaluate_model` measures.

    Args:
        model: a causal language model.
        tokenizer: of both models.
        retain_model: None makes what needs it unavailable.
        no_retain_model: why there is none.
        batch_tokens: at once, as in `in_batches`.
        max_new_tokens: where a generated answer without end is cut; VerbMem and KnowMem have lengths of their own.
        max_examples: the first of each set; None for all.
        robustness: the attacks to make, on the questions of KnowMem and elsewhere on the forget set; None for none.
        progress: what the progress bars on standard error begin with; None for no bars.

    Raises:
        InputError: the two models score different vocabularies, an attack's setting does not fit the model, or the
            tokenizer has no end-of-sequence token.
    """
    suite = replace(suite, sets={name: records[:max_examples] for name, records in suite.sets.items()})
    models = {MODEL: model} | ({} if retain_model is None else {RETAIN_MODEL: retain_model})
    task = _Task(models, tokenizer, suite, batch_tokens, max_new_tokens, no_retain_model, progress)
    measured = _measure_muse(task) if suite.name == "muse" else _measure_sets(task)
    examples = {role: part.examples for role, part in measured.items()}
    if robustness is not None:
        for role, part in measured.items():
            examples |= _attack(task, role, part, robustness)
    unavailable: dict[str, str] = {}
    incomplete: dict[str, str] = {}
    for role, part in measured.items():
        prefix = "" if role == MODEL else f"{role}."
        unavailable |= {f"{prefix}{path}": reason for path, reason in part.findings.unavailable.items()}
        incomplete |= {f"{prefix}{path}": reason for path, reason in part.findings.incomplete.items()}
    metrics: Metrics = {role: part.findings.metrics for role, part in measured.items()}
    metrics |= {"unavailable": unavailable, "incomplete": incomplete}
    metrics["seconds"] = {role: part.seconds for role, part in measured.items()}
    metrics["generated_tokens"] = {
        role: part.generated_tokens for role, part in measured.items() if part.generated_tokens is not None
    }
    return SuiteEvaluation(metrics, examples)


def _measure_sets(task: _Task) -> dict[str, _Measured]:
    evaluations = {
        role: evaluate_model(
            model,
            task.tokenizer,
            task.suite.sets,
            batch_tokens=task.batch_tokens,
            max_new_tokens=task.max_new_tokens,
            utility_sets=task.suite.utility_sets,
            retain_model=task.models.get(RETAIN_MODEL) if role == MODEL else None,
            progress=task.label(role),
        )
        for role, model in task.models.items()
    }
    measured = {}
    for role, evaluation in evaluations.items():
        findings = compare_with_retain_model(evaluation, evaluations.get(RETAIN_MODEL), task.no_retain_model)
        measured[role] = _Measured(findings, evaluation.examples, evaluation.seconds, evaluation.generated_tokens)
    return measured


def _measure_muse(task: _Task) -> dict[str, _Measured]:
    measured, aucs = {}, {}
    sets, batch_tokens = task.suite.sets, task.batch_tokens
    for role, model in task.models.items():
        watch = Stopwatch(task.label(role))
        with watch("VerbMem and KnowMem") as label:
            evaluation = evaluate_muse(model, task.tokenizer, task.suite, batch_tokens=batch_tokens, progress=label)
        with watch("Min-K%") as label:
            aucs[role] = min_k_auc(
                model, task.tokenizer, sets[FORGET], sets[HOLDOUT], batch_tokens=batch_tokens, progress=label
            )
        findings = evaluation.findings
        findings.put(("membership_inference", "min_k_auc"), aucs[role])
        measured[role] = _Measured(findings, evaluation.examples, watch.seconds)
    for role, part in measured.items():
        reason = why_no_privleak(aucs[RETAIN_MODEL]) if RETAIN_MODEL in aucs else task.no_retain_model
        part.findings.put(("privleak",), None if reason else privleak(aucs[role], aucs[RETAIN_MODEL]), reason or "")
    return measured


def _attack(task: _Task, role: str, measured: _Measured, robustness: RobustnessSettings) -> dict[str, pd.DataFrame]:
    """Add to one model's findings what the attacks give; returns their values by record."""
    records = task.suite.sets.get(KNOWMEM_FORGET, task.suite.sets[FORGET])
    watch = Stopwatch(task.label(role))
    with watch("attacks") as label:
        examples = measure_robustness(task.models[role], task.tokenizer, records, robustness, label)
    measured.seconds |= watch.seconds
    measured.findings.add("robustness", robustness_metrics(robustness_curves(examples)))
    return {f"{role}-{attack}": frame for attack, frame in examples.items()}
