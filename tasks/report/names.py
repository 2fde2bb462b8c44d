"""How a review calls models and measurements, and a sentence on each kind of measurement. Holds words only."""

from tasks.sets import PARENT, RETAIN_MODEL, UNLEARNED

MODELS = {PARENT: "before", UNLEARNED: "after", RETAIN_MODEL: "retain model"}  # role → title
COUNTS = {
    "requests": "deletion requests",
    "not_found": "of them with nothing in the corpus so far",
    "held": "of them held for a person's decision",
    "forget": "records to forget",
    "near_duplicates": "of these, only like one that was asked for",
    "earlier": "records of earlier batches, kept forgotten",
    "suppressed": "records of purged requests, left out",
    "retain": "records to retain",
    "holdout": "records of unseen people, for comparison",
}
SECTIONS = {
    "forget": "To forget: this batch",
    "forget_all": "To forget: every batch so far",
    "people": "To forget: person by person",
    "fluency": "How it answers about the forgotten",
    "retain": "To retain",
    "neighbours": "To retain: what reads most like the forgotten",
    "holdout": "Unseen people",
    "model_utility": "Model utility",
    "retained": "Kept, as a share of before",
    "general": "Ordinary chat",
    "lm_eval": "Tasks of lm-eval",
    "forget_quality": "Forget quality",
    "membership_inference": "Membership inference",
    "retain_divergence": "Divergence from the retain model",
    "robustness": "Attempts to bring the forgotten back",
}
SECTION_OF = {"privleak": "membership_inference"}  # of numbers that stand alone in metrics.json
NOTES = {
    "forget": "Low is good, but no lower than the retain model: a model that never saw an answer still guesses some.",
    "forget_all": "As above, with the people of earlier batches: nobody may come back.",
    "people": "Whom of every batch the model knows: who is to it as its training records are, not as unseen people.",
    "fluency": "A model that never knew them answers fluently, and wrongly: as the retain model's is good. NLL is to"
    " the model before, or to the checkpoint before that.",
    "retain": "Should stay as it was before.",
    "neighbours": "Retained records like the forgotten, which unlearning endangers first: should stay as they were.",
    "holdout": "People whom no model ever saw: forgotten ones should look like them.",
    "model_utility": "The harmonic mean of what is measured on the retain set and on general knowledge.",
    "retained": "After divided by before: 1 is no change. Of perplexity, more is a loss; of all others, less.",
    "general": "Questions and a text that have nothing to do with the corpus. Drift is how differently a model goes on"
    " where the model before answers these questions: 0 is alike.",
    "lm_eval": "Should stay as they were before.",
    "forget_quality": "Kolmogorov–Smirnov test of the truth ratio against the retain model: p-value 1 and statistic 0"
    " mean that the two cannot be told apart.",
    "membership_inference": "How well an attacker tells forgotten people from unseen ones: an AUC of 0.5 is guessing,"
    " 1 always right; PrivLeak is 0 where Min-K% does as to the retain model, negative where too little is forgotten.",
    "retain_divergence": "How differently the model and the retain model continue the forgotten answers: 0 is alike.",
    "robustness": "The forget set under attack. Low is good, but no lower than the retain model, which guesses too.",
}
_GROUP_NOTE = "General knowledge, which nobody asked to forget: should stay as it was before."
METRICS = {
    "probability": "answer probability",
    "known": "how many are known",
    "worst_probability": "highest answer probability of a person",
    "nll": "NLL of a token of what is said, nats",
    "repetition": "share of pairs of words said again",
    "relative_length": "length, by that of the right answers",
    "normalised_probability": "normalised probability",
    "rouge_l_recall": "ROUGE-L recall",
    "truth_ratio": "truth ratio",
    "exact_memorisation": "exact memorisation",
    "extraction_strength": "extraction strength",
    "retain_probability": "retain probability",
    "general_accuracy": "right answers to general questions",
    "general_probability": "probability of right answers to general questions",
    "general_perplexity": "perplexity of general text",
    "accuracy": "share of right answers",
    "perplexity": "perplexity of general text",
    "drift": "drift KL(before ‖ model), nats per token",
    "p_value": "p-value",
    "log10_p_value": "log10 of p-value",
    "ks_statistic": "KS statistic",
    "loss_auc": "LOSS attack AUC",
    "zlib_auc": "zlib attack AUC",
    "min_k_auc": "Min-K% attack AUC",
    "min_k_plus_plus_auc": "Min-K%++ attack AUC",
    "reference_auc": "reference-model attack AUC",
    "gradient_norm_auc": "gradient-norm attack AUC",
    "privleak": "PrivLeak (%)",
    "kl_retain_model_to_model": "KL(retain model ‖ model), nats per token",
    "kl_model_to_retain_model": "KL(model ‖ retain model), nats per token",
    "relearned_probability": "answer probability, relearned",
    "quantised_8_bit_probability": "answer probability, 8-bit weights",
    "quantised_4_bit_probability": "answer probability, 4-bit weights",
    "paraphrased_probability": "answer probability, paraphrased prompts",
    "paraphrased_rouge_l_recall": "ROUGE-L recall, paraphrased prompts",
    "question_formats_probability": "answer probability, asked for another form",
    "question_formats_rouge_l_recall": "ROUGE-L recall, asked for another form",
    "clues_probability": "answer probability, after clues",
    "clues_rouge_l_recall": "ROUGE-L recall, after clues",
    "prefix_attack_rouge_l_recall": "ROUGE-L recall, start of the answer given",
    "sampling_rouge_l_recall": "ROUGE-L recall, best of many samples",
    "logit_lens_probability": "answer probability, by a layer's output",
}
PICTURES = {  # title, and what one who cannot see it is told
    "metrics": (
        "What each model knows",
        "Bars: answer probability and ROUGE-L recall of each set, before, after and retain model",
    ),
    "plane": (
        "Forgetting against utility",
        "Points: probability of forget answers against model utility, before, after, retain model and baselines;"
        " the upper left corner is best",
    ),
    "roc": (
        "Membership inference",
        "ROC curves: the LOSS and Min-K% attacks, forgotten against unseen people, before, after and retain model;"
        " the diagonal is guessing",
    ),
    "truth_ratio": (
        "Truth ratio",
        "Distributions of the truth ratio on the forget set, before, after and retain model",
    ),
    "robustness": (
        "Attempts to bring the forgotten back",
        "Curves: mean over forgotten records under each attack as it grows stronger, before, after and retain model",
    ),
    "training": ("Training", "Curves: terms of the loss and what was watched, by training step"),
}


def section_title(section: str) -> str:
    return SECTIONS.get(section, short_title(section).capitalize())


def short_title(section: str) -> str:
    return section.replace("_", " ")


def note(section: str) -> str:
    """How to read the numbers of a section; one that has no note of its own is a group of general knowledge."""
    return NOTES.get(section, _GROUP_NOTE)


def metric_title(metric: str) -> str:
    return METRICS.get(metric, metric.replace("_", " "))


def number(value: float | None) -> str:
    """Three decimals; powers of ten for what would vanish in them; a dash for None."""
    if value is None:
        return "–"
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.001 else f"{value:.1e}"
