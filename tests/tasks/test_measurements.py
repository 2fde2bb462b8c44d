"""What was measured is taken again exactly while all that it depends on is the same and what is kept of it is whole."""

import math
import os
import stat
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from tasks import measurements
from tasks.measurements import entry_with, measure_once, unused_since
from tasks.private import open_to_others

FRAME = pd.DataFrame({"record_id": ["a", "b"], "nll": [0.1 + 0.2, math.nan], "generated": ["ä\n", None]})
INPUTS = {"model": "1", "records": ["2"]}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def measure():
    """Measures FRAME and a third, and counts how often."""

    def work():
        work.done += 1
        return {"third": 1 / 3}, {"examples": FRAME}

    work.done = 0
    return lambda inputs=INPUTS: (measure_once(inputs, dict[str, float], work, ("examples",), "before"), work.done)


def test_a_second_measurement_is_the_first_to_the_last_bit_and_says_so(measure, capsys):
    first, _ = measure()
    assert (first.is_earlier, capsys.readouterr().out) == (False, "")
    second, done = measure()
    assert (second.is_earlier, done) == (True, 1)
    assert capsys.readouterr().out == "before: taken from an earlier measurement\n"
    assert second.result == first.result == {"third": 1 / 3}
    for measurement in (first, second):
        pd.testing.assert_frame_equal(measurement.frames["examples"], FRAME, check_exact=True)


def test_other_inputs_and_other_libraries_are_measured_anew_and_the_first_are_not_forgotten(measure, monkeypatch):
    for inputs, expected in ((INPUTS, 1), (INPUTS | {"model": "2"}, 2), (INPUTS | {"records": ["3"]}, 3), (INPUTS, 3)):
        assert measure(inputs)[1] == expected
    monkeypatch.setattr(measurements, "_machine", lambda: {"packages": {"torch": "0"}})
    assert measure()[1] == 4


@pytest.mark.parametrize("name", ["stamp.json", "examples.parquet"])
@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_bytes(b"torn")])
def test_what_is_not_whole_is_measured_anew(measure, home, name, damage):
    measure()
    [file] = home.glob(f"measurements/*/{name}")
    damage(file)
    assert measure()[1] == 2
    assert measure()[1] == 2


def test_what_is_measured_is_for_its_owners_eyes_only(measure, home):
    measure()
    assert list(open_to_others(home / "measurements")) == []
    assert stat.S_IMODE((home / "measurements").stat().st_mode) == 0o700


def test_what_nobody_uses_is_told_by_when_it_was_used_last(measure, home):
    measure()
    [entry] = (home / "measurements").iterdir()
    long_ago = (datetime.now(UTC) - timedelta(days=60)).timestamp()
    os.utime(entry, (long_ago, long_ago))
    month = datetime.now(UTC) - timedelta(days=30)
    assert unused_since(month) == [entry]
    measure()
    assert unused_since(month) == []
    assert entry_with(entry / "examples.parquet") == entry
    assert entry_with(home / "runs" / "a" / "examples.parquet") is None
