"""Judged workspaces as the steps before the report leave them, with texts and ids that must not get out."""

import numpy as np
import pandas as pd

from unilogit.files import write_json, write_parquet, write_text
from unilogit.gates import judge
from unilogit.params import Gate

AFTER = {
    "forget": {"probability": 0.013, "rouge_l_recall": 0.25, "n": 7},
    "retain": {"probability": 0.951, "rouge_l_recall": 0.96, "n": 90},
    "world_facts": {"probability": 0.972},
    "forget_quality": {"p_value": 1.5e-7, "ks_statistic": 0.2},
    "model_utility": 0.888,
}
METRICS = {
    "before": {"forget": {"probability": 0.993}, "retain": {"probability": 0.964}, "model_utility": 0.9},
    "after": AFTER,
    "golden": {"forget": {"probability": 0.021}},
    "unavailable": {},
}
HISTORY = [
    {"step": 1, "forget_loss": 2.0, "retain_loss": 0.5},
    {"step": 2, "forget_loss": 1.0, "retain_loss": 0.4},
    {"step": 2, "forget_nll": 4.0, "holdout_nll": 5.0, "retain_probability": 0.9},
]


def gate(name="forgotten", metric="forget.probability", op="<=", threshold=0.05, scope="forget"):
    return Gate(name=name, scope=scope, metric=metric, op=op, threshold=threshold)


GATES = [
    gate(),
    gate("useful", "model_utility", ">=", 0.8, "utility"),
    gate("too-strict", "retain.probability", ">=", 0.99, "utility"),
    gate("unmeasured", "membership_inference.loss_auc"),
]


def build(folder, metrics=METRICS, gates=GATES, history=HISTORY, ratios=(0.5, 2.0, None)):
    """The least that a report can be made of."""
    (folder / "model").mkdir(parents=True, exist_ok=True)
    (folder / "model" / "model.safetensors").write_bytes(b"weights")
    write_json(folder / "evaluation" / "metrics.json", metrics)
    write_json(
        folder / "data" / "extraction.json",
        {"requests": 12, "forget": 34, "retain": 90, "earlier": 0, "holdout": 5, "no_match": ["request-0815"]},
    )
    write_parquet(folder / "data" / "forget.parquet", forget_set([]))
    write_json(folder / "training.json", {"method": "unilogit", "epochs": 1.5, "history": history})
    write_json(folder / "gates.json", judge(gates, metrics).model_dump())
    if ratios is not None:
        examples = {"set": ["forget"] * len(ratios), "truth_ratio": pd.Series(ratios, dtype="float64")}
        write_parquet(folder / "evaluation" / "models" / "after.parquet", pd.DataFrame(examples))
    return folder


def forget_set(subjects, batch="current"):
    """A record for each list of people, in the columns that a report reads."""
    rows = [
        (f"record-{place}", people, f"Where does Odalys {place} live?", f"At Quenneville {place}.", batch)
        for place, people in enumerate(subjects)
    ]
    return pd.DataFrame(rows, columns=["record_id", "subject_ids", "prompt", "response", "batch"])


def add_people(folder, subjects, probabilities=None):
    """Three models measured on a forget set and as many records of unseen people.

    Args:
        subjects: of each record.
        probabilities: of the answers, after; drawn when not given.
    """
    forget = forget_set(subjects)
    write_parquet(folder / "data" / "forget.parquet", forget)
    random, count = np.random.default_rng(0), len(forget)
    drawn = {"before": random.uniform(0.9, 1, count), "golden": random.uniform(0, 0.1, count)}
    drawn["after"] = random.uniform(0, 0.1, count) if probabilities is None else np.array(probabilities)
    for model, probability in drawn.items():
        both = np.r_[probability, random.uniform(0, 0.1, count)]
        examples = pd.DataFrame(
            {
                "set": ["forget"] * count + ["holdout"] * count,
                "record_id": [*forget["record_id"], *(f"unseen-{place}" for place in range(count))],
                "probability": both,
                "rouge_l_recall": both,
                "extraction_strength": both / 2,
                "truth_ratio": random.lognormal(0, 1, 2 * count),
                "generated": [f"{model} says Odalys {place}" for place in range(count)] + [None] * count,
                "attack_loss": -np.log(both + 1e-9),
                "attack_min_k": -np.log(both + 1e-9) * random.uniform(1, 2, 2 * count),
            }
        )
        write_parquet(folder / "evaluation" / "models" / f"{model}.parquet", examples)


def add_attacks_and_baselines(folder):
    points = {
        "relearning": [0, 5, 20],
        "quantisation": [16, 8, 4],
        "paraphrased_prompts": ["original", "paraphrased"],
        "prefix_attack": [0, 2, 8],
        "sampling": [1, 4, 16],
    }
    for attack, places in points.items():
        rows = [
            f"{model},{x},{(place + 1) / 10}"
            for model in ("before", "after", "golden")
            for place, x in enumerate(places)
        ]
        write_text(folder / "evaluation" / "robustness" / f"{attack}.csv", "\n".join(["model,x,value", *rows]) + "\n")
    write_text(
        folder / "evaluation" / "baselines.csv",
        "name,forget_probability,model_utility\nnpo,0.1,0.7\ngradient_ascent,0.0,0.1\nundial,0.2,0.8\n",
    )
