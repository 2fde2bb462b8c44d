"""A step is declared once; its Prefect task, its command, its DVC stage and what a killed run keeps all follow.

Knows nothing of what any step does.
"""

import inspect
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Generic, TypeVar, get_type_hints

import typer

from tasks.bad_input import tells_bad_input
from tasks.command import run_command
from tasks.outcome import Outcome, as_task
from tasks.params import DEFAULT_PARAMS, Params, load_params
from tasks.stamp import Keeper, code_digest, digest, stamped_outputs
from tasks.steps import step_that_writes
from tasks.workspace import Place, Workspace
from unilogit.data.locations import fingerprint, is_url
from unilogit.errors import InputError
from unilogit.files import Json, atomic_folder, atomic_path

if TYPE_CHECKING:
    from prefect import Task

Result = TypeVar("Result")

ParamsFile = Annotated[Path, typer.Option("--params", help="The file with every knob.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override one knob: section.key=value. May be repeated.")
]
_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


class Source(StrEnum):
    """Something outside the workspace that params.yaml names, by its key there."""

    CORPUS = "data.corpus"
    REQUESTS = "data.requests"
    HOLDOUT = "data.holdout"
    BASE = "model.base"
    PRETRAINED = "model.pretrained"
    RETAIN_MODEL = "model.retain"

    def path_in(self, params: Params) -> str | None:
        """The path that params.yaml names; None for null, a hub name or the word `train`."""
        value = params.value(self)
        if value is None or value == "train":
            return None
        path = str(value)
        return path if self.startswith("data.") or Path(path).exists() or not _HUB_NAME.fullmatch(path) else None


@dataclass(frozen=True)
class Step(Generic[Result]):
    """One step of the pipeline.

    Attributes:
        name: its module in tasks/steps/, its stage in dvc.yaml.
        function: does it; its docstring's first sentence says what. What it returns is kept with the stamp.
        reads: what must be there before; a Source may be absent (a hub name, null).
        writes: what is there afterwards.
        params: the sections or keys of params.yaml that it depends on.
        retries: for steps that talk to servers: how often what may pass is tried again, with growing pauses.
        timeout: seconds after which it is given up in a flow; the next run goes on from there.
    """

    name: str
    function: Callable[[Workspace, Params], Result]
    reads: tuple[Place | Source, ...]
    writes: tuple[Place, ...]
    params: tuple[str, ...] = ()
    retries: int = 0
    timeout: float = 48 * 3600

    @property
    def module(self) -> str:
        return f"tasks.steps.{self.name}"

    @property
    def summary(self) -> str:
        return (inspect.getdoc(self.function) or "").split("\n\n")[0].replace("\n", " ")

    def run(self, workspace: Workspace, params: Params, once: bool = False) -> Outcome[Result]:
        """Do the step, unless an earlier call with the same inputs has done it and what it made is still whole.

        Args:
            once: keep what an earlier call made even if its inputs have changed since.

        Raises:
            InputError: a step before it has not been run yet, or its input cannot be used.
        """
        keeper = self.keeper(workspace, params)
        if kept := keeper.kept(whatever_inputs=once):
            return Outcome(kept.result, kept=True)
        for place in self.reads:
            if isinstance(place, Place) and not workspace.has(place):
                raise InputError(_missing(place, workspace))
        if _is_first_process():
            workspace.sweep()
        result = self.function(workspace, params)
        if _is_first_process():
            keeper.done(result)
        return Outcome(result, kept=False)

    def take_over(self, workspace: Workspace, params: Params, earlier: Workspace) -> bool:
        """Copy what the step made in another workspace, if from the same inputs and still whole; whether it was so."""
        keeper, made = self.keeper(workspace, params), self.keeper(earlier, params)
        kept = made.kept() if made.inputs == keeper.inputs else None
        if kept is None:
            return False
        for place in self.writes:
            source, target = earlier.path(place), workspace.path(place)
            if source.is_dir():
                with atomic_folder(target) as folder:
                    shutil.copytree(source, folder, dirs_exist_ok=True)
            elif source.exists():
                with atomic_path(target) as file:
                    shutil.copyfile(source, file)
        keeper.done(kept.result)
        return True

    def keeper(self, workspace: Workspace, params: Params) -> Keeper[Result]:
        inputs: Json = {
            "code": code_digest(self.module),
            "params": {key: params.value(key) for key in self.params},
            "reads": {str(place): _digest(place, workspace, params) for place in self.reads},
        }
        return Keeper(
            _stamp_file(workspace, self.name),
            inputs,
            {str(place): workspace.path(place) for place in self.writes},
            get_type_hints(self.function)["return"],
        )

    def stamped_outputs(self, workspace: Workspace) -> dict[str, str | None]:
        """Place → digest of what the last finished run of the step made; empty where there was none."""
        return stamped_outputs(_stamp_file(workspace, self.name))

    def task(self) -> "Task[[Workspace, Params, bool], Outcome[Result]]":
        """The step as a Prefect task; a step that was kept shows as `Kept`."""
        name = self.name.replace("_", " ")
        run_name = f"{name} {{workspace.root.name}}"
        return as_task(self.run, name, run_name=run_name, retries=self.retries, timeout=self.timeout)

    def command(self) -> None:
        """Run the step with the command line's options; print what it returned, or an error a line and exit 2."""

        def command(
            workspace: Annotated[Path, typer.Option(help="The folder of the run; made when it is not there.")],
            params: ParamsFile = DEFAULT_PARAMS,
            set_: Overrides = None,
        ) -> None:
            _make_folder(workspace)
            outcome = self.run(Workspace(workspace), load_params(params, set_))
            if _is_first_process():
                typer.echo(str(outcome))

        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command(help=self.summary)(tells_bad_input(command))
        run_command(lambda: app(prog_name=f"python -m {self.module}"))


def _missing(place: Place, workspace: Workspace) -> str:
    writer = step_that_writes(place)
    remedy = f"; run `python -m tasks.steps.{writer} --workspace {workspace.root}` first" if writer else ""
    return f"{workspace.path(place)}: no such file{remedy}"


def _stamp_file(workspace: Workspace, name: str) -> Path:
    return workspace.path(Place.STAMPS, f"{name}.json")


def _digest(place: Place | Source, workspace: Workspace, params: Params) -> str | None:
    if isinstance(place, Place):
        return digest(workspace.path(place))
    path = place.path_in(params)
    if path and is_url(path):
        return fingerprint(path)
    return digest(Path(path)) if path else str(params.value(place))


def _is_first_process() -> bool:
    """Of the processes that share a step, one cleans up, stamps and speaks."""
    return os.environ.get("RANK", "0") == "0"


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be made a folder ({error.strerror}); choose another --workspace") from error
