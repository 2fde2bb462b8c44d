"""A record that is longer than the model takes: worked on in windows, or named before anything is trained."""

import json

import pytest

from tasks.params import load_params
from tasks.steps.validate import run_validate
from tasks.workspace import Place, Workspace
from tests.tiny import save_model
from unilogit.errors import InputError

SHORT = [{"record_id": f"r-{number}", "prompt": "Who?", "response": "Ann."} for number in range(100)]
ANSWER = {
    "record_id": "note-77",
    "subject_ids": ["P-9"],
    "prompt": "What does the log say?",
    "response": "entry " * 700,
}
PROMPT = {"record_id": "note-78", "subject_ids": ["P-9"], "prompt": "entry " * 700, "response": "What the log says."}
TURNS = {"record_id": "note-79", "history": ["entry " * 700, "Well."], "prompt": "And?", "response": "No more."}


@pytest.fixture
def validate(tmp_path):
    base = save_model(tmp_path / "base", seed=0)

    def validate(*rows):
        corpus = tmp_path / "corpus.jsonl"
        corpus.write_text("".join(json.dumps(row) + "\n" for row in [*SHORT, *rows]))
        workspace = Workspace(tmp_path / "run")
        run_validate(workspace, load_params("params.yaml", [f"data.corpus={corpus}", f"model.base={base}"]))
        return workspace

    return validate


def test_a_long_answer_is_taken(validate):
    assert validate(ANSWER).has(Place.CORPUS)


def test_a_long_prompt_is_named_with_its_line(validate):
    with pytest.raises(InputError) as error:
        validate(ANSWER, PROMPT, TURNS)
    first, second, _ = error.value.problems
    assert first.startswith("corpus.jsonl:102: the prompt has ")
    assert first.endswith("of which model.max_length = 512 leaves it 496; shorten it, or raise model.max_length")
    assert second.startswith("corpus.jsonl:103: the prompt has ")
