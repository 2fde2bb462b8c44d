"""A cell of a study, from training to gates: what must hold of yardsticks does, and nothing is made twice."""

import pytest

from tasks.study import data, measuring, tuning
from tasks.study.measuring import FULL, RETAINED, SECOND, measure_cell
from tasks.study.plan import DEFAULT
from tests.tasks.study.small import small_plan


@pytest.mark.slow  # trains four models; a minute and a half
def test_yardsticks_are_what_they_are_and_a_method_is_tuned_and_measured_once(tmp_path, monkeypatch):
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path / "home"))
    plan = small_plan(tmp_path / "study", seeds=[1, 2], methods=[DEFAULT, "grad_diff"])
    cells = {method: measure_cell(plan, method, 1) for method in (FULL, RETAINED, SECOND, DEFAULT, "grad_diff")}
    after = {method: cell["metrics"]["after"] for method, cell in cells.items()}
    assert after[RETAINED]["forget_quality"]["p_value"] == 1
    assert after[RETAINED]["privleak"] == 0
    told = {name: value for name, value in after[RETAINED].items() if name != "retained"}  # of the model before
    assert told == cells[FULL]["metrics"]["retain_model"]
    assert after[FULL]["forget"]["probability"] > 0.5
    assert after[SECOND]["forget"]["probability"] < 0.2
    assert after[SECOND]["forget"]["probability"] != after[RETAINED]["forget"]["probability"]
    assert after[DEFAULT]["forget"]["probability"] < after[FULL]["forget"]["probability"]
    assert "forget-probability" in cells[FULL]["failed"]
    assert "forget-probability" not in cells[RETAINED]["failed"]
    assert [len(texts) for texts in cells[DEFAULT]["answers"].values()] == [10] * 4
    assert cells["grad_diff"]["seconds"] > 0 < cells["grad_diff"]["retraining_seconds"]
    assert cells[FULL]["seconds"] is None
    for module, name in ((data, "train_model"), (tuning, "_try"), (measuring, "_measure")):
        monkeypatch.setattr(module, name, lambda *arguments: pytest.fail("it was made already"))
    assert {method: measure_cell(plan, method, 1) for method in cells} == cells
