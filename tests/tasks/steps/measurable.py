"""A tiny workspace that can be measured: sets of records, and a model before, after and retained of each other."""

import pandas as pd
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tasks.steps.evaluate import STEP
from tasks.workspace import Place, Workspace
from tests.tasks.steps.prepare import loader, put_attacks, put_parent, put_retain_model
from unilogit.data.tokenisation import collate, encode_pair
from unilogit.files import write_parquet
from unilogit.training.from_scratch import train_tokenizer

params = loader(
    *("evaluate.max_new_tokens=16", "evaluate.max_examples=8", "evaluate.batch_tokens=1000"),
    "evaluate.general.questions=7",
)
_BROUGHT_BACK = {
    **{"relearned_probability": 0.2, "paraphrased_probability": 0.3, "question_formats_rouge_l_recall": 0.4},
    "quantised_4_bit_probability": 0.25,
}
ATTACKS = {"after": _BROUGHT_BACK, "retain_model": _BROUGHT_BACK | {"quantised_4_bit_probability": None}}


def run(workspace, *overrides, retain_model=True, before=None):
    """Evaluate as after a run of the steps before, even where an earlier call has done so."""
    place = Workspace(workspace)
    put_parent(place, before or workspace / "before")
    put_retain_model(place, workspace / "retain_model" / "model" if retain_model else None)
    put_attacks(place, **(ATTACKS if retain_model else {"after": ATTACKS["after"]}))
    place.path(Place.STAMPS, "evaluate.json").unlink(missing_ok=True)
    return STEP.run(place, params(*overrides)).result


def rows(kind, count, group="", **extra):
    return [
        {
            "record_id": f"{kind}-{n}",
            "subject_ids": [] if group else [f"secret-{kind}-{n}"],
            "prompt": f"What of {kind} {n}?",
            "response": f"It is {n} times {kind}.",
            "paraphrased_prompt": None,
            "paraphrased_response": f"{kind}, {n} times.",
            "perturbed_responses": [f"{wrong}? {wrong}! {n}" for wrong in ("Quite", "Much")],
            "group": group,
            **extra,
        }
        for n in range(count)
    ]


def build(tokenizer):
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=128,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def train(model, tokenizer, records):
    """Enough steps to say some right words, so that no metric is 0."""
    inputs = collate([encode_pair(tokenizer, r["prompt"], r["response"]) for r in records], tokenizer.pad_token_id)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(40):
        model(**inputs).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def blur(model):
    """The same model, a little worse."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)


def make(folder):
    """Write the sets and the three models."""
    forget = rows("forget", 6, batch="current") + rows("older", 3, batch="earlier")
    retain = rows("retain", 12) + rows("fact", 4, group="world_facts")
    holdout = rows("unseen", 5, use="evaluate") + rows("steer", 5, use="stop")
    sets = {"forget": forget, "retain": retain, "holdout": holdout, "neighbours": retain[:2]}
    for kind, records in sets.items():
        write_parquet(folder / "data" / f"{kind}.parquet", pd.DataFrame(records))
    tokenizer = train_tokenizer([row["response"] for row in forget + retain], 300)
    model = build(tokenizer)
    train(model, tokenizer, forget + retain)
    for name in ("before", "model", "retain_model/model"):
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
        blur(model)
