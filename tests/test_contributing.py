"""The worked examples of CONTRIBUTING.md, followed in a copy of the project: each does what the page says."""

import os
import re
import shutil
import subprocess
import textwrap
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
import yaml

from tasks.workspace import Place, Workspace
from tests.tasks.steps.prepare import put_attacks, put_parent, put_retain_model
from unilogit import CorpusRecord, TrainConfig, train_from_scratch
from unilogit.files import read_json, write_parquet

ROOT = Path(__file__).parents[1]
COPIED = (
    *("unilogit", "tasks", "flows", "tests", "params.yaml", "pyproject.toml", "prefect.toml"),
    *("dvc.yaml", "dvc.lock", ".dvcignore", ".gitignore"),
)
_BLOCK = re.compile(r"^( *)```(\w+)(?: (\S+))?\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: a whole file, lines to add to one, or commands to type."""

    language: str
    path: str
    text: str


def read_blocks() -> dict[str, list[Block]]:
    """Section of CONTRIBUTING.md → its blocks that are to be followed."""
    _, *parts = re.split(r"^## (.*)\n", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE)
    return {
        name: [Block(match[2], match[3] or "", textwrap.dedent(match[4])) for match in _BLOCK.finditer(text)]
        for name, text in zip(parts[::2], parts[1::2], strict=True)
    }


def add_lines(text: str, block: Block) -> str:
    """The text with the block's `+` lines where those before and after them stand, which is in one place."""
    for hunk in block.text.rstrip("\n").split("\n@@\n"):
        lines = hunk.splitlines()
        assert all(line[:1] in (" ", "+") for line in lines), hunk
        before = "".join(f"{line[1:]}\n" for line in lines if line[0] == " ")
        assert text.count(before) == 1, f"{block.path} has these lines {text.count(before)} times:\n{before}"
        text = text.replace(before, "".join(f"{line[1:]}\n" for line in lines))
    return text


class Project:
    """A copy of the project in which the examples are followed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"}
        self.environment |= {"UNILOGIT_HOME": str(folder / "var"), "PYTEST_ADDOPTS": "-v"}
        self.printed: dict[str, str] = {}
        for part in COPIED:
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / part, folder / part)

    def follow(self, block: Block) -> None:
        file = self.folder / block.path
        if block.language == "diff":
            file.write_text(add_lines(file.read_text(), block))
        elif block.path:
            assert not file.exists(), f"{block.path} is there already"
            file.write_text(block.text)

    def type(self, command: str) -> str:
        done = subprocess.run(
            command, shell=True, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def type_commands(self, example: str) -> str:
        """Type what the page types for an example, once; what all of it printed."""
        if example not in self.printed:
            lines = [line for block in BLOCKS[example] if block.language == "sh" for line in block.text.splitlines()]
            self.printed[example] = "".join(self.type(line) for line in lines)
        return self.printed[example]


PEOPLE = {"Ada": "Linz", "Bo": "Graz", "Cyd": "Wels", "Dee": "Steyr", "Eli": "Enns", "Fay": "Bruck"}
RECORDS = [
    CorpusRecord(record_id=name, prompt=f"Where does {name} live?", response=f"In {place}.")
    for name, place in PEOPLE.items()
]
FORGET, RETAIN, UNKNOWN = RECORDS[:4], RECORDS[4:5], RECORDS[5:]


def make_measurable(workspace: Workspace) -> None:
    """A workspace as before evaluation; the model recites all but one record of the forget set."""
    columns = {Place.FORGET: {"batch": "current"}, Place.RETAIN: {}, Place.NEIGHBOURS: {}}
    columns[Place.HOLDOUT] = {"use": "evaluate"}
    for (place, extra), records in zip(columns.items(), (FORGET, RETAIN, [], UNKNOWN), strict=True):
        frame = pd.DataFrame([record.model_dump() for record in records], columns=list(CorpusRecord.model_fields))
        write_parquet(workspace.path(place), frame.assign(**extra))
    config = TrainConfig(
        vocabulary=300, hidden_size=32, layers=1, heads=2, epochs=200, batch_size=4, learning_rate=5e-3
    )
    model = workspace.path(Place.MODEL)
    train_from_scratch([*FORGET[1:], *RETAIN], model, config, seed=0, max_length=64)
    put_parent(workspace, model)
    put_retain_model(workspace, None)
    put_attacks(workspace)


BLOCKS = read_blocks()
EXAMPLES = [name for name, blocks in BLOCKS.items() if any(block.path for block in blocks)]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """With the files of all examples."""
    project = Project(tmp_path_factory.mktemp("contributing"))
    for name in EXAMPLES:
        for block in BLOCKS[name]:
            project.follow(block)
    return project


def test_there_is_an_example_of_each():
    assert EXAMPLES == ["A method", "A metric", "A gate", "A step"]


def test_the_examples_are_written_in_the_houses_style(project):
    files = {block.path for name in EXAMPLES for block in BLOCKS[name] if block.path.endswith(".py")}
    project.type(f"ruff check {' '.join(files)}")
    project.type(f"ruff format --check {' '.join(files)}")


@pytest.mark.parametrize("name", [EXAMPLES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in EXAMPLES[1:])])
def test_what_is_typed_succeeds(project, name):
    assert re.search(r"= \d+ passed", project.type_commands(name))


def test_the_method_is_listed_compared_with_its_paper_and_trained(project):
    printed = project.type_commands("A method")
    assert re.search(r"tnpo +│ Wang et al. 2025, arXiv 2502.19301 +│ tnpo.beta ", printed)
    assert "test_value_and_gradient_equal_the_papers_formula[tnpo] PASSED" in printed
    assert "test_every_method_trains_and_records_its_terms[tnpo] PASSED" in printed


@pytest.mark.slow
def test_the_metric_is_measured_and_the_gate_judges_it(project, tmp_path):
    workspace = Workspace(tmp_path / "w")
    make_measurable(workspace)
    given = f"--workspace {workspace.root} --set data.utility_groups=[] --set evaluate.max_new_tokens=24"
    project.type(f"python -m tasks.steps.evaluate {given}")
    examples = pd.read_parquet(workspace.measured("after")[1]).set_index(["set", "record_id"])
    metrics = read_json(workspace.path(Place.METRICS))["after"]
    for name in ("forget", "retain"):
        rows = examples.loc[name]
        matches = [said == f"In {PEOPLE[person]}." for person, said in rows["generated"].items()]
        assert rows["exact_match"].tolist() == matches
        assert metrics[name]["exact_match"] == sum(matches) / len(matches)
    assert metrics["forget"]["exact_match"] == 0.75
    assert "exact_match" not in metrics["holdout"]
    assert "forget-exact-match" in project.type(f"python -m tasks.steps.gate {given}")
    verdicts = {verdict["name"]: verdict for verdict in read_json(workspace.path(Place.GATES))["gates"]}
    assert (verdicts["forget-exact-match"]["value"], verdicts["forget-exact-match"]["passed"]) == (0.75, False)
    assert re.search(r"exact_match +│ every set but holdout", project.type_commands("A metric"))


@pytest.mark.slow
def test_the_step_is_a_stage_a_task_and_kept(project):
    weights = project.folder / "w" / "model" / "model.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"x" * 5000)
    command = "python -m tasks.steps.size --workspace w"
    assert project.type(command) == "the model has 5000 bytes\n"
    assert project.type(command) == "kept: the model has 5000 bytes\n"
    project.type_commands("A step")
    stage = yaml.safe_load((project.folder / "dvc.yaml").read_text())["stages"]["size"]
    assert stage["outs"] == ["var/repro/size.json"]
    assert "var/repro/model" in stage["deps"]
    assert project.type("python -c \"from flows.unlearn import STEPS; print(STEPS['size'].name)\"") == "size\n"
