"""The metrics by name: what each says, of what, between which ends and which end is good. Imports nothing heavy."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from unilogit.evaluation.memorisation import exact_memorisation, extraction_strength

if TYPE_CHECKING:
    from unilogit.evaluation.examples import Answered


class Need(StrEnum):
    """What a metric cannot be measured without."""

    HOLDOUT = "holdout"
    RETAIN_MODEL = "retain model"
    GENERAL_QUESTIONS = "general questions"
    GENERAL_TEXT = "general text"


@dataclass(frozen=True)
class Metric:
    """One metric of metrics.json.

    Attributes:
        scope: what it is measured on.
        range: its ends.
        good: which end is good after unlearning, on the forget set → on what is to be kept.
        source: where it is published, or defined.
        measure: its value for one record, NaN where it has none; a set's is the mean. None for a metric that is
            measured otherwise.
        needs: what it cannot be measured without.
        attack: the one that gives it; None for a metric that needs none.
    """

    scope: str
    range: str
    good: str
    source: str
    measure: "Callable[[Answered], float] | None" = None
    needs: tuple[Need, ...] = ()
    attack: str | None = None


_TOFU = "Maini et al. 2024 (TOFU), arXiv 2401.06121"
_MUSE = "Shi et al. 2024 (MUSE), arXiv 2407.06460"

METRICS: dict[str, Metric] = {
    "probability": Metric("every set", "0 … 1", "low → high", _TOFU),
    "normalised_probability": Metric("general knowledge", "0 … 1", "high", _TOFU),
    "rouge_l_recall": Metric("every set but holdout", "0 … 1", "low → high", "Lin 2004, aclanthology.org/W04-1013"),
    "truth_ratio": Metric("every set but holdout", "0 … 1", "high", _TOFU),
    "exact_memorisation": Metric(
        "every set but holdout",
        "0 … 1",
        "low → high",
        "Tirumala et al. 2022, arXiv 2205.10770",
        measure=lambda answered: exact_memorisation(answered.scores.without_end().is_greedy),
    ),
    "extraction_strength": Metric(
        "every set but holdout",
        "0 … 1",
        "low → high",
        "Carlini et al. 2021, arXiv 2012.07805",
        measure=lambda answered: extraction_strength(answered.scores.without_end().is_greedy),
    ),
    "model_utility": Metric("retain, general knowledge", "0 … 1", "high", _TOFU),
    "retained.model_utility": Metric("after / before", "0 … ∞", "1 or more", "ratio of the above"),
    "retained.retain_probability": Metric("after / before", "0 … ∞", "1 or more", "ratio of the above"),
    "retained.general_accuracy": Metric(
        "after / before", "0 … ∞", "1 or more", "ratio of general.accuracy", needs=(Need.GENERAL_QUESTIONS,)
    ),
    "retained.general_probability": Metric(
        "after / before",
        "0 … ∞",
        "1 or more",
        "ratio of general.probability",
        needs=(Need.GENERAL_QUESTIONS,),
    ),
    "retained.general_perplexity": Metric(
        "after / before", "0 … ∞", "1 or less", "ratio of general.perplexity", needs=(Need.GENERAL_TEXT,)
    ),
    "general.accuracy": Metric(
        "general questions that ship",
        "0 … 1",
        "high",
        "unilogit.evaluation.general.questions",
        needs=(Need.GENERAL_QUESTIONS,),
    ),
    "general.probability": Metric(
        "right answers to general questions that ship",
        "0 … 1",
        "high",
        _TOFU,
        needs=(Need.GENERAL_QUESTIONS,),
    ),
    "general.perplexity": Metric(
        "a general text that ships",
        "1 … ∞",
        "low",
        "Jelinek et al. 1977, doi 10.1121/1.2016299",
        needs=(Need.GENERAL_TEXT,),
    ),
    "general.drift": Metric(
        "what before answers to general questions",
        "0 … ∞ nats",
        "low",
        "KL(before ‖ model), Kullback and Leibler 1951",
        needs=(Need.GENERAL_QUESTIONS,),
    ),
    "forget_quality.p_value": Metric(
        "forget, needs a retain model", "0 … 1", "high", _TOFU, needs=(Need.RETAIN_MODEL,)
    ),
    "forget_quality.log10_p_value": Metric(
        "forget, needs a retain model", "-∞ … 0", "high", _TOFU, needs=(Need.RETAIN_MODEL,)
    ),
    "forget_quality.ks_statistic": Metric(
        "forget, needs a retain model", "0 … 1", "low", _TOFU, needs=(Need.RETAIN_MODEL,)
    ),
    "membership_inference.loss_auc": Metric(
        "forget, holdout", "0 … 1", "0.5", "Yeom et al. 2018, arXiv 1709.01604", needs=(Need.HOLDOUT,)
    ),
    "membership_inference.zlib_auc": Metric(
        "forget, holdout", "0 … 1", "0.5", "Carlini et al. 2021, arXiv 2012.07805", needs=(Need.HOLDOUT,)
    ),
    "membership_inference.min_k_auc": Metric(
        "forget, holdout", "0 … 1", "0.5", "Shi et al. 2024, arXiv 2310.16789", needs=(Need.HOLDOUT,)
    ),
    "membership_inference.min_k_plus_plus_auc": Metric(
        "forget, holdout", "0 … 1", "0.5", "Zhang et al. 2025, arXiv 2404.02936", needs=(Need.HOLDOUT,)
    ),
    "membership_inference.reference_auc": Metric(
        "forget, holdout, needs a retain model",
        "0 … 1",
        "0.5",
        "Carlini et al. 2021, arXiv 2012.07805",
        needs=(Need.HOLDOUT, Need.RETAIN_MODEL),
    ),
    "membership_inference.gradient_norm_auc": Metric(
        "forget, holdout", "0 … 1", "0.5", "Duan et al. 2024, arXiv 2402.07841", needs=(Need.HOLDOUT,)
    ),
    "people.known": Metric(
        "people of every batch, holdout",
        "0 … people",
        "0",
        "t test of one more person of a population, at 0.001 over all (Holm 1979)",
        needs=(Need.HOLDOUT,),
    ),
    "people.worst_probability": Metric("people of every batch", "0 … 1", "low", _TOFU),
    "privleak": Metric(
        "forget, holdout, needs a retain model", "-100 … ∞", "0", _MUSE, needs=(Need.HOLDOUT, Need.RETAIN_MODEL)
    ),
    "fluency.nll": Metric(
        "what is answered about the forgotten, judged by model.pretrained or the model before",
        "0 … ∞ nats",
        "as the retain model's",
        "log of the perplexity, Jelinek et al. 1977, doi 10.1121/1.2016299",
    ),
    "fluency.repetition": Metric(
        "what is answered about the forgotten",
        "0 … 1",
        "low",
        "pairs of words that come again, Welleck et al. 2019, arXiv 1908.04319",
    ),
    "fluency.relative_length": Metric(
        "what is answered about the forgotten", "0 … ∞", "as the retain model's", "words by those of the right answers"
    ),
    "retain_divergence.kl_retain_model_to_model": Metric(
        "forget, needs a retain model",
        "0 … ∞ nats",
        "low",
        "Vasilev et al. 2025, arXiv 2505.06027",
        needs=(Need.RETAIN_MODEL,),
    ),
    "retain_divergence.kl_model_to_retain_model": Metric(
        "forget, needs a retain model",
        "0 … ∞ nats",
        "low",
        "Vasilev et al. 2025, arXiv 2505.06027",
        needs=(Need.RETAIN_MODEL,),
    ),
    "robustness.relearned_probability": Metric(
        "forget, after fine-tuning on a tenth of it",
        "0 … 1",
        "low",
        "Hu et al. 2024, arXiv 2406.13356",
        attack="relearning",
    ),
    "robustness.quantised_8_bit_probability": Metric(
        "forget", "0 … 1", "low", "Zhang et al. 2024, arXiv 2410.16454", attack="quantisation"
    ),
    "robustness.quantised_4_bit_probability": Metric(
        "forget", "0 … 1", "low", "Zhang et al. 2024, arXiv 2410.16454", attack="quantisation"
    ),
    "robustness.paraphrased_probability": Metric(
        "forget, paraphrased prompts",
        "0 … 1",
        "low",
        "Patil et al. 2023, arXiv 2309.17410",
        attack="paraphrased_prompts",
    ),
    "robustness.paraphrased_rouge_l_recall": Metric(
        "forget, paraphrased prompts",
        "0 … 1",
        "low",
        "Patil et al. 2023, arXiv 2309.17410",
        attack="paraphrased_prompts",
    ),
    "robustness.question_formats_probability": Metric(
        "forget, asked for a list, for JSON, in a role, in other languages",
        "0 … 1",
        "low",
        "Lynch et al. 2024, arXiv 2402.16835",
        attack="question_formats",
    ),
    "robustness.question_formats_rouge_l_recall": Metric(
        "forget, asked for a list, for JSON, in a role, in other languages",
        "0 … 1",
        "low",
        "Lynch et al. 2024, arXiv 2402.16835",
        attack="question_formats",
    ),
    "robustness.clues_probability": Metric(
        "forget, after answers to other questions about the same people",
        "0 … 1",
        "low",
        "Shumailov et al. 2024, arXiv 2407.00106",
        attack="clues",
    ),
    "robustness.clues_rouge_l_recall": Metric(
        "forget, after answers to other questions about the same people",
        "0 … 1",
        "low",
        "Shumailov et al. 2024, arXiv 2407.00106",
        attack="clues",
    ),
    "robustness.prefix_attack_rouge_l_recall": Metric(
        "forget, first 8 answer tokens given",
        "0 … 1",
        "low",
        "Carlini et al. 2022, arXiv 2202.07646",
        attack="prefix_attack",
    ),
    "robustness.sampling_rouge_l_recall": Metric(
        "forget, best of many samples", "0 … 1", "low", "Scholten et al. 2024, arXiv 2410.03523", attack="sampling"
    ),
    "robustness.logit_lens_probability": Metric(
        "forget, by the layer that gives most away",
        "0 … 1",
        "low",
        "Patil et al. 2023, arXiv 2309.17410",
        attack="logit_lens",
    ),
    "verbmem": Metric("MUSE, ROUGE-L F1 of continuations", "0 … 1", "low", _MUSE),
    "knowmem_forget": Metric("MUSE, ROUGE-L F1 of answers", "0 … 1", "low", _MUSE),
    "knowmem_retain": Metric("MUSE, ROUGE-L F1 of answers", "0 … 1", "high", _MUSE),
}

RECORD_METRICS = {name: metric.measure for name, metric in METRICS.items() if metric.measure}
"""Those with a value for each record of every set but the holdout."""
