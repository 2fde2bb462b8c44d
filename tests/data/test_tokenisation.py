"""Prompts and answers as tokens, with a real tokenizer: what goes in comes out, and no label is lost."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unilogit.data.tokenisation import IGNORED, TEMPLATE_DATE, collate, encode_pair, encode_prompt, encode_text
from unilogit.errors import InputError
from unilogit.training.from_scratch import END, START, train_tokenizer

TEXTS = ["Where does Ada Lindberg live?", "12 Elm Street, Harwick", "Wo wohnt Zoë?", "Elm Street 12"]
CHAT = (
    "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}[me] {% endif %}"
)


@pytest.fixture
def tokenizer():
    return train_tokenizer(TEXTS, 300)


shared = train_tokenizer(TEXTS, 300)
words = st.text().filter(lambda text: not any(token in text for token in shared.all_special_tokens))


@settings(max_examples=150, deadline=None)
@given(words, words)
def test_prompt_and_answer_decode_to_what_they_were(prompt, answer):
    input_ids, start = encode_pair(shared, prompt, answer)
    assert input_ids[:start] == encode_prompt(shared, prompt)
    assert shared.decode(input_ids[:start]) == (f"{START}{prompt}\n" if prompt else START)
    assert shared.decode(input_ids[start:]) == answer + END
    assert input_ids[-1] == shared.eos_token_id
    assert all(0 <= token < len(shared) for token in input_ids)


@settings(deadline=None)
@given(words)
def test_a_text_to_go_on_from_stands_as_it_is(text):
    assert shared.decode(encode_text(shared, text)) == START + text


@given(words, words, words)
@settings(deadline=None)
def test_the_first_answer_token_does_not_depend_on_the_prompt(prompt, other, answer):
    (ids, start), (other_ids, other_start) = (encode_pair(shared, question, answer) for question in (prompt, other))
    assert ids[start:] == other_ids[other_start:]


pairs = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=5).flatmap(
    lambda sizes: st.tuples(
        *[
            st.tuples(st.lists(st.integers(0, 299), min_size=start + rest, max_size=start + rest), st.just(start))
            for start, rest in sizes
        ]
    )
)


@settings(deadline=None)
@given(pairs, st.none() | st.integers(0, 299))
def test_a_batch_holds_every_pair_and_labels_its_answer_alone(batch, pad_token_id):
    tensors = collate(batch, pad_token_id)
    longest = max(len(ids) for ids, _ in batch)
    assert {name: (tuple(t.shape), t.dtype) for name, t in tensors.items()} == {
        name: ((len(batch), longest), torch.int64) for name in ("input_ids", "attention_mask", "labels")
    }
    for (ids, start), row, mask, labels in zip(
        batch, *(tensors[name].tolist() for name in ("input_ids", "attention_mask", "labels")), strict=True
    ):
        padding = longest - len(ids)
        assert row == ids + [pad_token_id or 0] * padding
        assert mask == [1] * len(ids) + [0] * padding
        assert labels == [IGNORED] * start + ids[start:] + [IGNORED] * padding


def test_a_pair_may_be_as_long_as_max_length_and_no_longer(tokenizer):
    ids, _ = encode_pair(tokenizer, "Where?", "Harwick")
    assert encode_pair(tokenizer, "Where?", "Harwick", max_length=len(ids))[0] == ids
    with pytest.raises(InputError) as error:
        encode_pair(tokenizer, "Where?", "Harwick", max_length=len(ids) - 1, name="record r1")
    assert str(error.value) == (
        f"record r1 has {len(ids)} tokens, but model.max_length is {len(ids) - 1}; "
        "shorten its prompt or response, or raise model.max_length"
    )


@pytest.mark.parametrize("template", [None, CHAT])
def test_plain_text_starts_with_the_first_token_there_is(tokenizer, template):
    tokenizer.chat_template = template
    assert encode_prompt(tokenizer, "") == [tokenizer.bos_token_id]
    tokenizer.bos_token = None
    assert encode_prompt(tokenizer, "") == [tokenizer.eos_token_id]


def test_a_tokenizer_without_an_end_is_refused_by_name(tokenizer):
    tokenizer.eos_token = None
    with pytest.raises(InputError, match=r"^the tokenizer: has no end-of-sequence token; set `eos_token`"):
        encode_pair(tokenizer, "Where?", "Harwick")
    tokenizer.name_or_path = "models/mine"
    with pytest.raises(InputError, match=r"^models/mine: has no end-of-sequence token"):
        encode_pair(tokenizer, "Where?", "Harwick")


def test_a_chat_template_makes_the_prompt_a_turn_of_the_user(tokenizer):
    tokenizer.chat_template = CHAT
    ids, start = encode_pair(tokenizer, "Where?", "Harwick")
    assert tokenizer.decode(ids[:start]) == "[user] Where?\n[me] "
    assert tokenizer.decode(ids[start:]) == f"Harwick{END}"


@pytest.mark.parametrize(
    "template",
    [
        "{{ date_string }}",
        "{% if date_string is not defined %}{% set date_string = strftime_now('%Y') %}{% endif %}{{ date_string }}",
        "{{ strftime_now('%d %b %Y') }}",
        "{% macro today() %}{{ strftime_now('%Y-%m-%d') }}{% endmacro %}{% if true %}{{ today() }}{% endif %}",
    ],
)
def test_no_chat_template_learns_todays_date(tokenizer, template):
    tokenizer.chat_template = template
    assert tokenizer.decode(encode_prompt(tokenizer, "Where?")) == TEMPLATE_DATE


@pytest.mark.parametrize("start", ["", "\n", "  \n ", "{# why #}\n", "{%- set x = 1 %}\n"])
def test_pinning_the_date_leaves_the_rest_of_a_template_alone(tokenizer, start):
    tokenizer.chat_template = start + CHAT
    turn = [{"role": "user", "content": "Where?"}]
    plain = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
    assert tokenizer.decode(encode_prompt(tokenizer, "Where?")) == plain
