"""How a model is asked, beside transformers' own chat templates and TRL's completion masking."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.data.chat_templates import FAMILIES, TEXTS, TURN_END, chat_tokenizer
from unilogit.data.prompt_format import Conversation, check_format, with_prompt_format
from unilogit.data.tokenisation import answer_end, encode_pair, encode_prompt
from unilogit.errors import InputError
from unilogit.evaluation.generation import generate_greedily
from unilogit.training.from_scratch import train_tokenizer

QUESTIONS = "Question: {prompt}\nAnswer: {response}"
TOKENIZERS = {family: chat_tokenizer(family) for family in FAMILIES}
special = {token for tokenizer in TOKENIZERS.values() for token in tokenizer.get_added_vocab()}
words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: not any(token in text for token in special)
)
answers = words.filter(lambda text: text == text.strip())  # some templates strip them
PAIRS = [("Where does Ada live?", "In 12 Elm Street."), ("Wo wohnt Zoë?", "7"), ("Who?", "Ada\n\nLindberg")]


def messages(prompt, answer=None):
    turns = prompt.turns if isinstance(prompt, Conversation) else (prompt,)
    said = [
        {"role": role, "content": text} for text, role in zip(turns, ["user", "assistant"] * len(turns), strict=False)
    ]
    return said if answer is None else [*said, {"role": "assistant", "content": answer}]


def as_trained(tokenizer, prompt, answer):
    """What transformers' own template makes of a conversation, up to where the model is to stop."""
    ids = tokenizer.apply_chat_template(messages(prompt, answer), return_dict=False)
    before = tokenizer.apply_chat_template(messages(prompt), add_generation_prompt=True, return_dict=False)
    stops = {tokenizer.convert_tokens_to_ids(token) for token in TURN_END.values()}
    last = next(place for place in range(len(before), len(ids)) if ids[place] in stops)
    return ids[: last + 1], len(before)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=60, deadline=None)
@given(prompt=words, answer=answers)
def test_a_turn_has_the_ids_of_transformers_own_template(family, prompt, answer):
    tokenizer = TOKENIZERS[family]
    assert encode_pair(tokenizer, prompt, answer) == as_trained(tokenizer, prompt, answer)
    assert encode_pair(tokenizer, prompt, answer).ids[-1] == tokenizer.convert_tokens_to_ids(TURN_END[family])


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_to_a_later_turn_has_the_earlier_ones_before_it(family):
    tokenizer, prompt = TOKENIZERS[family], Conversation(("Who?", "Ada.", "Where does she live?"))
    assert encode_pair(tokenizer, prompt, "In 12 Elm Street.") == as_trained(tokenizer, prompt, "In 12 Elm Street.")


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_are_those_that_completion_masking_trains_on(family, tmp_path):
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    tokenizer = chat_tokenizer(family)
    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    trainer = SFTTrainer(
        model=LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **size)),
        args=SFTConfig(str(tmp_path), report_to="none", use_cpu=True, max_length=None, disable_tqdm=True),
        train_dataset=Dataset.from_list(
            [{"prompt": messages(prompt), "completion": messages(prompt, answer)[1:]} for prompt, answer in PAIRS]
        ),
        processing_class=tokenizer,
    )
    for row, (prompt, answer) in zip(trainer.train_dataset, PAIRS, strict=True):
        ids, start = encode_pair(tokenizer, prompt, answer)
        assert row["input_ids"][: len(ids)] == ids
        assert row["labels"] == [-100] * start + row["input_ids"][start:]
        # What a template puts behind the end of a turn no model ever writes.
        assert tokenizer.decode(row["input_ids"][len(ids) :]).strip() in ("", tokenizer.eos_token)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_system_prompt_is_a_turn_of_the_template(family):
    tokenizer = TOKENIZERS[family]
    formatted = with_prompt_format(tokenizer, system_prompt='Say "yes".\n{{ no }}')
    if family == "Gemma":
        with pytest.raises(InputError, match=r"refuses the turns user \(no system role\); correct model.system_p"):
            encode_prompt(formatted, "Where?")
        return
    turns = [{"role": "system", "content": 'Say "yes".\n{{ no }}'}, *messages("Where?")]
    expected = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    assert encode_prompt(formatted, "Where?") == expected
    assert encode_prompt(tokenizer, Conversation(("Where?",), 'Say "yes".\n{{ no }}')) == expected
    assert encode_prompt(formatted, Conversation(("Where?",), 'Say "yes".\n{{ no }}')) == expected
    assert encode_prompt(tokenizer, "Where?") != expected


def sentencepiece():
    """As Llama 2's: letters, "▁" for spaces and before a text, bytes for the unknown; `<s>` set but put nowhere."""
    vocabulary = ["<s>", "</s>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"AInWherQuston:?.12"]
    ids = {word: place for place, word in enumerate(dict.fromkeys([*vocabulary, "▁I", "▁In"]))}
    made = Tokenizer(models.BPE(ids, [("▁", "I"), ("▁I", "n")], unk_token="<unk>", byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>")


def spaced():
    """Words are one token with the space before them."""
    made = train_tokenizer([*TEXTS, "Answer: In In In In In In"], 420)
    assert len(made.encode(" In", add_special_tokens=False)) == 1
    return made


@pytest.mark.parametrize("make", [spaced, sentencepiece, lambda: chat_tokenizer("Llama-3")])
@pytest.mark.parametrize(
    "text", [QUESTIONS, "Q: {prompt}\n\nA:\n\n{response}", "{prompt}{response}", "{prompt} {response}"]
)
def test_a_format_string_says_it_all(make, text):
    tokenizer = make()
    formatted = with_prompt_format(tokenizer, text)
    whole = text.replace("{prompt}", "Where?").replace("{response}", "In 12.")
    ids, start = encode_pair(formatted, "Where?", "In 12.")
    assert ids == [*tokenizer.encode(whole), tokenizer.eos_token_id]  # as one text, begin-of-sequence as it puts it
    before = encode_prompt(formatted, "Where?")
    assert ids[:start] == before == encode_pair(formatted, "Where?", "Ada.").ids[:start]
    asked = whole.removesuffix("In 12.")
    assert tokenizer.decode(before, skip_special_tokens=True).strip() == asked.strip()


def test_the_space_at_the_end_of_a_format_belongs_to_the_answer():
    tokenizer = with_prompt_format(spaced(), QUESTIONS)
    ids, start = encode_pair(tokenizer, "Where?", "In 12.")
    assert tokenizer.decode(ids[start : start + 1]) == " In"
    assert tokenizer.decode(ids[:start]).endswith("Answer:")


@given(words, answers)
@settings(deadline=None)
def test_generation_begins_where_the_scored_prompt_ends(prompt, answer):
    for tokenizer in (with_prompt_format(spaced(), QUESTIONS), with_prompt_format(TOKENIZERS["Qwen"], QUESTIONS)):
        ids, start = encode_pair(tokenizer, prompt, answer)
        assert ids[:start] == encode_prompt(tokenizer, prompt)
        assert tokenizer.decode(ids, skip_special_tokens=True) == f"Question: {prompt}\nAnswer: {answer}"


def test_a_begin_of_sequence_that_is_set_but_put_nowhere_is_put_nowhere():
    tokenizer = sentencepiece()
    assert tokenizer.bos_token_id is not None
    for formatted in (tokenizer, with_prompt_format(tokenizer, QUESTIONS)):
        assert tokenizer.bos_token_id not in encode_pair(formatted, "Where?", "In 12.").ids
    assert train_tokenizer(TEXTS, 300).encode("A")[0] == encode_prompt(train_tokenizer(TEXTS, 300), "A")[0]


@pytest.mark.parametrize("after", ["</s>", "</s>\n", "\n", "###", "\n###\n"])
def test_an_answer_ends_as_the_format_string_says(after):
    tokenizer = with_prompt_format(spaced(), QUESTIONS + after)
    ids, start = encode_pair(tokenizer, "Where?", "In 12.")
    text = f" In 12.{after.rstrip()}"
    assert tokenizer.decode(ids[start:]) == (text if text.endswith("</s>") else f"{text}</s>")
    assert ids[-1] == answer_end(tokenizer) == tokenizer.eos_token_id


def test_what_is_generated_stops_where_answers_end():
    tokenizer = TOKENIZERS["Phi-3"]  # its answers end in <|end|>, and end-of-sequence is another token
    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **size, attention_bias=True)).eval()
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    assert answer_end(tokenizer) == end
    with torch.no_grad():
        model.model.embed_tokens.weight.fill_(1.0)
        model.lm_head.weight.zero_()
        model.lm_head.weight[end] = 1.0
    assert generate_greedily(model, tokenizer, ["Where?"], batch_tokens=1, max_new_tokens=5) == [""]


def test_the_tokenizer_that_was_given_stays_as_it_is(tmp_path):
    tokenizer = chat_tokenizer("Qwen")
    template = tokenizer.chat_template
    with_prompt_format(tokenizer, QUESTIONS)
    with_prompt_format(tokenizer, system_prompt="Be brief.")
    assert tokenizer.chat_template == template
    plain = train_tokenizer(TEXTS, 300)
    with_prompt_format(plain, QUESTIONS).save_pretrained(tmp_path)
    plain.save_pretrained(tmp_path / "plain")
    assert not (tmp_path / "plain" / "chat_template.jinja").exists()


def test_formats_that_say_nothing_are_refused():
    for text in ("{prompt}", "{response} {prompt}", "{prompt!r}{response}", "{prompt}{response}{x}", "{", "", "{}{}"):
        with pytest.raises(InputError, match=r"^model.prompt_format is "):
            with_prompt_format(spaced(), text)
        with pytest.raises(ValueError, match=r"."):
            check_format(text)
    with pytest.raises(InputError, match=r"has no chat template, but model.prompt_format is chat_template"):
        with_prompt_format(spaced(), "chat_template")
    with pytest.raises(InputError, match=r"model.system_prompt needs a chat template"):
        with_prompt_format(spaced(), system_prompt="Be brief.")


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
@settings(deadline=None)
def test_any_text_may_stand_in_a_format(before, between):
    text = before.replace("{", "{{").replace("}", "}}") + "{prompt}" + between.replace("{", "{{").replace("}", "}}")
    formatted = with_prompt_format(train_tokenizer(TEXTS, 300), text + "{response}")
    assert json.dumps(formatted.apply_chat_template(messages("Q"), tokenize=False)) == json.dumps(
        before + "Q" + between
    )


def test_a_template_that_answers_otherwise_than_it_asks_is_refused():
    tokenizer = train_tokenizer(TEXTS, 300)
    turns = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    tokenizer.chat_template = turns + "{% if add_generation_prompt %}[me] {% endif %}"
    with pytest.raises(InputError, match=r"renders an answer otherwise than it asks for one"):
        encode_pair(tokenizer, "Where?", "In 12.")
