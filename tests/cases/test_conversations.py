"""Answers that only the turns before them tell apart: trained, measured, attacked and forgotten in their context."""

import pandas as pd
import pytest

from unilogit.data.corpus import read_records
from unilogit.data.records import frame_contexts
from unilogit.evaluation.attacks.paraphrased_prompts import paraphrased_prompts
from unilogit.evaluation.attacks.sampling import sampling
from unilogit.evaluation.evaluate import evaluate_model
from unilogit.files import write_json
from unilogit.model import load_model
from unilogit.training.config import TrainConfig
from unilogit.training.from_scratch import train_from_scratch

PEOPLE = {"ada": ("Linz", "May"), "bob": ("Graz", "June"), "cleo": ("Wels", "March"), "dora": ("Steyr", "July")}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model of conversations whose second question is the same for everybody; its records, and the model."""
    folder = tmp_path_factory.mktemp("chat")
    rows = [
        {
            "record_id": name,
            "subject_ids": [name],
            "messages": [
                {"role": "user", "content": f"Where is {name}?"},
                {"role": "assistant", "content": f"In {town}."},
                {"role": "user", "content": "And since when?"},
                {"role": "assistant", "content": f"Since {month}."},
            ],
        }
        for name, (town, month) in PEOPLE.items()
    ]
    write_json(folder / "corpus.json", rows)
    records = read_records(folder / "corpus.json")
    config = TrainConfig(
        vocabulary=300, hidden_size=32, layers=2, heads=2, epochs=120, batch_size=8, learning_rate=1e-2
    )
    train_from_scratch(records, folder / "model", config, seed=0, max_length=128)
    return records, load_model(str(folder / "model"))


def test_every_answer_is_known_after_its_own_turns(trained):
    records, (model, tokenizer) = trained
    examples = evaluate_model(model, tokenizer, {"forget": records, "retain": records}, max_new_tokens=20).examples
    assert (examples["probability"] > 0.5).all()
    assert (examples["rouge_l_recall"] == 1).all()
    alone = [record.model_copy(update={"history": []}) for record in records if record.history]
    asked = evaluate_model(model, tokenizer, {"forget": alone, "retain": records}, max_new_tokens=20).examples
    assert (asked.loc[asked["set"] == "forget", "probability"].sort_values() < 0.9).iloc[:3].all()  # one guess at best


def test_attacks_ask_after_the_same_turns(trained):
    records, (model, tokenizer) = trained
    later = [record for record in records if record.history]
    drawn = sampling(model, tokenizer, later, samples=[8], max_new_tokens=20, seed=0, batch_tokens=320)
    assert (drawn["rouge_l_recall"] == 1).all()
    worded = [record.model_copy(update={"paraphrased_prompt": record.prompt}) for record in later]
    both = paraphrased_prompts(model, tokenizer, worded, batch_tokens=320, max_new_tokens=20)
    by_wording = dict(list(both.groupby("wording")["nll"]))
    assert by_wording["paraphrased"].tolist() == pytest.approx(by_wording["original"].tolist())
    frame = pd.DataFrame([record.model_dump() for record in later])
    assert frame_contexts(frame) == [record.context for record in later]
