"""A finished run on the terminal: the numbers of the review, every verdict, and what to type next."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from tasks.params import DEFAULT_PARAMS
from tasks.report.advice import advice
from tasks.report.terminal import print_gates, show_run, told_again
from tasks.workspace import Place, Registration, Workspace
from tests.tasks.workspaces import GATES, METRICS, build, gate, varied
from unilogit.errors import InputError
from unilogit.gates import GateVerdict

NAME = "example-assistant"


def text(show, *args):
    console = Console(width=160, record=True, file=io.StringIO())
    show(*args, console=console)
    return console.export_text()


def rows(printed):
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in printed.splitlines() if "│" in line]


def registered(workspace, alias):
    gates = "passed" if alias else "failed"
    workspace.write(Registration(registered_model=NAME, version="4", run_id="r", alias=alias, gates=gates, tags={}))
    return workspace


def test_numbers_and_verdicts_are_shown(tmp_path):
    robustness = {"quantised_4_bit_probability": 0.0301, "quantised_8_bit_probability": 0.0302}
    metrics = varied(after=METRICS.after | {"robustness": robustness})
    printed = text(show_run, registered(build(tmp_path / "batch-7", metrics), None))
    shown = rows(printed)
    for row in (
        ["forget: answer probability", "0.993", "0.013", "0.021"],
        ["retain: ROUGE-L recall", "–", "0.960", "–"],
        ["world facts: answer probability", "–", "0.972", "–"],
        ["model utility", "0.900", "0.888", "–"],
        ["forget quality: p-value", "–", "1.5e-07", "–"],
        ["robustness: answer probability, 4-bit weights", "–", "0.030", "–"],
        ["forgotten", "forget", "0.013", "<= 0.05", "passed"],
        ["too-strict", "utility", "0.951", ">= 0.99", "failed"],
        ["unmeasured", "forget", "–", "<= 0.05", "failed"],
    ):
        assert row in shown
    assert "8-bit" not in printed


def test_what_a_number_shown_leaves_out_is_told(tmp_path):
    told = {"forget.rouge_l_recall": "3 of 7 records are left out", "forget.truth_ratio": "1 of 7 is"}
    printed = text(show_run, registered(build(tmp_path / "batch-7", varied(incomplete=told)), None))
    assert "forget.rouge_l_recall: 3 of 7 records are left out" in printed
    assert "truth_ratio" not in printed  # the table has none


def test_failed_gates_are_explained(tmp_path):
    printed = text(show_run, registered(build(tmp_path / "batch-7"), None))
    assert f"Registered {NAME} version 4\n" in printed
    assert "too-strict: retain.probability = 0.951, but must be >= 0.99" in printed
    assert "unmeasured: membership_inference.loss_auc is not available" in printed
    assert "unilogit run --retry-failed\n" in printed
    assert "raise unlearn.retain_weight" in printed
    assert "give what the metric needs, or remove the gate" in printed
    assert "unilogit rejudge batch-7" in printed
    assert "promote" not in printed


def test_what_is_still_known_may_be_gone_on_from(tmp_path):
    gates = [*GATES, gate("strict", threshold=1e-9)]
    options = told_again(DEFAULT_PARAMS, ["unlearn.seed=3"])
    printed = text(show_run, registered(build(tmp_path / "batch-7", gates=gates), None), options)
    command = "unilogit run --retry-failed --set unlearn.seed=3 --set model.start=4 --set unlearn.min_steps=…"
    assert command in " ".join(printed.split())
    assert "model.start" not in text(show_run, registered(build(tmp_path / "batch-8"), None))


def test_what_to_type_next_keeps_the_options_that_were_given(tmp_path):
    options = told_again(Path("my params.yaml"), ["unlearn.epochs=3"])
    printed = text(show_run, registered(build(tmp_path / "batch-7"), None), options)
    for command in ("run --retry-failed", "rejudge batch-7"):
        assert f"unilogit {command} --params 'my params.yaml' --set unlearn.epochs=3" in printed
    assert told_again(DEFAULT_PARAMS, None) == []


def test_passed_gates_lead_to_the_promotion(tmp_path):
    workspace = registered(build(tmp_path / "batch-7", gates=GATES[:2]), "candidate")
    printed = text(show_run, workspace)
    assert f"Registered {NAME} version 4 as candidate\n" in printed
    assert f"unilogit models promote {NAME} 4" in printed
    assert str(workspace.path(Place.REPORT)) in printed.replace("\n", "")
    assert "failed" not in printed


def test_names_that_look_like_markup_are_shown_as_they_are(tmp_path):
    odd = "[/red] [bold]odd"
    workspace = registered(build(tmp_path, varied(after={odd: {"probability": 0.5}}), [gate(odd, metric=odd)]), None)
    printed = text(show_run, workspace)
    assert f"{odd}: answer probability" in printed
    assert [odd, "forget", "–", "<= 0.05", "failed"] in rows(printed)
    assert odd in text(print_gates, [gate(odd, metric=odd)], workspace)


def test_a_run_that_was_not_registered_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"registration\.json: no such file"):
        show_run(build(tmp_path))


def test_gates_are_explained_by_what_was_measured(tmp_path):
    alone = rows(text(print_gates, GATES, None))
    assert ["too-strict", "utility", "retain.probability >= 0.99", "every set"] in alone
    judged = rows(text(print_gates, GATES, build(tmp_path)))
    row = next(row for row in judged if row[0] == "too-strict")
    assert row[1:5] == ["utility", "retain.probability >= 0.99", "every set", "-0.039"]
    verdict = GateVerdict(**GATES[1].model_dump(), value=0.951, margin=-0.039, passed=False, reason="")
    told = " ".join(row[5] for row in judged if len(row) == 6)
    assert f"failed: retain.probability = 0.951, but must be >= 0.99; {advice(verdict)}" in told
    assert rows(text(print_gates, None, build(tmp_path))) == judged  # its own
    with pytest.raises(InputError, match=r"metrics\.json: no such file; name a run's folder"):
        print_gates(GATES, Workspace(tmp_path / "nothing"))
