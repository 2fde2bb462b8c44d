"""What is logged while a model is trained: kept whole and once, whatever a kill leaves and in whichever pieces."""

import json
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.curves import CurveWriter, read_curves


def as_points(file):
    return {(entry.step, name): value for entry in read_curves(file) for name, value in entry.figures.items()}


def test_what_is_written_is_read_with_the_time_of_writing(tmp_path):
    file = tmp_path / "curves.jsonl"
    assert read_curves(file) == []
    before = time.time_ns() // 1_000_000
    curves = CurveWriter(file, "a training")
    assert read_curves(file) == []
    curves.write(3, {"loss": 2.5, "epoch": 0.5, "diverged": float("nan"), "grown": float("inf")})
    curves.write(6, {"loss": 1.25, "forget_nll": 7})
    first, second = read_curves(file)
    assert (first.step, first.figures) == (3, {"loss": 2.5})
    assert (second.step, second.figures) == (6, {"loss": 1.25, "forget_nll": 7.0})
    assert before <= first.time <= second.time <= time.time_ns() // 1_000_000


def test_another_training_begins_anew(tmp_path):
    file = tmp_path / "curves.jsonl"
    CurveWriter(file, "a training").write(1, {"loss": 2.0})
    CurveWriter(file, "a training").write(2, {"loss": 1.0})
    assert as_points(file) == {(1, "loss"): 2.0, (2, "loss"): 1.0}
    CurveWriter(file, "another").write(1, {"loss": 9.0})
    assert as_points(file) == {(1, "loss"): 9.0}


@settings(deadline=None, max_examples=60)
@given(
    kills=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 200)), max_size=4),
)
def test_a_training_that_is_killed_anywhere_and_resumed_leaves_one_point_for_each_step(tmp_path_factory, kills):
    """Each time, it resumes from step 0, 4 or 8, whichever checkpoint was last, and a part of the last line is lost."""
    file = tmp_path_factory.mktemp("curves") / "curves.jsonl"
    truth = {(step, "loss"): 1 / step for step in range(1, 13)}
    done = 0
    seen = {}
    for step_of_kill, lost in [*kills, (12, 0)]:
        curves = CurveWriter(file, "a training")
        for step in range(done // 4 * 4 + 1, step_of_kill + 1):
            curves.write(step, {"loss": 1 / step, "epoch": step / 4})
        done = max(done, step_of_kill)
        seen |= {entry.step: entry.time for entry in read_curves(file) if entry.step not in seen}
        content = file.read_bytes()
        last = content.rstrip(b"\n").rfind(b"\n") + 1
        if last and lost:
            file.write_bytes(content[: max(last, len(content) - lost)])
            seen.pop(json.loads(content[last:])["step"], None) if b"step" in content[last:] else None
            done = min(done, max(seen, default=0))
    assert as_points(file) == truth
    assert len(read_curves(file)) == 12
