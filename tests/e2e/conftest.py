"""A project folder of its own with a tiny customer directory, and the commands that people type in it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
PARTS = (
    *("params.yaml", "dvc.yaml", "prefect.yaml", "prefect.toml", ".gitignore", ".dvcignore", ".dvc/config"),
    *("mlflow", "flows"),
)
CODE = ("tasks", "unilogit")
TINY = {
    "example": {"people": 12, "unseen_people": 12},
    "train": {"hidden_size": 64, "epochs": 50},
    "unlearn": {"epochs": 25, "min_steps": 1, "learning_rate": 1.5e-3},
}
# A model that knows a dozen people has little to say about those that it forgot, and says it less fluently.
TINY_GATES = {"answers-in-full": 0.3, "fluent-answers": 8.0}


GATED_ATTACKS = "[relearning,quantisation,paraphrased_prompts,question_formats]"


class Project:
    """A folder in which commands run as a person would type them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "COLUMNS": "100",
        }
        for name in ("UNILOGIT_HOME", "UNILOGIT_LEDGER", "MLFLOW_TRACKING_URI", "PREFECT_API_URL", "PREFECT_HOME"):
            self.environment.pop(name, None)

    def run(self, *command: str, home: str | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**self.environment, **({"UNILOGIT_HOME": home} if home else {})}
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def succeed(self, *command: str, home: str | None = None) -> str:
        done = self.run(*command, home=home)
        assert done.returncode == 0, f"{' '.join(command)} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def change_params(self, **sections: dict) -> None:
        file = self.folder / "params.yaml"
        params = yaml.safe_load(file.read_text())
        for section, values in sections.items():
            params[section].update(values)
        file.write_text(yaml.safe_dump(params, sort_keys=False))

    def gates(self) -> list[dict]:
        return yaml.safe_load((self.folder / "params.yaml").read_text())["gates"]

    def change_gate(self, name: str, threshold: float) -> None:
        gates = self.gates()
        next(gate for gate in gates if gate["name"] == name).update(threshold=threshold, allowance=None)
        self._write_gates(gates)

    def drop_gate(self, name: str) -> None:
        self._write_gates([gate for gate in self.gates() if gate["name"] != name])

    def _write_gates(self, gates: list[dict]) -> None:
        file = self.folder / "params.yaml"
        params = yaml.safe_load(file.read_text())
        file.write_text(yaml.safe_dump({**params, "gates": gates}, sort_keys=False))


def make_project(folder: Path, *, with_code: bool = False) -> Project:
    for part in (*PARTS, *(CODE if with_code else ())):
        source, target = REPOSITORY / part, folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    project = Project(folder)
    project.change_params(**TINY)
    for name, threshold in TINY_GATES.items():
        project.change_gate(name, threshold)
    return project


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """A project in which `unilogit demo` has been run once; and what it printed."""
    project = make_project(tmp_path_factory.mktemp("demo"))
    return project, project.succeed("unilogit", "demo")
