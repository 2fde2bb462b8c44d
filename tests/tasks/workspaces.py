"""Judged workspaces as the steps before the report leave them, with texts and ids that must not get out."""

from pathlib import Path

import numpy as np
import pandas as pd

from tasks.params import Params
from tasks.sets import PARENT, RETAIN_MODEL, UNLEARNED
from tasks.workspace import Extraction, Measured, Metrics, ParentModel, Place, RetainModel, Training, Workspace
from unilogit.files import sha256_weights, write_json, write_parquet, write_text
from unilogit.gates import Gate, judge

PERSONAL = ("secret-", "Odalys", "Quenneville", "record-", "request-0815")  # parts of ids and texts
METRICS = Metrics(
    before={"forget": {"probability": 0.993}, "retain": {"probability": 0.964}, "model_utility": 0.9},
    after={
        "forget": {"probability": 0.013, "rouge_l_recall": 0.25, "n": 7},
        "retain": {"probability": 0.951, "rouge_l_recall": 0.96, "n": 90},
        "world_facts": {"probability": 0.972},
        "forget_quality": {"p_value": 1.5e-7, "ks_statistic": 0.2},
        "model_utility": 0.888,
    },
    retain_model={"forget": {"probability": 0.021}},
    unavailable={},
)
HISTORY = [
    {"step": 1, "forget_loss": 2.0, "retain_loss": 0.5},
    {"step": 2, "forget_loss": 1.0, "retain_loss": 0.4},
    {"step": 2, "forget_nll": 4.0, "unseen_nll": 5.0, "retain_probability": 0.9},
]
CURVES = {  # attack → its points, from weak to strong
    "relearning": [0, 5, 20],
    "quantisation": [16, 8, 4],
    "paraphrased_prompts": ["original", "paraphrased"],
    "question_formats": ["json", "list", "role play"],
    "clues": [1, 2, 4],
    "prefix_attack": [0, 2, 8],
    "sampling": [1, 4, 16],
    "logit_lens": [1, 2, 3],
}
BASELINES = {"npo": (0.1, 0.7), "gradient_ascent": (0.0, 0.1), "undial": (0.2, 0.8)}  # (forget, utility)


def gate(name="forgotten", metric="forget.probability", op="<=", threshold=0.05, scope="forget"):
    return Gate(name=name, scope=scope, metric=metric, op=op, threshold=threshold)


GATES = [
    gate(),
    gate("useful", "model_utility", ">=", 0.8, "utility"),
    gate("too-strict", "retain.probability", ">=", 0.99, "utility"),
    gate("unmeasured", "membership_inference.loss_auc"),
]


def varied(**parts) -> Metrics:
    """METRICS with other parts."""
    return METRICS.model_copy(update=parts)


def build(root: Path, metrics=METRICS, gates=GATES, history=HISTORY, ratios=(0.5, 2.0, None)) -> Workspace:
    """The least that a review can be made of.

    Args:
        ratios: truth ratios of the forget set, after; None for a model of which no records were measured.
    """
    workspace = Workspace(root)
    workspace.write(metrics)
    counts = {"requests": 12, "forget": 34, "retain": 90, "earlier": 0, "holdout": 5, "neighbours": 3}
    workspace.write(Extraction(**counts, not_found=["request-0815"], warnings=["request-0815: nothing there"]))
    workspace.write(ParentModel(model="some/base", version=None, files_sha256="some/base"))
    told = "var/retained: trained on 90 records"
    workspace.write(RetainModel(model="var/retained", files_sha256="0815", description=told))
    workspace.write(
        Training(
            method="unilogit",
            epochs=1.5,
            steps=2,
            stop_rule="stops when forgotten",
            processes=1,
            weights_sha256="0815" * 16,
            history=history,
        )
    )
    write_json(workspace.path(Place.GATES), judge(gates, metrics.model_dump()).model_dump())
    write_parquet(workspace.path(Place.FORGET), forget_set([]))
    if ratios is not None:
        examples = {"set": ["forget"] * len(ratios), "truth_ratio": pd.Series(ratios, dtype="float64")}
        write_parquet(workspace.measured(UNLEARNED)[1], pd.DataFrame(examples))
    return workspace


def forget_set(subjects, batch="current") -> pd.DataFrame:
    """A record for each list of people, in the columns that a report reads."""
    rows = [
        (f"record-{place}", people, f"Where does Odalys {place} live?", f"At Quenneville {place}.", batch)
        for place, people in enumerate(subjects)
    ]
    return pd.DataFrame(rows, columns=["record_id", "subject_ids", "prompt", "response", "batch"])


def add_people(workspace: Workspace, subjects, probabilities=None) -> None:
    """Three models measured on a forget set and as many records of unseen people.

    Args:
        subjects: of each record.
        probabilities: of the answers, after; drawn when not given.
    """
    forget = forget_set(subjects)
    write_parquet(workspace.path(Place.FORGET), forget)
    random, count = np.random.default_rng(0), len(forget)
    drawn = {PARENT: random.uniform(0.9, 1, count), RETAIN_MODEL: random.uniform(0, 0.1, count)}
    drawn[UNLEARNED] = random.uniform(0, 0.1, count) if probabilities is None else np.array(probabilities)
    for role, probability in drawn.items():
        values = np.r_[probability, random.uniform(0, 0.1, count)]
        examples = pd.DataFrame(
            {
                "set": ["forget"] * count + ["holdout"] * count,
                "record_id": [*forget["record_id"], *(f"unseen-{place}" for place in range(count))],
                "probability": values,
                "rouge_l_recall": values,
                "extraction_strength": values / 2,
                "truth_ratio": random.lognormal(0, 1, 2 * count),
                "generated": [f"{role} says Odalys {place}" for place in range(count)] + [None] * count,
                "attack_loss": -np.log(values + 1e-9),
                "attack_min_k": -np.log(values + 1e-9) * random.uniform(1, 2, 2 * count),
            }
        )
        scores, records = workspace.measured(role)
        write_parquet(records, examples)
        cost = Measured(seconds={"score": 1.5, "generate": 2.0}, generated_tokens=900)
        write_json(scores, cost.model_dump())


def add_attacks_and_baselines(workspace: Workspace) -> None:
    """Curves of every attack, of which the point at place i is (i + 1) / 10 for the parent, half of it after, and a
    quarter of it for the retain model; and BASELINES."""
    for attack, points in CURVES.items():
        rows = [
            f"{role},{point},{(place + 1) / 10 / share}"
            for role, share in ((PARENT, 1), (UNLEARNED, 2), (RETAIN_MODEL, 4))
            for place, point in enumerate(points)
        ]
        write_text(workspace.attack_curve(attack), "\n".join(["model,x,value", *rows]) + "\n")
    rows = [f"{name},{forget},{utility}" for name, (forget, utility) in BASELINES.items()]
    write_text(workspace.path(Place.BASELINES), "\n".join(["name,forget_probability,model_utility", *rows]) + "\n")


def build_registrable(root: Path, params: Params, seed=0, forget_probability=0.01, parent=None) -> Workspace:
    """A workspace with a real, tiny model and people in every file that may hold them; its gates are those of params.

    Args:
        seed: other weights for another one.
        forget_probability: 0.01 passes the gates, 0.9 fails two of them.
        parent: the registered version that was unlearned; None for the base model.
    """
    after = {
        "forget": {"probability": forget_probability, "rouge_l_recall": 0.2, "extraction_strength": 0.1, "n": 7},
        "forget_all": {"probability": forget_probability},
        "people": {"known": 0},
        "privleak": 3.0,
        "fluency": {"nll": 2.0, "repetition": 0.0, "relative_length": 1.0},
        "retain": {"probability": 0.95, "rouge_l_recall": 0.96},
        "world_facts": {"probability": 0.97},
        "membership_inference": {"loss_auc": 0.5},
        "robustness": {
            **{"quantised_4_bit_probability": 0.01, "relearned_probability": 0.02, "paraphrased_probability": 0.01},
            "question_formats_rouge_l_recall": 0.2,
        },
        "forget_quality": {"p_value": 0.8, "log10_p_value": -0.1, "ks_statistic": 0.2},
        "model_utility": 0.9,
        "retained": {"model_utility": 0.99, "general_perplexity": 1.01},
        "general": {"accuracy": 0.5, "perplexity": 20.2, "drift": 0.01, "n": 100},
    }
    before = {"forget": {"probability": 0.99}, "retain": {"probability": 0.96, "truth_ratio": None}}
    reasons = {"before.retain.truth_ratio": "no wrong answers"}
    metrics = Metrics(before=before, after=after, retain_model=None, unavailable=reasons)
    history = [{"epoch": entry["step"] / 2, **entry} for entry in HISTORY]
    workspace = build(root, metrics, params.gates, history)
    add_people(workspace, [["secret-ada"], ["secret-bob"]])
    model = workspace.path(Place.MODEL)
    save_model(model, seed)
    training = workspace.read(Training)
    workspace.write(training.model_copy(update={"weights_sha256": sha256_weights(model)}))
    workspace.write(ParentModel(model="some/base", version=parent, files_sha256="some/base"))
    return workspace


def save_model(folder: Path, seed: int) -> None:
    """A Llama of one layer and random weights, whose tokenizer knows word0 … word29."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(seed)
    words = ["<unk>", "<eos>", *(f"word{number}" for number in range(30))]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<eos>", pad_token="<eos>")
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    special = {"eos_token_id": 1, "bos_token_id": 1, "pad_token_id": 1}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(words), **shape, **special)).save_pretrained(folder)
    fast.save_pretrained(folder)
