"""Batched, left-padded, cached generation against a plain loop (one prompt, one token, no cache) and known chances."""

import pytest
import torch
from scipy.stats import chisquare
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from unilogit.data.tokenisation import encode_prompt
from unilogit.errors import InputError
from unilogit.evaluation.generation import generate_greedily, generate_samples, reachable_answers
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


def plain_answer(model, prompt, limit, ends, start=()):
    ids = [*encode_prompt(TOKENIZER, prompt), *start]
    answer: list[int] = []
    with torch.no_grad():
        while len(answer) < limit:
            token = int(model(torch.tensor([ids + answer]), use_cache=False).logits[0, -1].argmax())
            if token in ends:
                break
            answer.append(token)
    return TOKENIZER.decode(answer, skip_special_tokens=True), len(answer)


@pytest.mark.parametrize("batch_tokens", [1, 80, 320])
@pytest.mark.parametrize("end_bias", [0.0, 40.0])
def test_batches_say_what_each_prompt_says_alone(batch_tokens, end_bias):
    model = build(end_bias=end_bias)
    expected = [plain_answer(model, prompt, 12, {TOKENIZER.eos_token_id}) for prompt in PROMPTS]
    texts = generate_greedily(model, TOKENIZER, PROMPTS, batch_tokens=batch_tokens, max_new_tokens=12)
    assert texts == [text for text, _ in expected]
    lengths = {length for _, length in expected}
    if end_bias:
        assert len(lengths) > 1  # answers of one batch end at different places


def test_a_model_that_ends_at_once_says_nothing():
    assert generate_greedily(build(end_bias=1e6), TOKENIZER, PROMPTS, batch_tokens=120, max_new_tokens=5) == [""] * len(
        PROMPTS
    )


def test_no_prompts():
    assert generate_greedily(build(), TOKENIZER, [], batch_tokens=120, max_new_tokens=5) == []


def test_the_models_own_settings_are_set_aside_and_come_back_but_its_ends_are_kept():
    model = build()
    plain = [plain_answer(model, prompt, 12, {TOKENIZER.eos_token_id})[0] for prompt in PROMPTS]
    model.generation_config.update(do_sample=True, temperature=9.0, repetition_penalty=9.0, max_length=3)
    own = model.generation_config
    assert generate_greedily(model, TOKENIZER, PROMPTS, batch_tokens=120, max_new_tokens=12) == plain
    assert model.generation_config is own

    first = int(model(torch.tensor([encode_prompt(TOKENIZER, "Who?")])).logits[0, -1].argmax())
    model.generation_config.eos_token_id = [TOKENIZER.eos_token_id, first]
    assert generate_greedily(model, TOKENIZER, ["Who?"], batch_tokens=120, max_new_tokens=12) == [""]


@pytest.mark.parametrize("batch_tokens", [1, 120, 320])
def test_answers_go_on_from_a_given_start(batch_tokens):
    model = build()
    starts = [[], [40, 41, 42], [50], list(range(40, 60)), [60]]
    expected = [
        plain_answer(model, prompt, 12, {TOKENIZER.eos_token_id}, start)[0]
        for prompt, start in zip(PROMPTS, starts, strict=True)
    ]
    texts = generate_greedily(model, TOKENIZER, PROMPTS, starts=starts, batch_tokens=batch_tokens, max_new_tokens=12)
    assert texts == expected
    assert texts[0] != texts[4]  # one prompt, two starts


ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def drawing_from(chances):
    """A model that draws its next token with these chances, whatever went before."""
    model = build()
    tokens = TOKENIZER.convert_tokens_to_ids(list(chances))
    with torch.no_grad():
        model.lm_head.weight.zero_()
        model.lm_head.bias.fill_(-1e9)
        model.lm_head.bias[tokens] = torch.tensor([*chances.values()]).log()
    return model


def test_samples_follow_the_models_own_distribution():
    chances = {letter: 1.0 + place for place, letter in enumerate(ALPHABET)}  # more tokens than the usual top k
    total = sum(chances.values())
    drawn = generate_samples(drawing_from(chances), TOKENIZER, PROMPTS[:3], samples=2000, seed=0, max_new_tokens=1)
    counts = [sum(texts.count(letter) for texts in drawn) for letter in chances]
    assert sum(counts) == 6000
    assert chisquare(counts, [6000 * chance / total for chance in chances.values()]).pvalue > 1e-3


def test_each_prompt_has_its_own_samples():
    model = build(end_bias=1.0)
    with torch.no_grad():  # so sure of itself that sampling is greedy
        model.lm_head.weight.mul_(1e4)
        model.lm_head.bias.mul_(1e4)
    greedy = generate_greedily(model, TOKENIZER, PROMPTS, batch_tokens=80, max_new_tokens=8)
    drawn = generate_samples(model, TOKENIZER, PROMPTS, samples=3, seed=0, max_new_tokens=8)
    assert drawn == [[text] * 3 for text in greedy]


def test_samples_are_the_same_however_they_are_batched():
    drawn = [
        generate_samples(build(), TOKENIZER, PROMPTS, samples=3, seed=0, batch_tokens=tokens, max_new_tokens=8)
        for tokens in (1, 90, None)
    ]
    assert drawn[0] == drawn[1] == drawn[2]
    assert len({text for texts in drawn[0] for text in texts}) > len(PROMPTS)


def test_an_answer_is_compared_as_far_as_it_can_be_said():
    model, answer = of_32_positions(), "abcdefghijklmnop"
    ids = TOKENIZER.encode(answer, add_special_tokens=False)
    for prompt, limit, room in (("Q", 5, 5), ("Q", len(ids), len(ids)), ("Q" * 26, 12, 4)):  # 28 of 32 positions
        [text] = reachable_answers(model, TOKENIZER, [prompt], [answer], limit)
        assert TOKENIZER.encode(text, add_special_tokens=False) == ids[:room]
    [rest] = reachable_answers(model, TOKENIZER, ["Q" * 24], [answer], 12, starts=[[40, 41]])
    assert rest == answer[:4]
    spaced = " as it  is written"
    assert reachable_answers(model, TOKENIZER, ["Q"], [spaced], 99) == [spaced]


def test_samples_depend_on_the_seed_alone_and_leave_the_random_state():
    model = drawing_from(dict.fromkeys(ALPHABET, 1.0))

    def draw(seed):
        return generate_samples(model, TOKENIZER, PROMPTS, samples=4, seed=seed, batch_tokens=320, max_new_tokens=5)

    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first, second = draw(1), draw(2)
    assert torch.rand(1) == expected
    assert draw(1) == first != second


def test_a_broken_model_samples_nonsense_instead_of_raising():
    model = build()
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    drawn = generate_samples(model, TOKENIZER, PROMPTS, samples=2, seed=0, batch_tokens=320, max_new_tokens=3)
    assert [len(texts) for texts in drawn] == [2] * len(PROMPTS)


def of_32_positions():
    torch.manual_seed(1)
    size = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(TOKENIZER), bos_token_id=1, eos_token_id=2, **size)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6)
    return model


LENGTHS = (3, 31, 30, 20, 26, 3)  # tokens of a prompt, begin-of-sequence and newline among them


def prompts_of(lengths):
    prompts = ["Q" * (length - 2) for length in lengths]
    assert [len(encode_prompt(TOKENIZER, prompt)) for prompt in prompts] == list(lengths)
    return prompts


@pytest.mark.parametrize("batch_tokens", [1, 80, 240])
def test_no_answer_runs_past_the_models_context(batch_tokens):
    model, prompts = of_32_positions(), prompts_of(LENGTHS)
    expected = [
        plain_answer(model, prompt, min(12, 32 - length), {TOKENIZER.eos_token_id})
        for prompt, length in zip(prompts, LENGTHS, strict=True)
    ]
    assert [length for _, length in expected] == [12, 1, 2, 12, 6, 12]  # none ends by itself
    texts = generate_greedily(model, TOKENIZER, prompts, batch_tokens=batch_tokens, max_new_tokens=12)
    assert texts == [text for text, _ in expected]
    drawn = generate_samples(model, TOKENIZER, prompts, samples=2, seed=0, batch_tokens=batch_tokens, max_new_tokens=12)
    assert [len(texts) for texts in drawn] == [2] * len(prompts)


def test_a_prompt_without_room_is_refused_by_name():
    model, prompts = of_32_positions(), prompts_of((3, 32))
    limits = {"batch_tokens": 80, "max_new_tokens": 5}
    with pytest.raises(InputError, match=r"^prompt 2: its prompt has 32 tokens, .* context of 32; shorten the prompt"):
        generate_greedily(model, TOKENIZER, prompts, **limits)
    with pytest.raises(InputError, match=r"^record b: its prompt has 40 tokens"):
        generate_greedily(model, TOKENIZER, prompts, starts=[[], [40] * 8], names=["record a", "record b"], **limits)
    with pytest.raises(InputError, match=r"^record b: its prompt has 32 tokens"):
        generate_samples(model, TOKENIZER, prompts, samples=2, seed=0, names=["record a", "record b"], **limits)
