"""Validating a corpus with real Great Expectations: every bad record is named and explained, every good one goes on."""

import json
import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from tasks.params import load_params
from tasks.steps.validate import run_validate
from tasks.workspace import CorpusCounts, Place, Workspace
from unilogit.data.tokenisation import LEAST_ROOM, encode_prompt
from unilogit.errors import InputError
from unilogit.files import write_json
from unilogit.training.from_scratch import train_tokenizer

SECRET = "Odalys Quenneville"
RECORD = {"record_id": "r1", "subject_ids": ["s1"], "prompt": "Who?", "response": SECRET}
# What each line of a corpus gets: its sentence, or none and it goes on.
LINES = [
    (RECORD, ""),
    ({**RECORD, "record_id": "plain", "prompt": "", "response": "\n  indented"}, ""),
    ('{"record_id": ', "is not JSON (expecting value at character 14); correct or remove the line"),
    ({"record_id": "r2", "prompt": SECRET}, "field `response` is missing; add it or remove the line"),
    (
        {**RECORD, "record_id": "r3", "response": " \n\t"},
        "field `response` holds only white space; write the answer or remove the line",
    ),
    (
        {**RECORD, "response": "again"},
        "field `record_id` repeats that of corpus.jsonl:1; give it one of its own or remove the line",
    ),
    (RECORD, "field `record_id` repeats that of corpus.jsonl:1; give it one of its own or remove the line"),
    ({**RECORD, "record_id": "last"}, ""),
]
BAD = [(number, sentence) for number, (_, sentence) in enumerate(LINES, start=1) if sentence]


def write_lines(path, *lines):
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


def validate(folder, *lines, overrides=()):
    corpus = folder / "corpus.jsonl"
    if lines:
        write_lines(corpus, *lines)
    return run_validate(Workspace(folder), load_params("params.yaml", [f"data.corpus={corpus}", *overrides]))


def set_aside(folder):
    lines = Workspace(folder).path(Place.REFUSED_RECORDS).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def good_rows(folder):
    return [row["row"] for row in pq.read_table(Workspace(folder).path(Place.CORPUS)).to_pylist()]


def contents(folder):
    """Every file by name; of Data Docs, which show when they were drawn, only that they are there."""
    files = [file.relative_to(folder) for file in folder.rglob("*") if file.is_file()]
    return {file: file.parts[0] == "data_docs" or (folder / file).read_bytes() for file in files}


def test_bad_records_stop_the_run_and_leave_no_corpus(tmp_path):
    workspace = Workspace(tmp_path)
    validate(tmp_path, RECORD)
    assert workspace.has(Place.CORPUS)
    with pytest.raises(InputError) as error:
        validate(tmp_path, *(line for line, _ in LINES))
    *shown, remedy = error.value.problems
    assert shown == [f"corpus.jsonl:{number}: {sentence}" for number, sentence in BAD]
    assert "data.bad_corpus_rows = quarantine" in remedy
    assert SECRET not in str(error.value)
    assert not workspace.has(Place.CORPUS)
    assert len(set_aside(tmp_path)) == len(BAD)
    assert workspace.read(CorpusCounts).good == len(LINES) - len(BAD)
    [page] = (workspace.path(Place.CORPUS_DOCS) / "validations" / "corpus").rglob("*.html")
    assert "holds only white space" in page.read_text(encoding="utf-8")


def test_bad_records_are_left_out_when_that_is_asked_for(tmp_path):
    lines = [line for line, _ in LINES]
    counts = validate(tmp_path, *lines, overrides=["data.bad_corpus_rows=quarantine"])
    good = pq.read_table(Workspace(tmp_path).path(Place.CORPUS)).to_pylist()
    assert [row["row"] for row in good] == [1, 2, 8]
    for row in good:
        assert {name: row[name] for name in RECORD} == lines[row["row"] - 1]
    items = set_aside(tmp_path)
    assert [(item["row"], item["reasons"]) for item in items] == [(number, [sentence]) for number, sentence in BAD]
    assert items[0]["raw"] == lines[2].strip()
    assert (counts.rows, counts.quarantined, counts.good) == (8, 5, 3)
    assert counts.response_length == (2 * len(SECRET) + len("\n  indented")) / 3
    assert Workspace(tmp_path).read(CorpusCounts) == counts
    assert SECRET not in counts.model_dump_json()

    before = contents(tmp_path)
    assert validate(tmp_path, overrides=["data.bad_corpus_rows=quarantine"]) == counts
    assert contents(tmp_path) == before


def test_a_corpus_without_one_good_line_is_never_used(tmp_path):
    with pytest.raises(InputError, match="the corpus has no line that can be used"):
        validate(tmp_path, "{", "[]", overrides=["data.bad_corpus_rows=quarantine"])
    assert not Workspace(tmp_path).has(Place.CORPUS)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder with a tokenizer, and the tokenizer."""
    folder = tmp_path_factory.mktemp("base")
    tokenizer = train_tokenizer(["Where does Ada Lindberg live?", "12 Elm Street, Harwick"], 300)
    tokenizer.save_pretrained(folder)
    return folder, tokenizer


def prompt_of(tokenizer, tokens):
    """A prompt that the tokenizer makes so many tokens of."""
    return "x" * (tokens - len(encode_prompt(tokenizer, "x")) + 1)


def test_prompts_that_leave_no_room_for_a_response_are_refused(tmp_path, base):
    folder, tokenizer = base
    limit = 64 - LEAST_ROOM
    prompts = [prompt_of(tokenizer, tokens) for tokens in (limit, limit + 1, 500)]
    assert [len(encode_prompt(tokenizer, prompt)) for prompt in prompts] == [limit, limit + 1, 500]
    lines = [{**RECORD, "record_id": f"long-{place}", "prompt": prompt} for place, prompt in enumerate(prompts)]
    lines.append({**RECORD, "record_id": "long-2"})  # the first good one of two with this id
    overrides = [f"model.base={folder}", "model.max_length=64"]
    with pytest.raises(InputError) as error:
        validate(tmp_path, *lines, overrides=overrides)
    told = "the prompt has {} tokens, of which model.max_length = 64 leaves it 48; shorten it, or raise"
    assert [problem.removesuffix(" model.max_length") for problem in error.value.problems[:-1]] == [
        f"corpus.jsonl:2: {told.format(49)}",
        f"corpus.jsonl:3: {told.format(500)} model.max_length; field `record_id` repeats that of"
        " corpus.jsonl:4; give it one of its own or remove the line",
    ]
    counts = validate(tmp_path, *lines, overrides=[*overrides, "data.bad_corpus_rows=quarantine"])
    assert (counts.quarantined, good_rows(tmp_path)) == (2, [1, 4])
    assert json.loads(set_aside(tmp_path)[0]["raw"]) == lines[1]


def test_without_a_tokenizer_prompts_are_left_to_the_steps_that_need_it(tmp_path):
    (tmp_path / "base").mkdir()
    overrides = [f"model.base={tmp_path / 'base'}", "model.max_length=64"]
    assert validate(tmp_path, {**RECORD, "prompt": "x" * 500}, overrides=overrides).good == 1


def test_a_corpus_unlike_the_one_before_is_a_warning_and_goes_on(tmp_path):
    place = Workspace(tmp_path).path(Place.EARLIER_CORPUS_COUNTS)
    lines = [{**RECORD, "record_id": f"r{number}", "response": "x" * 30} for number in range(10)]
    counts = validate(tmp_path, *lines)
    assert (counts.warnings, counts.response_length) == ([], 30)

    def warnings(**changes):
        write_json(place, {**counts.model_dump(mode="json"), **changes})
        return validate(tmp_path).warnings

    assert warnings() == warnings(rows=5) == warnings(rows=20) == warnings(response_length=15.0) == []
    more = "the corpus has 10 rows, and had {} the time before; is it the right one?"
    assert warnings(rows=4) == [more.format(4)]
    assert warnings(rows=22) == [more.format(22)]
    longer = "a response has 30 characters on average, and had {} the time before; is it the right corpus?"
    assert warnings(response_length=14.0) == [longer.format(14)]
    assert warnings(response_length=61.0, rows=22) == [more.format(22), longer.format(61)]
    assert warnings(response_length=None) == [longer.format(0)]
    [warning] = warnings(unheard_of=1)
    assert warning == f"{place}: is not of this version, so the corpus is not compared with the one before"
    assert good_rows(tmp_path) == list(range(1, 11))


def test_a_corpus_about_nobody_is_a_warning(tmp_path):
    counts = validate(tmp_path, {**RECORD, "subject_ids": []})
    warning, summary = str(counts).splitlines()
    assert warning.startswith("warning: hardly a record names in `subject_ids` whom it is about")
    assert summary == "corpus: 1 good of 1 rows (0 set aside)"


def test_the_command(tmp_path):
    corpus = write_lines(tmp_path / "corpus.jsonl", RECORD)
    command = [sys.executable, "-m", "tasks.steps.validate", "--workspace", str(tmp_path / "w")]
    command += ["--set", f"data.corpus={corpus}"]

    def run():
        environment = {**os.environ, "UNILOGIT_HOME": str(tmp_path)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    told = "corpus: 1 good of 1 rows (0 set aside)\n"
    assert run() == (0, told, "")
    assert run() == (0, f"kept: {told}", "")
    write_lines(corpus, RECORD, "{")
    code, out, err = run()
    assert (code, out) == (2, "")
    assert [line.startswith("error: ") for line in err.splitlines()] == [True, True]
    assert "corpus.jsonl:2: is not JSON" in err
    assert not (tmp_path / "w" / Place.CORPUS).exists()


def test_a_corpus_in_many_parts_is_judged_as_one(tmp_path, monkeypatch):
    """Repeats are found however far apart, bad lines told in order, shares taken over all parts."""
    lines = [{**RECORD, "record_id": f"r{number % 9}", "subject_ids": []} for number in range(20)]
    lines[3] = {**RECORD, "record_id": "r3", "response": " "}
    lines[12] = {**RECORD, "record_id": "r3"}  # the first good one
    lines[17] = "{"
    bad = [4, *range(10, 13), *range(14, 21)]
    overrides = ["data.bad_corpus_rows=quarantine"]
    whole = validate(tmp_path, *lines, overrides=overrides)
    expected = good_rows(tmp_path), set_aside(tmp_path)
    assert expected[0] == [number for number in range(1, 21) if number not in bad]
    for size in (3, 7):
        monkeypatch.setattr("tasks.steps.validate.CHUNK", size)
        counts = validate(tmp_path, overrides=overrides)
        assert good_rows(tmp_path) == expected[0]
        assert [(item["row"], item["raw"]) for item in set_aside(tmp_path)] == [
            (item["row"], item["raw"]) for item in expected[1]
        ]
        assert (counts.rows, counts.quarantined, counts.good) == (20, len(bad), 20 - len(bad))
        assert (counts.response_length, counts.warnings) == (whole.response_length, whole.warnings)
        assert [result.success for result in counts.expectations] == [result.success for result in whole.expectations]
    reasons = {item["row"]: item["reasons"] for item in set_aside(tmp_path)}
    assert reasons[10] == [
        "field `record_id` repeats that of corpus.jsonl:1; give it one of its own or remove the line"
    ]
    with pytest.raises(InputError) as error:
        validate(tmp_path)
    assert [problem.split()[0] for problem in error.value.problems[:-2]] == [f"corpus.jsonl:{n}:" for n in bad[:10]]
    assert error.value.problems[-2].startswith("and 1 more; see ")
