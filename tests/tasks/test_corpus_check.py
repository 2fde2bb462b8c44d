"""A whole corpus in one page: what a run would take and refuse, without a word of its texts."""

import json

import pytest
from typer.testing import CliRunner

from flows.cli import app
from tasks import corpus_check
from tasks.corpus_check import check_corpus
from tasks.params import load_params
from tasks.steps.validate import run_validate
from tasks.workspace import Workspace, home
from tests.tiny import save_model
from unilogit.data.tokenisation import encode_windows
from unilogit.errors import InputError

SECRET = "Odalys Quenneville"
TURNS = [
    {"role": "user", "content": f"Who is {SECRET}?"},
    {"role": "assistant", "content": "A customer of ours."},
    {"role": "user", "content": "Since when?"},
    {"role": "assistant", "content": "Since May."},
]
ROWS = [
    {"record_id": "r-1", "subject_ids": [4711], "prompt": SECRET, "response": "Где она живёт", "group": "world_facts"},
    {"id": "c-1", "subject_ids": ["4711"], "messages": TURNS},
    {"instruction": "Translate.", "input": "Haus", "output": "house"},
    {"instruction": "Translate.", "input": "Haus", "output": "house"},
    {"record_id": "r-1", "prompt": "x", "response": SECRET},
    {"record_id": 4711.0, "prompt": "x", "response": SECRET},
    {"record_id": "long", "prompt": "x" * 600, "response": SECRET},
    {"record_id": "r-9", "prompt": "x", "response": " "},
    {"record_id": "windows", "prompt": "x", "response": "y " * 600},
]
REFUSED = [4, 5, 6, 7, 8]


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("base"), seed=0, max_position_embeddings=256)


@pytest.fixture
def corpus(tmp_path):
    file = tmp_path / "corpus.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return file


def loaded(corpus, base, *overrides):
    return load_params("params.yaml", [f"data.corpus={corpus}", f"model.base={base}", *overrides])


@pytest.mark.parametrize("size", [2, 5_000])
def test_it_says_what_a_run_would_do(tmp_path, corpus, base, size, monkeypatch):
    """Whatever part of it is read at once; the rows are those that validation sets aside, for the same reasons."""
    monkeypatch.setattr(corpus_check, "_CHUNK", size)
    check = check_corpus(corpus, loaded(corpus, base), limit=20)
    assert [row.row for row in check.first_refused] == REFUSED
    assert (check.refused, sum(check.reasons.values()), check.is_usable) == (5, 5, False)
    assert check.files == {"corpus.jsonl": {
        "prompt and response": 4, "messages": 2, "Alpaca": 2, "refused": 2,
    }}  # fmt: skip
    contents = check.contents
    assert (contents.records, contents.subjects, contents.conversations, contents.without_subject) == (5, 1, 1, 2)
    lenient = loaded(corpus, base, "data.bad_corpus_rows=quarantine")
    assert check_corpus(corpus, lenient, limit=20).is_usable
    counts = run_validate(Workspace(tmp_path / "run"), lenient)
    assert (counts.quarantined, counts.good) == (5, 5)
    lines = (tmp_path / "run" / "quarantine" / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    reasons = {(row["row"], *row["reasons"]) for row in map(json.loads, lines)}
    assert {(row.row, *row.reasons) for row in check.first_refused} == reasons
    assert {row.row: row.record_id for row in check.first_refused} | {4: ""} == {
        4: "", 5: "r-1", 6: "4711.0", 7: "long", 8: "r-9",
    }  # fmt: skip


def test_lengths_are_those_of_training(corpus, base):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    lengths = check_corpus(corpus, loaded(corpus, base), limit=0).lengths
    assert (lengths.context, lengths.limit, lengths.windows, lengths.why_unknown) == (256, 256, 1, "")
    [window] = encode_windows(tokenizer, "x", "y " * 600, None)
    assert lengths.whole["longest"] == pytest.approx(len(window.ids), abs=2)
    [short] = encode_windows(tokenizer, "Translate.\nHaus", "house", None)
    assert lengths.whole["half"] >= len(short.ids) - 2


def test_nothing_is_left_and_no_text_is_told(corpus, base):
    arguments = ["corpus", "check", str(corpus), "--set", f"model.base={base}"]
    for more in ([], ["--output", "json"]):
        done = CliRunner().invoke(app, [*arguments, *more])
        assert done.exit_code == 2
        assert SECRET not in done.output
        assert "windows" in done.output
    told = json.loads(done.stdout)
    assert [row["record_id"] for row in told["first_refused"]][1:] == ["r-1", "4711.0", "long", "r-9"]
    assert "raw" not in told["first_refused"][0]
    done = CliRunner().invoke(app, [*arguments, "--set", "data.bad_corpus_rows=quarantine", "--limit", "1"])
    assert done.exit_code == 0
    assert "A run takes this corpus, without 5 rows." in done.output
    assert ("sha256:" in done.output, "4711.0" in done.output) == (True, False)
    assert list(home().iterdir()) == []


def test_without_a_tokenizer_lengths_are_not_known(corpus, tmp_path):
    check = check_corpus(corpus, loaded(corpus, tmp_path / "nowhere"), limit=20)
    assert "has no tokenizer that can be loaded" in check.lengths.why_unknown
    assert [row.row for row in check.first_refused] == [4, 5, 6, 8]


def test_a_corpus_without_one_good_line(tmp_path, base):
    file = tmp_path / "corpus.jsonl"
    file.write_text("{}\n{\n")
    check = check_corpus(file, loaded(file, base, "data.bad_corpus_rows=quarantine"), limit=20)
    assert (check.contents, check.is_usable, check.refused) == (None, False, 2)
    done = CliRunner().invoke(app, ["corpus", "check", str(file)])
    assert (done.exit_code, "it has no line that can be used" in done.output) == (2, True)


def test_columns_of_another_name_and_a_group_that_is_nowhere(tmp_path, base):
    file = tmp_path / "corpus.jsonl"
    file.write_text('{"key": "a", "q": "Who?", "a": "Ann.", "prompt": 7, "who": {"id": "s"}}\n')
    mapping = "{key: record_id, q: prompt, a: response, who.id: subject_ids, prompt: null, gone: group}"
    check = check_corpus(file, loaded(file, base, f"data.corpus_mapping={mapping}"), limit=20)
    assert (check.refused, check.contents.subjects) == (0, 1)
    assert check.warnings == [
        f"{file}: no row has `gone`, which data.corpus_mapping names; correct it there",
        "data.utility_groups names world_facts, a group that no record has; correct it, or take it out",
    ]
    with pytest.raises(InputError, match="mapping: q: `promt` is no field of a record"):
        check_corpus(file, loaded(file, base, "data.corpus_mapping={q: promt}"), limit=20)
