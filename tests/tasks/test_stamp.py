"""Work is kept exactly while its inputs are the same and its outputs whole."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.stamp import Keeper, code_files, digest, stamped_outputs
from unilogit.files import sha256_file


class Work:
    """Counts how often it is done."""

    def __init__(self, folder, inputs="a"):
        self.folder, self.done = folder, 0
        self.output = folder / "made"
        self.keeper = Keeper(folder / "stamp.json", inputs, {"made": self.output, "absent": folder / "absent"}, int)

    def run(self):
        def work():
            self.done += 1
            self.output.mkdir(exist_ok=True)
            (self.output / "file").write_text("made")
            return 7

        return self.keeper.run(work)


def test_work_is_done_once(tmp_path):
    work = Work(tmp_path)
    assert [work.run(), work.run()] == [7, 7]
    assert work.done == 1
    assert stamped_outputs(tmp_path / "stamp.json") == {"made": digest(work.output), "absent": None}


def touch(folder):
    (folder / "made" / "file").write_text("changed")


def truncate(folder):
    (folder / "made" / "file").write_text("")


def remove(folder):
    (folder / "made" / "file").unlink()


def add(folder):
    (folder / "made" / "stray").write_text("")


def rename(folder):
    (folder / "made" / "file").rename(folder / "made" / "other")


def appear(folder):
    (folder / "absent").write_text("now it is there")


def break_stamp(folder):
    (folder / "stamp.json").write_text('{"schema_version": 1')


def newer_stamp(folder):
    text = (folder / "stamp.json").read_text()
    (folder / "stamp.json").write_text(text.replace('"schema_version": 1', '"schema_version": 2'))


@pytest.mark.parametrize("damage", [touch, truncate, remove, add, rename, appear, break_stamp, newer_stamp])
def test_what_is_not_whole_is_made_again(tmp_path, damage):
    Work(tmp_path).run()
    damage(tmp_path)
    again = Work(tmp_path)
    assert again.run() == 7
    assert again.done == 1


def test_a_change_of_the_same_size_and_time_is_seen_by_another_process(tmp_path):
    work = Work(tmp_path)
    work.run()
    file = work.output / "file"
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    file.write_text("mode")
    os.utime(file, ns=times)
    code = (
        "import sys; from pathlib import Path; from tasks.stamp import Keeper;"
        "folder = Path(sys.argv[1]);"
        "print(Keeper(folder / 'stamp.json', 'a', {'made': folder / 'made', 'absent': folder / 'absent'}, int).kept())"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"


def test_other_inputs_do_the_work_again_and_the_first_are_forgotten(tmp_path):
    Work(tmp_path).run()
    other = Work(tmp_path, "b")
    other.run()
    first = Work(tmp_path)
    first.run()
    assert (other.done, first.done) == (1, 1)


def test_work_that_fails_is_not_stamped(tmp_path):
    keeper = Keeper(tmp_path / "stamp.json", "a", {}, int)
    with pytest.raises(ZeroDivisionError):
        keeper.run(lambda: 1 // 0)
    assert keeper.kept() is None


def test_the_digest_of_a_folder_sees_names_and_bytes(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for folder in ("a", "b"):
        (tmp_path / folder / "x").write_text("1")
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "a" / "x")
    assert digest(tmp_path / "a" / "x") == sha256_file(tmp_path / "a" / "x")
    assert digest(tmp_path / "nowhere") is None


def test_code_is_what_a_module_imports_even_inside_functions():
    files = code_files("tasks.steps.gate")
    assert "tasks/steps/gate.py" in files
    assert "unilogit/gates.py" in files
    assert not [file for file in files if "training" in file or file in ("tasks/step.py", "tasks/workspace.py")]
    assert "unilogit/losses/unilogit.py" in code_files("tasks.steps.unlearn")  # by way of several functions
    assert "unilogit/training/trainer.py" not in code_files("tasks.steps.extract")
    assert "unilogit/training/trainer.py" not in code_files("unilogit.evaluation.attacks.measure")
    root = Path(__file__).parents[2]
    assert all((root / file).is_file() for file in files)
