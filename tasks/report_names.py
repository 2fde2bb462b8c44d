"""How the review calls what a run measured, and a sentence on each kind of measurement. Holds words only."""

COUNTS = {
    "requests": "deletion requests",
    "no_match": "of them with nothing in the corpus",
    "forget": "records to forget",
    "earlier": "records of earlier batches, kept forgotten",
    "retain": "records to retain",
    "holdout": "records of unseen people, for comparison",
}
SECTIONS = {
    "forget": "To forget: this batch",
    "forget_all": "To forget: every batch so far",
    "retain": "To retain",
    "holdout": "Unseen people",
    "model_utility": "Model utility",
    "retained": "Kept, as a share of before",
    "forget_quality": "Forget quality",
    "membership_inference": "Membership inference",
    "golden_divergence": "Divergence from the golden target",
}
SECTION_OF = {"privleak": "membership_inference"}  # of numbers that are no part of one in metrics.json
NOTES = {
    "forget": "Low is good, but no lower than the golden target: a model that never saw an answer still guesses some.",
    "forget_all": "As above, with the people of earlier batches: nobody may come back.",
    "retain": "Should stay as it was before.",
    "holdout": "People whom no model ever saw: forgotten ones should look like them.",
    "model_utility": "The harmonic mean of what is measured on the retain set and on general knowledge.",
    "retained": "After divided by before: 1 is no loss.",
    "forget_quality": "Kolmogorov–Smirnov test of the truth ratio against the golden target: p-value 1 and statistic 0"
    " mean that the two cannot be told apart.",
    "membership_inference": "How well an attacker tells forgotten people from unseen ones: an AUC of 0.5 is guessing,"
    " 1 always right; PrivLeak is 0 where Min-K% does as to the golden target, negative where too little is forgotten.",
    "golden_divergence": "How differently the model and the golden target continue the forgotten answers: 0 is alike.",
}
METRICS = {
    "probability": "answer probability",
    "normalised_probability": "normalised probability",
    "rouge_l_recall": "ROUGE-L recall",
    "truth_ratio": "truth ratio",
    "exact_memorisation": "exact memorisation",
    "extraction_strength": "extraction strength",
    "retain_probability": "retain probability",
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
    "kl_golden_to_model": "KL(golden ‖ model), nats per token",
    "kl_model_to_golden": "KL(model ‖ golden), nats per token",
}
PICTURES = {  # title, and what one who cannot see it is told
    "metrics": (
        "What each model knows",
        "Bars: answer probability and ROUGE-L recall of each set, before, after and golden target",
    ),
    "plane": (
        "Forgetting against utility",
        "Points: probability of forget answers against model utility, before, after, golden target and baselines;"
        " the upper left corner is best",
    ),
    "roc": (
        "Membership inference",
        "ROC curves: the LOSS and Min-K% attacks, forgotten against unseen people, before, after and golden target;"
        " the diagonal is guessing",
    ),
    "truth_ratio": (
        "Truth ratio",
        "Distributions of the truth ratio on the forget set, before, after and golden target",
    ),
    "robustness": (
        "Attempts to bring the forgotten back",
        "Curves: mean over forgotten records under each attack as it grows stronger, before, after and golden target",
    ),
    "training": ("Training", "Curves: terms of the loss and what was watched, by training step"),
}


def section_title(name: str) -> str:
    return SECTIONS.get(name, name.replace("_", " ").capitalize())


def number(value: float | None) -> str:
    """Three decimals; powers of ten for what would vanish in them."""
    if value is None:
        return "–"
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.001 else f"{value:.1e}"
