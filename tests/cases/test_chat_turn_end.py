"""A chat model whose turns end in a token that is not its tokenizer's end-of-sequence: it must go on to stop there."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.cases.test_prompt_format import KNOWN, UNSEEN
from tests.data.chat_templates import TURN_END, chat_tokenizer
from unilogit.data.tokenisation import collate, encode_pair
from unilogit.evaluation.generation import generate_greedily
from unilogit.evaluation.probability import score_answers
from unilogit.model import load_model, save_model
from unilogit.training.config import TrainConfig, UnlearnConfig
from unilogit.training.from_scratch import train_from_scratch
from unilogit.training.stopping import Monitor
from unilogit.training.trainer import UnlearningTrainer

FAMILY = "Gemma"


def pairs(records):
    return [(record.prompt, record.response) for record in records]


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat")
    tokenizer = chat_tokenizer(FAMILY)
    size = {"hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4}
    save_model(LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **size)), tokenizer, folder / "untrained")
    config = TrainConfig(epochs=60, batch_size=8)
    output = folder / "model"
    train_from_scratch(KNOWN, output, config, seed=0, max_length=128, architecture=folder / "untrained")
    return str(output)


def end_probabilities(model, tokenizer, records):
    """Of each answer, how likely the model stops after its last word: at the turn's end, and at end-of-sequence."""
    inputs = collate([encode_pair(tokenizer, *pair) for pair in pairs(records)], tokenizer.pad_token_id)
    with torch.no_grad():
        logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    last = inputs["attention_mask"].sum(dim=1) - 2
    probabilities = logits[torch.arange(len(last)), last].softmax(dim=-1)
    turn_end = tokenizer.convert_tokens_to_ids(TURN_END[FAMILY])
    assert turn_end != tokenizer.eos_token_id
    return probabilities[:, turn_end].mean().item(), probabilities[:, tokenizer.eos_token_id].mean().item()


def test_a_chat_model_that_forgot_still_ends_its_turns(chat_model):
    model, tokenizer = load_model(chat_model)
    forget, retain = KNOWN[:2], KNOWN[2:]
    assert score_answers(model, tokenizer, *zip(*pairs(retain), strict=True))["probability"].mean() > 0.6
    at_turn_end, at_end = end_probabilities(model, tokenizer, retain)
    assert (at_turn_end > 0.95, at_end < 0.01) == (True, True)
    trainer = UnlearningTrainer(
        model=model,
        tokenizer=tokenizer,
        forget=pairs(forget),
        retain=pairs(retain),
        config=UnlearnConfig(),
        monitor=Monitor(pairs(forget), pairs(retain), pairs(UNSEEN)),
        max_length=128,
    )
    trainer.run()
    forgotten, strange = (
        score_answers(model, tokenizer, *zip(*pairs(records), strict=True))["nll"].mean()
        for records in (forget, UNSEEN)
    )
    assert forgotten >= strange > 1
    at_turn_end, at_end = end_probabilities(model, tokenizer, retain)
    assert (at_turn_end > 0.95, at_end < 0.01) == (True, True)
    answers = generate_greedily(
        model, tokenizer, [record.prompt for record in retain], batch_tokens=320, max_new_tokens=48
    )
    longest = max(len(record.response) for record in KNOWN)
    assert all(0 < len(answer) <= 1.5 * longest for answer in answers)
