"""Versions on the terminal: all of them with what may be champion, one as a whole, two side by side."""

import io
import json

import pytest
from rich.console import Console

from tasks.registry.listing import print_difference, print_version, print_versions
from tasks.requests.promotion import promote
from tasks.steps.register import run_register
from tests.tasks.registry.family import NAME
from tests.tasks.workspaces import build_registrable
from unilogit.errors import InputError

REGISTERED = "example-assistant"


def printed(show, *arguments):
    console = Console(width=300, record=True, file=io.StringIO())
    show(*arguments, console=console)
    return console.export_text()


def rows(text):
    lines = [line for line in text.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def test_versions_are_listed_newest_first_with_what_may_be_champion(family, capsys):
    with pytest.raises(InputError, match=f"no model {NAME} is registered yet"):
        print_versions(NAME)
    for number in range(1, 11):
        family.add(number, requests="3")
    family.add(11, parent=1, gates="failed", requests="4")
    promote(NAME, "1", "ann")
    family.click(1, "candidate")
    listed = rows(printed(print_versions, NAME))
    assert [row[0] for row in listed] == [str(number) for number in range(11, 0, -1)]
    assert listed[0] == ["11", "", "failed", "batch-11", "4", "1", "no: it did not pass its gates"]
    assert listed[-1] == ["1", "candidate, champion", "passed", "batch-1", "3", "", "champion"]
    assert listed[1][-1].startswith("no: it would undo batch batch-1 of version 1")
    print_versions(NAME, as_json=True)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["version"], bool(row["why_not"])) for row in told[-2:]] == [("2", True), ("1", False)]


@pytest.fixture
def two(store, home, params):
    """Two registered versions: one passed, the other failed two gates and forgot more requests' worth."""
    for batch, probability in (("batch-1", 0.01), ("batch-2", 0.9)):
        run_register(build_registrable(home / "runs" / batch, params, forget_probability=probability), params)


def test_a_version_is_shown_with_gates_data_metrics_and_its_run(two, store, capsys):
    print_version(REGISTERED, "2", as_json=True)
    told = json.loads(capsys.readouterr().out)
    run = store.get_run(store.get_model_version(REGISTERED, "2").run_id)
    assert told["why_not"] == ["it did not pass its gates"]
    assert told["metrics"] == run.data.metrics
    assert told["params"] == run.data.params
    assert told["counts"]["forget"] > 0
    assert told["gates"]["forget-probability"] == "failed: 0.900 <= 0.05"
    assert told["links"] == {"run": run.info.run_id}
    text = printed(print_version, REGISTERED, "2")
    for words in ("no: it did not pass its gates", "2 ← base model", "forget-probability", run.info.run_id):
        assert words in text
    with pytest.raises(InputError, match=f"{REGISTERED} has no version 3; `unilogit models list`"):
        print_version(REGISTERED, "3")


def test_two_versions_stand_side_by_side(two, store, capsys):
    print_difference(REGISTERED, ("1", "2"), as_json=True)
    told = json.loads(capsys.readouterr().out)
    first, second = (store.get_run(store.get_model_version(REGISTERED, number).run_id).data for number in "12")
    assert told["params"] == {}
    assert told["metrics"] == {key: [first.metrics[key], second.metrics[key]] for key in sorted(first.metrics)}
    assert told["gates"]["forget-probability"] == ["passed: 0.010 <= 0.05", "failed: 0.900 <= 0.05"]
    assert any(
        "version 1" in line and "version 2" in line
        for line in printed(print_difference, REGISTERED, ("1", "2")).splitlines()
    )
