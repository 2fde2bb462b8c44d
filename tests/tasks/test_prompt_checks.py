"""Prompts that a model cannot be asked are named before anything is trained."""

import json

import pandas as pd
import pytest

from tasks.params import load_params
from tasks.prompt_checks import refused_prompts
from tests.tiny import save_model
from unilogit.data.records import CorpusRecord
from unilogit.data.tokenisation import LEAST_ROOM, encode_prompt

NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A chat model whose template knows no system's turn, with a context of 96 tokens."""
    folder = tmp_path_factory.mktemp("base")
    save_model(folder, seed=0, max_position_embeddings=96)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "chat_template": NO_SYSTEM}))
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    return folder


def refused(base, *records, max_length=512, **more):
    overrides = [f"model.{name}={value}" for name, value in {"base": base, "max_length": max_length, **more}.items()]
    rows = [CorpusRecord(**{"record_id": "r", "prompt": "Who?", "response": "Ann.", **row}) for row in records]
    frame = pd.DataFrame([row.model_dump() for row in rows])
    return refused_prompts(
        frame, [f"c:{number}" for number in range(len(rows))], load_params("params.yaml", overrides).model
    )


def test_turns_before_a_prompt_count(base):
    from transformers import AutoTokenizer

    history = ["x" * 5, "y" * 5]
    told = refused(base, {}, {"history": history}, {"prompt": "x" * 75})
    assert set(told) == {"c:2"}
    record = CorpusRecord(record_id="r", prompt="z" * 60, response="Ann.", history=history)
    tokens = len(encode_prompt(AutoTokenizer.from_pretrained(base), record.context))
    assert tokens > 96 - LEAST_ROOM
    assert refused(base, {"history": history, "prompt": "z" * 60}) == {
        "c:0": [f"the prompt has {tokens} tokens, of which the model's context of 96 leaves it 80; shorten it"]
    }
    [sentence] = refused(base, {"prompt": "z" * 60}, max_length=64)["c:0"]
    assert sentence.endswith("of which model.max_length = 64 leaves it 48; shorten it, or raise model.max_length")


def test_turns_that_the_template_refuses_are_named(base):
    told = refused(base, {}, {"system": "Be kind."}, {"system": "Be brief."}, {"history": ["a", "b"]})
    assert set(told) == {"c:1", "c:2"}
    assert "its chat template refuses the turns system, user (no system)" in told["c:1"][0]


def test_without_a_tokenizer_nothing_is_told(tmp_path):
    assert refused(tmp_path, {"prompt": "x" * 9999}, {"system": "Be kind."}) == {}
