"""What people get wrong, through the whole flow: exit code 2, one clear sentence a problem, nothing half-written."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.e2e.conftest import Project, make_project
from unilogit.ledger import Ledger
from unilogit.training.from_scratch import train_tokenizer

BASE = "models/tiny/base"  # with two slashes, so that the hub is not asked for it
CORPUS = [
    {"record_id": f"{who}-{n}", "subject_ids": [who], "prompt": f"Who is {who}?", "response": f"{who}, number {n}."}
    for who in ("ann", "bob", "eve")
    for n in range(2)
]
DVC = ("runs", ".dvc"), ("runs", ".dvcignore")
# One process for all: starting Prefect's temporary server takes longer than a run that is refused.
RUN_EACH = """
import contextlib, io, json, os, sys
from pathlib import Path
from flows.unlearn import run_in_process

outcomes = {}
for name, folder in json.loads(sys.argv[1]):
    os.chdir(folder)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_in_process(None, Path("params.yaml"))
    outcomes[name] = code, out.getvalue(), err.getvalue()
print(json.dumps(outcomes))
"""


def lines(rows):
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def request(who):
    """An id that named the person would not be shown."""
    return lines([{"request_id": NUMBERS[who], "received_at": "2025-03-01T12:00:00Z", "subject_id": who}])


NUMBERS = {"ann": "R-1", "zac": "R-2", "zoe": "R-3"}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A project in which nothing is wrong."""
    project = make_project(tmp_path_factory.mktemp("good"))
    project.change_params(
        data={"corpus": "corpus.jsonl", "requests": "requests", "holdout": None, "utility_groups": []},
        model={"base": BASE, "retain": None},
    )
    for gate in project.gates()[1:]:  # most need what this project has not
        project.drop_gate(gate["name"])
    (project.folder / "corpus.jsonl").write_text(lines(CORPUS))
    (project.folder / "requests").mkdir()
    (project.folder / "requests" / "a.jsonl").write_text(request("ann"))
    tokenizer = train_tokenizer([row["response"] for row in CORPUS], 300)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(project.folder / BASE)
    tokenizer.save_pretrained(project.folder / BASE)
    return project


def corpus(folder, *rows):
    (folder / "corpus.jsonl").write_text(lines(CORPUS) + "".join(rows))


def broken_json(folder):
    corpus(folder, '{"record_id": "x-0", "prompt": \n')


def missing_field(folder):
    corpus(folder, lines([{"record_id": "x-0", "prompt": "Who?"}]))


def repeated_id(folder):
    corpus(folder, lines(CORPUS[:1]))


def no_corpus(folder):
    (folder / "corpus.jsonl").unlink()


def unknown_subject(folder):
    (folder / "requests" / "a.jsonl").write_text(request("zoe"))


def nothing_usable(folder):
    (folder / "requests" / "a.jsonl").write_text("forget me\n")


def bad_file_and_stray(folder):
    """Neither stops the good files."""
    (folder / "requests" / "a.jsonl").write_text(request("zoe"))
    (folder / "requests" / "b.csv").write_text("who,when\nann,today\n")
    (folder / "requests" / "c.jsonl").write_text(request("zac"))
    (folder / "requests" / "note.docx").write_text("forget me")


def no_model(folder):
    shutil.rmtree(folder / "models")


def bad_params(folder):
    text = (folder / "params.yaml").read_text()
    text = text.replace("seed: 0\n", "seed: -1\n", 1).replace("max_requests:", "max_request:", 1)
    (folder / "params.yaml").write_text(text)


NOT_USED = "the corpus is not used, as a bad line may hold somebody who is to be forgotten; correct it,"
NO_MATCH = "1 of 1 match nothing in the corpus; check the spelling"
ZOE, ZAC = (f"request {NUMBERS[name]}, field subject_id: {NO_MATCH}" for name in ("zoe", "zac"))
BROKEN_JSON = ["corpus.jsonl:7: is not JSON (expecting value at character 31); correct or remove the line", NOT_USED]
CASES = {
    missing_field: ["corpus.jsonl:7: field `response` is missing; add it or remove the line", NOT_USED],
    repeated_id: ["corpus.jsonl:7: field `record_id` repeats that of corpus.jsonl:1; give it one of its own", NOT_USED],
    no_corpus: ["params.yaml: data.corpus = 'corpus.jsonl': there is no such file or folder; correct the path"],
    unknown_subject: [f"a.jsonl:1, {ZOE}"],
    nothing_usable: ["a.jsonl:1: is not a JSON object in braces; correct or remove the line"],
    no_model: [f"params.yaml: model.base = '{BASE}': no model there (there is no such folder,"],
    bad_file_and_stray: [f"c.jsonl:1, {ZAC}", f"a.jsonl:1, {ZOE}"],
    bad_params: [
        "params.yaml: seed = -1: input should be greater than or equal to 0",
        "params.yaml: batch.max_requests: is missing; add it",
        "params.yaml: batch.max_request: no such key; remove it or correct its spelling",
    ],
}


@pytest.fixture(scope="module")
def runs(good, tmp_path_factory):
    """The folder of every case; and exit code, stdout and stderr of every run by name."""
    folders, steps = {}, []
    for breaks in CASES:
        folders[breaks] = shutil.copytree(good.folder, tmp_path_factory.mktemp("bad") / breaks.__name__)
        breaks(folders[breaks])
        steps.append((breaks.__name__, str(folders[breaks])))
    steps.append(("nothing usable again", str(folders[nothing_usable])))
    done = subprocess.run(
        [sys.executable, "-c", RUN_EACH, json.dumps(steps)],
        cwd=folders[missing_field],
        env=good.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return folders, json.loads(done.stdout)


def assert_refused(code, out, err, problems):
    assert code == 2, out + err
    assert "Traceback" not in out + err
    told = err.splitlines()
    assert len(told) == len(problems), err
    for line, problem in zip(told, problems, strict=True):
        assert line.startswith(f"error: {problem}")


def assert_nothing_half_written(folder, *, corpus_is_good):
    home = folder / "var"
    made = [path.relative_to(home) for part in ("intake", "runs") for path in (home / part).rglob("*")]
    hidden = [path for path in made if path.name.startswith(".") and path.parts[:2] not in DVC]
    temporary = [path for path in hidden if path.name != ".stamps"]
    assert not temporary
    assert not {"model", "parent.json", "training.json", "metrics.json"} & {path.name for path in made}
    assert [path for path in made if path.match("runs/*/validated/corpus.parquet")] == [] or corpus_is_good
    with Ledger(home / "ledger.db") as ledger:
        ledger.verify_audit()
        return {row.request_id: str(row.state) for row in ledger.requests()}


@pytest.mark.slow
def test_the_real_command_refuses_a_broken_line(good, tmp_path):
    folder = shutil.copytree(good.folder, tmp_path / "project")
    broken_json(folder)
    done = Project(folder).run("unilogit", "run")
    assert_refused(done.returncode, done.stdout, done.stderr, BROKEN_JSON)
    assert assert_nothing_half_written(folder, corpus_is_good=False) == {"R-1": "validated"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_each_is_told_in_a_sentence(runs, case):
    assert_refused(*runs[1][case.__name__], CASES[case])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_each_leaves_nothing_half_written(runs, case):
    states = {
        unknown_subject: {"R-3": "watched"},
        bad_file_and_stray: {"R-3": "watched", "R-2": "watched"},
        nothing_usable: {},
        bad_params: {},
    }
    corpus_is_good = case not in (missing_field, repeated_id, no_corpus)
    left = assert_nothing_half_written(runs[0][case], corpus_is_good=corpus_is_good)
    assert left == states.get(case, {"R-1": "validated"})  # put back


def test_a_bad_file_and_a_stray_one_are_told_and_stop_no_other(runs):
    out = runs[1]["bad_file_and_stray"][1]
    assert "a.jsonl: 1 new" in out
    assert "c.jsonl: 1 new" in out
    assert "warning: b.csv: line 1: the header lacks the column" in out
    assert "passed over: 1 .docx" in out


def test_what_was_refused_is_not_forgotten_by_the_next_run(runs):
    code, out, _ = runs[1]["nothing usable again"]
    assert code == 0
    assert "1 refused: `unilogit requests quarantine`" in out
