"""Batched, left-padded, cached generation against a plain loop: one prompt, one token, no cache."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from unilogit.data.tokenisation import encode_prompt
from unilogit.evaluation.generation import generate_greedily
from unilogit.training.from_scratch import train_tokenizer

PROMPTS = ["Who?", "A much longer question than all the others here, is it not?", "", "Where was it?", "Who?"]
TOKENIZER = train_tokenizer(PROMPTS, 300)


def build(seed=0, end_bias=0.0):
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(TOKENIZER),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=256,
            tie_word_embeddings=False,
            bos_token_id=TOKENIZER.bos_token_id,
            eos_token_id=TOKENIZER.eos_token_id,
            pad_token_id=TOKENIZER.pad_token_id,
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6)
        model.lm_head = torch.nn.Linear(16, len(TOKENIZER), bias=True)
        model.lm_head.weight.normal_()
        model.lm_head.bias.zero_()
        model.lm_head.bias[TOKENIZER.eos_token_id] = end_bias
    return model.eval()


def plain_answer(model, prompt, limit, ends):
    ids = encode_prompt(TOKENIZER, prompt)
    answer: list[int] = []
    with torch.no_grad():
        while len(answer) < limit:
            token = int(model(torch.tensor([ids + answer]), use_cache=False).logits[0, -1].argmax())
            if token in ends:
                break
            answer.append(token)
    return TOKENIZER.decode(answer, skip_special_tokens=True), len(answer)


@pytest.mark.parametrize("batch_size", [1, 2, 8])
@pytest.mark.parametrize("end_bias", [0.0, 40.0])
def test_batches_say_what_each_prompt_says_alone(batch_size, end_bias):
    model = build(end_bias=end_bias)
    expected = [plain_answer(model, prompt, 12, {TOKENIZER.eos_token_id}) for prompt in PROMPTS]
    texts = generate_greedily(model, TOKENIZER, PROMPTS, batch_size=batch_size, max_new_tokens=12)
    assert texts == [text for text, _ in expected]
    lengths = {length for _, length in expected}
    if end_bias:
        assert len(lengths) > 1  # answers of one batch end at different places


def test_a_model_that_ends_at_once_says_nothing():
    assert generate_greedily(build(end_bias=1e6), TOKENIZER, PROMPTS, batch_size=3, max_new_tokens=5) == [""] * len(
        PROMPTS
    )


def test_no_prompts():
    assert generate_greedily(build(), TOKENIZER, [], batch_size=3, max_new_tokens=5) == []


def test_the_models_own_settings_are_set_aside_and_come_back_but_its_ends_are_kept():
    model = build()
    plain = [plain_answer(model, prompt, 12, {TOKENIZER.eos_token_id})[0] for prompt in PROMPTS]
    model.generation_config.update(do_sample=True, temperature=9.0, repetition_penalty=9.0, max_length=3)
    own = model.generation_config
    assert generate_greedily(model, TOKENIZER, PROMPTS, batch_size=3, max_new_tokens=12) == plain
    assert model.generation_config is own

    first = int(model(torch.tensor([encode_prompt(TOKENIZER, "Who?")])).logits[0, -1].argmax())
    model.generation_config.eos_token_id = [TOKENIZER.eos_token_id, first]
    assert generate_greedily(model, TOKENIZER, ["Who?"], batch_size=3, max_new_tokens=12) == [""]
