"""Small sets of records and small models, whose every metric can be told by a plain loop."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from unilogit.data.records import CorpusRecord
from unilogit.data.tokenisation import collate, encode_pair, encode_prompt
from unilogit.evaluation.evaluate import evaluate_model
from unilogit.training.from_scratch import train_tokenizer

UTILITY = ["retain", "world_facts"]


def record(kind, number, perturbed=2, paraphrased=True, group=""):
    return CorpusRecord(
        record_id=f"{kind}-{number}",
        prompt=f"What of {kind} {number}?",
        response=f"It is {number} times {kind}.",
        paraphrased_prompt=f"Tell me of {kind} {number}.",
        paraphrased_response=f"{kind}, {number} times." if paraphrased else None,
        perturbed_responses=[f"It is {number + k} times wrong." for k in range(1, perturbed + 1)],
        group=group,
    )


FORGET = [record("a", 1, 1), record("a", 2, 3), record("a", 3, 0), record("a", 4, 2, paraphrased=False)]
SETS = {
    "forget": FORGET,
    "forget_all": [*FORGET, record("b", 1)],
    "retain": [record("c", n) for n in range(5)],
    "world_facts": [record("d", n, 5, group="world_facts") for n in range(3)],
    "holdout": [record("e", n) for n in range(6)],
}
TOKENIZER = train_tokenizer([text for r in SETS["forget_all"] for text in (r.prompt, r.response)], 300)


def build():
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(TOKENIZER),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=256,
            eos_token_id=TOKENIZER.eos_token_id,
            pad_token_id=TOKENIZER.pad_token_id,
        )
    ).eval()


def train(model):
    """Enough steps to say some right words, so that no metric is 0."""
    pairs = [encode_pair(TOKENIZER, r.prompt, r.response) for records in SETS.values() for r in records]
    inputs = collate(pairs, TOKENIZER.pad_token_id)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(40):
        model(**inputs).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def blurred(model):
    """The same model, a little worse."""
    other = build()
    with torch.no_grad():
        for blurry, parameter in zip(other.parameters(), model.parameters(), strict=True):
            blurry.copy_(parameter + torch.randn_like(parameter) * 0.05)
    return other


def measure(model, sets=SETS, **changed):
    return evaluate_model(
        model, TOKENIZER, sets, **{"batch_tokens": 160, "max_new_tokens": 6, "utility_sets": UTILITY} | changed
    )


def likeliest(model, prompt, answer):
    """Whether each token of an answer is the one that the model would say there, without end-of-sequence."""
    before, wanted = encode_prompt(TOKENIZER, prompt), TOKENIZER.encode(answer, add_special_tokens=False)
    with torch.no_grad():
        said = model(torch.tensor([before + wanted])).logits[0].argmax(dim=-1)
    return [int(said[len(before) - 1 + place]) == token for place, token in enumerate(wanted)]


def nll(model, prompt, answer):
    before = encode_prompt(TOKENIZER, prompt)
    wanted = [*TOKENIZER.encode(answer, add_special_tokens=False), TOKENIZER.eos_token_id]
    with torch.no_grad():
        log_p = torch.log_softmax(model(torch.tensor([before + wanted])).logits[0].double(), dim=-1)
    return -sum(float(log_p[len(before) - 1 + i, token]) for i, token in enumerate(wanted)) / len(wanted)
