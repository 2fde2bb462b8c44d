"""The steps as stages of DVC: `unilogit dvc` writes dvc.yaml from what they declare.

Knows which file of a workspace is a plot to DVC, and that the last stage writes what DVC compares (tasks/summary.py);
nothing of what steps do.
"""

import subprocess
from pathlib import Path

import yaml

from tasks.params import Params
from tasks.stamp import code_files
from tasks.step import Source, Step
from tasks.steps import NAMES, load_step
from tasks.steps.example import example_workspace
from tasks.summary import CURVE, FOLDER, NUMBERS
from tasks.workspace import Place, Workspace
from unilogit.adapters import CONFIG, base_folder
from unilogit.data.locations import is_url
from unilogit.errors import InputError
from unilogit.files import write_text

FILE = Path("dvc.yaml")
_CODE = Path(__file__).parents[1]
WORKSPACE = Workspace(Path("var/repro"))
_HEAD = """\
# The steps of tasks/steps/ as stages: `dvc repro` runs what changed since the last time.
# Written by `unilogit dvc` from what the steps declare; type that again after a change of a step or of a path in
# params.yaml. Without a ledger: the batch is every good row of data.requests, and the parent is model.base.
"""
_OF_THE_EXAMPLE = ("example", "train")
_NO_STAGE = ("store",)  # DVC versions what stages make by itself
_PLOTS = (Place.PLOTS,)
_DOCS = (Place.REQUEST_DOCS, Place.CORPUS_DOCS, Place.CORPUS_TOTALS_DOCS, Place.REFERENCE_DOCS)
LEFT_OUT = (Place.PARENT_FILES, Place.START_FILES, *_DOCS)
"""What is no output to DVC: models lie where they are, and pages show a file's time: no two are the same."""


def write_stages(params: Params, file: Path = FILE) -> str:
    """Write dvc.yaml; what was written, and a warning for each source that an experiment would commit to git.

    Raises:
        InputError: a source lies where DVC does not look: its changes would go unnoticed; or DVC cannot work here.
    """
    text = stages(params)
    paths = {source: path for source in Source if (path := source.path_in(params)) and not is_url(path)}
    if ignored := _ignored_by_dvc(list(paths.values())):
        raise InputError(
            *(
                f"{source}: {path} lies where DVC does not look (.dvcignore), and so would not notice a change; copy it"
                " elsewhere"
                for source, path in paths.items()
                if path in ignored
            )
        )
    write_text(file, text)
    warnings = [
        f"warning: {source}: git sees {path}, so `dvc exp run` commits it; `dvc add` it, or name it in .gitignore\n"
        for source, path in paths.items()
        if _is_seen_by_git(path)
    ]
    return f"{''.join(warnings)}{file}: {text.count('desc:')} stages. Next: dvc repro"


def _ignored_by_dvc(paths: list[str]) -> set[str]:
    """Those that .dvcignore hides; none where the current folder is no DVC repository."""
    if not Path(".dvc").is_dir():
        return set()
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repository:
            hides = repository.dvcignore.is_ignored
            return {path for path in paths if hides(repository.fs, str(Path(path).absolute()), ignore_subrepos=False)}
    except DvcException as error:
        raise InputError(
            f"DVC cannot work in this folder ({error}); type `git init` where it is no git repository, or correct"
            " .dvc/config"
        ) from error


def _is_seen_by_git(path: str) -> bool:
    """Whether git would add it; not without git, nor outside of the project, nor if DVC tracks it."""
    asked = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", path]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    except OSError:
        return False
    return answer.returncode == 0 and bool(answer.stdout)


def stages(params: Params) -> str:
    """The text of dvc.yaml; with data of one's own it has no stages that make the example."""
    try:
        example = example_workspace(params)
    except InputError:
        example = None
    left_out = _NO_STAGE if example else (*_NO_STAGE, *_OF_THE_EXAMPLE)
    curves = {str(FOLDER / CURVE): ["forget_loss", "retain_loss"]}
    content = {
        "plots": [{"loss of unlearning": {"x": "step", "y": curves}}],
        "stages": {
            name: _stage(load_step(name), example if example and name in _OF_THE_EXAMPLE else WORKSPACE, params)
            for name in NAMES
            if name not in left_out
        }
        | {"summary": _summary()},
    }
    return _HEAD + "\n" + yaml.safe_dump(content, sort_keys=False, width=110, allow_unicode=True)


def _stage(step: Step[object], workspace: Workspace, params: Params) -> dict[str, object]:
    written = [place for place in step.writes if place not in (*LEFT_OUT, *_PLOTS)]
    stage: dict[str, object] = {
        "desc": step.summary,
        "cmd": f"python -m {step.module} --workspace {workspace.root}",
        "deps": [*_paths(step.reads, workspace, params), *code_paths(step.module)],
    }
    if step.params:
        stage["params"] = list(step.params)
    stage["outs"] = [str(workspace.path(place)) for place in written]
    if plots := [str(workspace.path(place)) for place in step.writes if place in _PLOTS]:
        stage["plots"] = plots
    return stage


def _summary() -> dict[str, object]:
    """The stage of what DVC compares. Its outputs stay out of DVC's cache, for git to keep them."""
    places = [str(WORKSPACE.path(place)) for place in (Place.GATES, Place.METRICS, Place.LOSS_CURVES)]
    return {
        "desc": "Write the numbers and the loss curve that DVC compares, where git sees them.",
        "cmd": f"python -m tasks.summary --workspace {WORKSPACE.root}",
        "deps": [*places, *code_paths("tasks.summary")],
        "outs": [{str(FOLDER / CURVE): {"cache": False}}],
        "metrics": [{str(FOLDER / NUMBERS): {"cache": False}}],
    }


def code_paths(module: str) -> list[str]:
    """The source files that a module runs, less empty ones, of which DVC warns; a folder in place of all its files."""
    files = {_CODE / file for file in code_files(module)}
    folders = {folder for file in files for folder in file.parents if _CODE in folder.parents}
    whole = {folder for folder in folders if set(folder.rglob("*.py")) <= files}
    paths = {next((folder for folder in reversed(file.parents) if folder in whole), file) for file in files}
    return sorted(str(path.relative_to(_CODE)) for path in paths if path.stat().st_size)


def _paths(places: tuple[Place | Source, ...], workspace: Workspace, params: Params) -> list[str]:
    """A source that is no path (null, a hub name, `train`) is a parameter alone."""
    paths = []
    for place in places:
        if isinstance(place, Place):
            paths.append(str(workspace.path(place)))
        elif path := place.path_in(params):
            paths.append(path)
            if base := base_folder(Path(path) / CONFIG):  # of an adapter
                paths.append(str(base))
    return list(dict.fromkeys(paths))
