"""Models from nothing: the same on every machine, on every answer to its end."""

from functools import cached_property

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainingArguments

from tests.training.tiny import FORGET, RETAIN, largest_difference, tiny_model, tiny_trainer, weights
from unilogit.data.records import CorpusRecord
from unilogit.errors import InputError
from unilogit.training.config import TrainConfig
from unilogit.training.from_scratch import train_from_scratch

RECORDS = [
    CorpusRecord(record_id=f"r{n}", prompt=prompt, response=response)
    for n, (prompt, response) in enumerate(FORGET + RETAIN)
]
CONFIG = TrainConfig(vocabulary=320, hidden_size=16, heads=2, epochs=2, batch_size=4)


def train(folder, records=RECORDS, **arguments):
    history = train_from_scratch(records, folder, CONFIG, **{"seed": 0, "max_length": 64} | arguments)
    return AutoModelForCausalLM.from_pretrained(folder), history


def on_a_machine_with(gpus, monkeypatch):
    """As far as TrainingArguments go: they count them when the device is first asked for."""
    find_device = TrainingArguments.__dict__["_setup_devices"].func

    def with_gpus(self):
        device = find_device(self)
        self._n_gpu = gpus
        return device

    counting = cached_property(with_gpus)
    counting.__set_name__(TrainingArguments, "_setup_devices")
    monkeypatch.setattr(TrainingArguments, "_setup_devices", counting)


def test_how_many_gpus_there_are_changes_no_model(tmp_path, monkeypatch):
    one, history = train(tmp_path / "one")
    on_a_machine_with(4, monkeypatch)
    assert TrainingArguments(per_device_train_batch_size=4, use_cpu=True).train_batch_size == 16  # what must not be
    other, history_of_other = train(tmp_path / "other")
    assert history[-1]["step"] == history_of_other[-1]["step"] == 10  # of 19 records, four at a time
    assert largest_difference(weights(one), weights(other)) == 0
    task = tiny_trainer(tiny_model())
    assert task.args.train_batch_size == 4


def test_a_retain_model_has_the_tokenizer_and_the_architecture_of_its_model_and_no_weight(tmp_path):
    model, _ = train(tmp_path / "model")
    retain_model, _ = train(tmp_path / "retain", RECORDS[8:], architecture=tmp_path / "model", seed=1)
    assert retain_model.config.to_diff_dict() == model.config.to_diff_dict()
    tokenizers = [AutoTokenizer.from_pretrained(tmp_path / name) for name in ("model", "retain")]
    assert tokenizers[0].get_vocab() == tokenizers[1].get_vocab()
    parameters = zip(model.parameters(), retain_model.parameters(), strict=True)
    assert not any(torch.equal(one, other) for one, other in parameters)
    assert model.config.use_cache


def test_a_long_answer_is_in_windows_and_a_long_prompt_is_named(tmp_path):
    long = CorpusRecord(record_id="long", prompt="Who?", response="very far " * 40)
    _, history = train(tmp_path / "long", [long, *RECORDS[:3]], max_length=32)
    assert history[-1]["step"] > 2  # four records would be one step an epoch
    endless = CorpusRecord(record_id="endless", prompt="Who? " * 40, response="He.")
    with pytest.raises(InputError, match="endless"):
        train(tmp_path / "none", [endless], max_length=32)
    assert not (tmp_path / "none").exists()
