"""Models taken apart give the loss and the gradient of plain full logits, whatever their architecture."""

import copy
import logging

import pytest
import torch
import transformers
from torch.nn.functional import log_softmax

from unilogit import scorer
from unilogit.data.tokenisation import IGNORED
from unilogit.losses.registry import METHODS, RETAIN_TERMS
from unilogit.params import load_params
from unilogit.scorer import Scorer, stands_in
from unilogit.training import unlearning_loss
from unilogit.training.examples import FORGET, PREFERRED, RETAIN
from unilogit.training.unlearning_loss import Term, UnlearningLoss

KNOBS = load_params("params.yaml", ["unlearn.rmu.layer=0"]).unlearn.model_dump()
V = 61
SIZES = {"vocab_size": V, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
GROUPED = {"num_key_value_heads": 2, "max_position_embeddings": 64}
CONFIGS = {
    "Llama": GROUPED,
    "Qwen2": GROUPED | {"tie_word_embeddings": True},
    "Qwen3": GROUPED | {"head_dim": 8},
    "Gemma2": GROUPED | {"head_dim": 8, "final_logit_softcapping": 0.5},
    "Gemma3Text": GROUPED | {"head_dim": 8, "final_logit_softcapping": 0.5},
    "GPTNeoX": {"max_position_embeddings": 64},
    "Phi": {"max_position_embeddings": 64},
    "Cohere": GROUPED | {"logit_scale": 0.3},
    "Granite": GROUPED | {"logits_scaling": 8.0},
    "ModernBertDecoder": {"max_position_embeddings": 64, "cls_token_id": 1, "sep_token_id": 2},
}
NOT_FUSED = ("ModernBertDecoder",)  # it has a layer more between body and head


def tiny(family, seed=0):
    torch.manual_seed(seed)
    config = getattr(transformers, f"{family}Config")(**SIZES, **TOKENS, **CONFIGS[family])
    model = transformers.AutoModelForCausalLM.from_config(config).double()
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)  # initial weights give next to no logits
    return model


def batch():
    """Two forget examples with better answers and two retain examples, of uneven lengths."""
    generator = torch.Generator().manual_seed(7)
    roles = [FORGET, PREFERRED, RETAIN, FORGET, PREFERRED, RETAIN]
    ids = torch.randint(3, V, (len(roles), 9), generator=generator)
    mask, labels = torch.ones_like(ids), torch.full_like(ids, IGNORED)
    for row, (start, end) in enumerate([(2, 9), (1, 4), (4, 6), (3, 7), (3, 8), (1, 9)]):
        mask[row, end:] = 0
        labels[row, start:end] = ids[row, start:end]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "role": torch.tensor(roles)}


def plain(model, reference, inputs, forget, retain):
    """(forget sum, retain sum) from the logits of the whole batch, row by row."""
    out = model(inputs["input_ids"], attention_mask=inputs["attention_mask"], output_hidden_states=True)
    with torch.no_grad():
        ref = reference(inputs["input_ids"], attention_mask=inputs["attention_mask"], output_hidden_states=True)
    log_p, log_ref = log_softmax(out.logits, -1), log_softmax(ref.logits, -1)

    def answer(row, of):
        labels = inputs["labels"][row]
        places = [t for t in range(1, len(labels)) if labels[t] != IGNORED]
        return torch.stack([of[row, t - 1, labels[t]] for t in places])

    def rows(row, of):
        labels = inputs["labels"][row]
        return torch.stack([of[row, t - 1] for t in range(1, len(labels)) if labels[t] != IGNORED])

    def ratio(row):
        return (answer(row, log_p) - answer(row, log_ref)).sum()

    def undial(row):
        labels = inputs["labels"][row]
        teacher = rows(row, ref.logits).clone()
        for place, token in enumerate(labels[labels != IGNORED].tolist()):
            teacher[place, token] -= 10
        return -(teacher.softmax(1) * rows(row, log_p)).sum()

    def distance(row):
        places = inputs["labels"][row] != IGNORED
        return (out.hidden_states[1] - ref.hidden_states[1])[row, places].square().mean(1).mean()

    of_row = {
        "gradient_ascent": lambda row: answer(row, log_p).sum(),
        "ceu": lambda row: -torch.log(1 - answer(row, log_p).exp()).sum(),
        "dpo": lambda row: -20 * torch.log(torch.sigmoid(0.1 * (ratio(row + 1) - ratio(row)))),
        "undial": undial,
        "nll": lambda row: -answer(row, log_p).sum(),
        "kl": lambda row: (rows(row, log_ref).exp() * (rows(row, log_ref) - rows(row, log_p))).sum(),
        "activations": distance,
    }
    return sum(of_row[forget](row) for row in (0, 3)), sum(of_row[retain](row) for row in (2, 5))


def build(model, reference, forget, retain):
    terms = [Term(of, of.load(KNOBS, vocabulary=V, seed=0)) for of in (METHODS[forget], RETAIN_TERMS[retain])]
    scorers = Scorer(model), Scorer(reference)
    return UnlearningLoss(scorers[0], forget=terms[0], retain=terms[1], reference=scorers[1], layer=0)


@pytest.mark.parametrize(
    ("forget", "retain"),
    [("gradient_ascent", "nll"), ("undial", "kl"), ("dpo", "activations"), ("ceu", "kl"), ("undial", "nll")],
)
@pytest.mark.parametrize("family", CONFIGS)
def test_loss_and_gradient_equal_those_of_full_logits(family, forget, retain, monkeypatch):
    monkeypatch.setattr(unlearning_loss, "_ROWS_AT_ONCE", 3)
    model, reference = tiny(family), tiny(family, seed=1).eval().requires_grad_(False)
    loss, inputs = build(model, reference, forget, retain), batch()
    assert loss.scorer.fused == (family not in NOT_FUSED)
    total, sums = loss(**inputs, scale=(1, 3))
    expected_sums = plain(model, reference, inputs, forget, retain)
    results = []
    for value, terms in ((total, sums), (expected_sums[0] + 3 * expected_sums[1], expected_sums)):
        model.zero_grad()
        value.backward()
        zero = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]
        results.append([torch.stack([value, *terms]).detach(), *zero])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-7, atol=1e-9)


def test_items_are_answer_tokens_or_examples():
    model = tiny("Llama")
    inputs = batch()
    for (forget, retain), expected in {
        ("gradient_ascent", "nll"): [7 + 4, 2 + 8],
        ("npo", "nll"): [2, 10],
        ("undial", "activations"): [11, 2],
    }.items():
        assert build(model, model, forget, retain).count(inputs["labels"], inputs["role"]).tolist() == expected


def test_a_model_that_cannot_be_taken_apart_says_so_once(caplog):
    scorer._warn_once.cache_clear()
    with caplog.at_level(logging.WARNING, logger="unilogit.scorer"):
        Scorer(tiny("ModernBertDecoder"))
        Scorer(tiny("ModernBertDecoder"))
        Scorer(tiny("Llama"))
    assert caplog.messages == [
        "ModernBertDecoderForCausalLM: its logits are more than its head's output; "
        "working with full logits, which takes memory"
    ]


def test_rows_of_logits_never_exist_for_more_than_a_few_tokens(monkeypatch):
    monkeypatch.setattr(unlearning_loss, "_ROWS_AT_ONCE", 4)
    model = tiny("Llama")
    loss = build(model, copy.deepcopy(model), "undial", "kl")
    widths = []
    original = Scorer.logits
    monkeypatch.setattr(Scorer, "logits", lambda self, rows: widths.append(len(rows)) or original(self, rows))
    loss(**batch())[0].backward()
    assert max(widths) == 4


def test_what_stands_in_is_gone_afterwards():
    module = torch.nn.Linear(2, 2)
    with stands_in(module, lambda: "other"):
        assert module() == "other"
    assert module(torch.zeros(1, 2)).shape == (1, 2)
    assert "forward" not in vars(module)


@pytest.mark.parametrize("method", ["unilogit", "npo"])
def test_what_is_less_likely_than_unseen_people_is_not_pressed_on(method):
    """Its share of the sum and of the gradient is that of a batch in which only the other forget example stands."""
    model, inputs = tiny("Llama"), batch()
    term = Term(METHODS[method], METHODS[method].load(KNOBS, vocabulary=V, seed=0))
    reference = Scorer(tiny("Llama", seed=1))
    loss = UnlearningLoss(Scorer(model), forget=term, reference=reference)
    rows = (inputs["role"] == FORGET).nonzero().flatten().tolist()
    nll = {}
    for row in rows:
        logits = model(
            inputs["input_ids"][row : row + 1], attention_mask=inputs["attention_mask"][row : row + 1]
        ).logits
        labels = inputs["labels"][row, 1:]
        nll[row] = torch.nn.functional.cross_entropy(logits[0, :-1], labels, ignore_index=IGNORED).item()
    likely, forgotten = sorted(rows, key=lambda row: nll[row])
    loss.forgotten_nll = (nll[likely] + nll[forgotten]) / 2

    def sum_and_gradient(batch):
        model.zero_grad()
        total, _ = loss(**batch)
        total.backward()
        return total.item(), model.get_output_embeddings().weight.grad.clone()

    both = sum_and_gradient({name: values[[likely, forgotten]] for name, values in inputs.items()})
    alone = sum_and_gradient({name: values[[likely]] for name, values in inputs.items()})
    assert both[0] == pytest.approx(alone[0], rel=1e-10)
    torch.testing.assert_close(both[1], alone[1], rtol=1e-9, atol=1e-12)
