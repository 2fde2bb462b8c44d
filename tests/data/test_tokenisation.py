"""Prompts and answers as tokens, with a real tokenizer: what goes in comes out, and no label is lost."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import (
    SentencePieceUnigramTokenizer,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from transformers import PreTrainedTokenizerFast

from unilogit.data import tokenisation
from unilogit.data.prompt_format import TEMPLATE_DATE
from unilogit.data.tokenisation import (
    IGNORED,
    LEAST_ROOM,
    LongPrompt,
    collate,
    encode_all,
    encode_pair,
    encode_prompt,
    encode_text,
    encode_windows,
    long_prompts,
)
from unilogit.errors import InputError
from unilogit.training.from_scratch import END, START, train_tokenizer

TEXTS = ["Where does Ada Lindberg live?", "12 Elm Street, Harwick", "Wo wohnt Zoë?", "Elm Street 12"]
CHAT = (
    "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant] ' }}{% endif %}"
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
def test_the_first_answer_token_does_not_depend_on_the_prompt(prompt, another_prompt, answer):
    (ids, start), (second_ids, second_start) = (
        encode_pair(shared, question, answer) for question in (prompt, another_prompt)
    )
    assert ids[start:] == second_ids[second_start:]


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
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B")
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
    assert tokenizer.decode(ids[:start]) == "[user] Where?\n[assistant]"
    assert tokenizer.decode(ids[start:]) == f" Harwick{END}"


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
    assert tokenizer.decode(encode_prompt(tokenizer, "Where?")) == plain.rstrip(" ")


def check_windows(prompt, answer, max_length):
    whole, start = encode_pair(shared, prompt, answer)
    before, wanted = whole[:start], whole[start:]
    room = max_length - start
    assume(room >= LEAST_ROOM)
    windows = encode_windows(shared, prompt, answer, max_length)
    assert (len(windows) == 1) == (len(whole) <= max_length)
    done = 0
    for place, (ids, counted_from) in enumerate(windows):
        assert len(ids) <= max_length
        assert ids[:start] == before
        context = counted_from - start
        assert context == (room // 4 if place else 0)
        assert ids[start:] == wanted[done - context : done - context + room]  # the true predecessors, and what follows
        assert ids[counted_from:]
        done += len(ids) - counted_from
    assert [token for ids, counted_from in windows for token in ids[counted_from:]] == wanted


@settings(max_examples=200, deadline=None)
@given(prompt=st.text(max_size=12), answer=st.text(max_size=150), max_length=st.integers(LEAST_ROOM, 90))
def test_every_answer_token_counts_in_one_window_after_those_before_it(prompt, answer, max_length):
    check_windows(prompt, answer, max_length)


@pytest.mark.parametrize("max_length", [17, 22, 31])
def test_no_token_is_lost_wherever_the_last_window_begins(max_length):
    for length in range(4 * max_length):
        check_windows("", "q" * length, max_length)


@settings(deadline=None)
@given(words, words, st.integers(0, 3) | st.none())
def test_what_fits_is_encoded_as_ever(prompt, answer, spare):
    pair = encode_pair(shared, prompt, answer)
    assert encode_windows(shared, prompt, answer, None if spare is None else len(pair.ids) + spare) == [pair]


def test_a_prompt_without_room_is_refused_with_name_length_and_remedy(tokenizer):
    prompt, answer = "Where? " * 20, "Harwick " * 20
    tokens = len(encode_prompt(tokenizer, prompt))
    assert len(encode_windows(tokenizer, prompt, answer, tokens + LEAST_ROOM)) > 1
    for room in (LEAST_ROOM - 1, 0, -5):
        with pytest.raises(InputError) as error:
            encode_windows(tokenizer, prompt, answer, tokens + room, name="record r1")
        assert str(error.value) == (
            f"record r1: its prompt has {tokens} tokens, but prompt and answer may have {tokens + room} together "
            f"(model.max_length, or the model's context if that is less) and an answer needs {LEAST_ROOM} of them; "
            "shorten the prompt, or raise model.max_length"
        )
    with pytest.raises(InputError, match=r"^pair 2: its prompt has"):
        encode_all(tokenizer, ["Where?", prompt], [answer, answer], tokens)
    with pytest.raises(InputError, match=r"^record b: its prompt has"):
        encode_all(tokenizer, ["Where?", prompt], [answer, answer], tokens, ["record a", "record b"])


def byte_level(normalizer=None, prefix=False, template=None):
    made = train_tokenizer(TEXTS, 300)
    made.backend_tokenizer.normalizer = normalizer
    made.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    made.chat_template = template
    return made


def unigram():
    """As SentencePiece trains it: NFKC, and a "▁" before a text."""
    made = SentencePieceUnigramTokenizer()
    special = ["<s>", "</s>", "<unk>"]
    made.train_from_iterator(TEXTS, vocab_size=60, special_tokens=special, unk_token="<unk>", show_progress=False)
    return PreTrainedTokenizerFast(tokenizer_object=made._tokenizer, bos_token="<s>", eos_token="</s>")


def byte_fallback():
    """As Llama 2's: letters of its own, and bytes for all others."""
    words = ["<s>", "</s>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"Wher dos"]
    ids = {word: place for place, word in enumerate(dict.fromkeys(words))}
    made = Tokenizer(models.BPE(ids, [], unk_token="<unk>", byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.ByteFallback()
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>")


TOKENIZERS = {
    "byte-level": byte_level(),
    "byte-level, chat": byte_level(template=CHAT),
    "byte-level, content twice": byte_level(template="{{ messages[0].content }}{{ messages[0].content }}"),
    "byte-level, NFC, prefix": byte_level(normalizers.NFC(), prefix=True),
    "unigram": unigram(),
    "bytes for the unknown": byte_fallback(),
}
# What normalisation makes longer, and what takes several bytes.
hard = st.text(st.sampled_from("\u0958\ufdfaéñ か한👩\u0301\n▁ab"), max_size=40)


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(max_examples=100, deadline=None)
@given(prompts=st.lists(words | hard, max_size=4), max_length=st.integers(LEAST_ROOM, 120))
def test_long_prompts_are_those_whose_tokens_leave_no_room(kind, prompts, max_length):
    tokenizer = TOKENIZERS[kind]
    expected = [
        LongPrompt(f"r{number}", tokens, max_length - LEAST_ROOM)
        for number, tokens in enumerate(len(encode_prompt(tokenizer, prompt)) for prompt in prompts)
        if tokens > max_length - LEAST_ROOM
    ]
    assert long_prompts(tokenizer, [(f"r{n}", prompt) for n, prompt in enumerate(prompts)], max_length) == expected


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_text_of_few_bytes_may_have_many_tokens_and_is_found_all_the_same(kind):
    tokenizer = TOKENIZERS[kind]
    prompt = "\u0958" * 30 + "\ufdfa" * 10
    tokens = len(encode_prompt(tokenizer, prompt))
    assert [tokens] == [long.tokens for long in long_prompts(tokenizer, [("r", prompt)], tokens + LEAST_ROOM - 1)]
    assert long_prompts(tokenizer, [("r", prompt)], tokens + LEAST_ROOM) == []


def test_short_prompts_are_not_tokenized(tokenizer, monkeypatch):
    monkeypatch.setattr(tokenisation, "encode_prompt", None)
    assert long_prompts(tokenizer, [("r1", "Where does Ada live?")], 64) == []
