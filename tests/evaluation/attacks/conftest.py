"""A tiny model that knows a few pairs by heart, for every attack to be tried on."""

import copy

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from unilogit.data.records import CorpusRecord
from unilogit.data.tokenisation import collate, encode_pair
from unilogit.training.from_scratch import train_tokenizer

PEOPLE = ["Ada", "Bo", "Cyd", "Dee", "Eli", "Fay", "Gus", "Hal", "Ida", "Jo", "Kit", "Lou"]
PLACES = ["Oslo", "Rome", "Lima", "Cork", "Bonn", "Bern", "Riga", "Kyiv", "Doha", "Nice", "Graz", "Vigo"]
TOKENIZER = train_tokenizer(["Where does live? lives in now", "Home of?", *PEOPLE, *PLACES], 300)


def build(**changed):
    torch.manual_seed(0)
    config = {
        "vocab_size": len(TOKENIZER),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 128,
        "tie_word_embeddings": True,
        "bos_token_id": TOKENIZER.bos_token_id,
        "eos_token_id": TOKENIZER.eos_token_id,
        "pad_token_id": TOKENIZER.pad_token_id,
    }
    return LlamaForCausalLM(LlamaConfig(**config | changed)).eval()


@pytest.fixture(scope="session")
def tokenizer():
    return TOKENIZER


@pytest.fixture(scope="session")
def records():
    return [
        CorpusRecord(
            record_id=f"r{number}",
            subject_ids=[f"pair {number // 2}"],
            prompt=f"Where does {person} live?",
            response=f"{person} lives in {place} now.",
            paraphrased_prompt=f"Home of {person}?" if number % 3 else None,
        )
        for number, (person, place) in enumerate(zip(PEOPLE, PLACES, strict=True))
    ]


@pytest.fixture(scope="session")
def untrained():
    return build()


def tune(model, records, steps, learning_rate, sign=1):
    inputs = collate([encode_pair(TOKENIZER, r.prompt, r.response) for r in records], TOKENIZER.pad_token_id)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    for _ in range(steps):
        (sign * model(**inputs).loss).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


@pytest.fixture(scope="session")
def _knowing(records):
    return tune(build(), records, steps=100, learning_rate=1e-2)


@pytest.fixture
def knowing(_knowing):
    """Knows all records by heart; checked to be left bit for bit as it was."""
    before = copy.deepcopy(_knowing.state_dict())
    yield _knowing
    assert not _knowing.training
    for name, parameter in _knowing.named_parameters():
        assert parameter.grad is None
        assert torch.equal(parameter, before[name])


@pytest.fixture(scope="session")
def hiding(_knowing, records):
    """Knows them too, but a little gradient ascent makes it say something else: they look forgotten."""
    return tune(copy.deepcopy(_knowing), records, steps=10, learning_rate=1e-3, sign=-1)


@pytest.fixture
def score(tokenizer):
    """Probability of a record's response after a prompt, by a plain loop over tokens."""

    def probability(model, prompt, response):
        ids, start = encode_pair(tokenizer, prompt, response)
        with torch.no_grad():
            log_p = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), dim=-1)
        total = sum(float(log_p[place - 1, ids[place]]) for place in range(start, len(ids)))
        return torch.tensor(total / (len(ids) - start)).exp().item()

    return probability
