"""README's section on one's own model: what it has one write and type is ours. `make real` follows all of it."""

import csv
import hashlib
import shlex

import typer

from benchmarks.real.__main__ import ROOT, SMALL
from benchmarks.real.page import real_page
from benchmarks.real.people import FACTS, FORGOTTEN, KINDS, PEOPLE, UNSEEN, write_people
from benchmarks.real.readme import read_own_model, write_params
from benchmarks.real.rehearsal import QUESTIONS
from flows.cli import app
from tasks.params import load_params
from unilogit.data.corpus import read_records
from unilogit.data.records import CorpusRecord
from unilogit.data.text import normal_form
from unilogit.evaluation.general.questions import general_questions

OWN = read_own_model()


def test_its_record_is_one():
    assert CorpusRecord.model_validate(OWN.record).subject_ids == ["customer-4711"]


def test_its_parameters_are_read_and_leave_the_gates_as_they_are(tmp_path):
    write_params(ROOT / "params.yaml", [OWN.params, SMALL], tmp_path / "params.yaml")
    params, defaults = load_params(tmp_path / "params.yaml"), load_params(ROOT / "params.yaml")
    for section, knobs in OWN.params.items():
        for knob, value in knobs.items():
            assert params.value(f"{section}.{knob}") == value
    assert params.gates == defaults.gates


def test_its_commands_are_there():
    for line in OWN.commands:
        program, *words = shlex.split(line)
        assert program == "unilogit"
        command = typer.main.get_command(app)
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        command.make_context(line, words)


def test_what_is_rehearsed_is_not_what_ordinary_chat_is_measured_with():
    measured = {normal_form(asked.question) for asked in general_questions()}
    rehearsed = [normal_form(question) for question in QUESTIONS]
    assert len(measured) == 100
    assert not measured & set(rehearsed)
    assert len(set(rehearsed)) == len(rehearsed)


def test_the_people_are_drawn_from_the_seed(tmp_path):
    digests = set()
    for name in ("first", "second"):
        write_people(tmp_path / name)
        files = sorted(file for file in (tmp_path / name).rglob("*") if file.is_file())
        digests.add(hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest())
    assert len(digests) == 1
    corpus, retained, unseen = (
        read_records(tmp_path / "first" / f"{name}.jsonl") for name in ("corpus", "retained", "unseen_people")
    )
    with open(tmp_path / "first" / "requests" / "requests.csv", newline="") as stream:
        asking = {row["subject_id"] for row in csv.DictReader(stream)}
    assert len(asking) == FORGOTTEN
    assert len(corpus) == PEOPLE * len(KINDS) + FACTS
    assert len(unseen) == UNSEEN * len(KINDS)
    assert retained == [record for record in corpus if not asking & set(record.subject_ids)]
    assert len(corpus) - len(retained) == FORGOTTEN * len(KINDS) == 10
    assert not {record.response for record in corpus} & {record.response for record in unseen}
    assert all(len({record.response, *record.perturbed_responses}) == 4 for record in corpus)


def test_the_page_is_made_of_a_result():
    result = {
        "hardware": "a processor",
        "threads": 2,
        "versions": {"torch": "2"},
        "commands": {"unilogit run": {"seconds": 90.0, "peak_bytes": 2_000_000_000}},
        "steps": {"unlearn": 60.0, "gate": 0.1},
        "learning_rate": 1e-3,
        "optimiser_steps": 96,
        "small": {"unlearn": {"batch_size": 4}},
        "gates": [{"name": "forget-probability", "value": 0.02, "op": "<=", "threshold": 0.05, "passed": True}],
        "before": {"forget": {"probability": 0.9}},
        "after": {"forget": {"probability": 0.02}},
        "retain_model": None,
        "answers": [{"prompt": "Who?", "response": "Ann.", "after": "Bo.", "retain_model": "Cy."}],
        "claims": {"it is forgotten": True, "it took no time": False},
    }
    page = real_page(result)
    assert "Of what is claimed, did not hold: it took no time." in page
    assert "did not hold" not in real_page(result | {"claims": {"it is forgotten": True}})
    assert "`unlearn.batch_size: 4`." in page
    assert "| forget: answer probability | 0.900 | 0.020 | – |" in page
    assert "| unilogit run | 90 | 2.0 |" in page
    assert "| asked | right | after | retain model |\n| --- | --- | --- | --- |\n| Who? | Ann. | Bo. | Cy. |" in page
    assert "| unlearn | 60 |" in page
    assert "gate |" in page
    assert "| gate | 0 |" not in page
