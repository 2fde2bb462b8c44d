"""The steps as stages of DVC: `unilogit dvc` writes dvc.yaml from what they declare.

Knows which file of a workspace is a metric or a plot to DVC; nothing of what steps do.
"""

from pathlib import Path

import yaml

from tasks.params import Params
from tasks.stamp import code_files
from tasks.step import Source, Step
from tasks.steps import NAMES, load_step
from tasks.steps.example import example_workspace
from tasks.workspace import Place, Workspace
from unilogit.errors import InputError
from unilogit.files import write_text

FILE = Path("dvc.yaml")
WORKSPACE = Workspace(Path("var/repro"))
_HEAD = """\
# The steps of tasks/steps/ as stages: `dvc repro` runs what changed since the last time.
# Written by `unilogit dvc` from what the steps declare; type that again after a change of a step or of a path in
# params.yaml. Without a ledger: the batch is every good row of data.requests, and the parent is model.base.
"""
_OF_THE_EXAMPLE = ("example", "train")
_NO_STAGE = ("store",)  # DVC versions what stages make by itself
_METRICS, _PLOTS = (Place.METRICS,), (Place.PLOTS,)


def write_stages(params: Params, file: Path = FILE) -> str:
    """Write dvc.yaml; what was written, in a line."""
    text = stages(params)
    write_text(file, text)
    return f"{file}: {text.count('desc:')} stages. Next: dvc repro"


def stages(params: Params) -> str:
    """The text of dvc.yaml; with data of one's own it has no stages that make the example."""
    try:
        example = example_workspace(params)
    except InputError:
        example = None
    left_out = _NO_STAGE if example else (*_NO_STAGE, *_OF_THE_EXAMPLE)
    curves = WORKSPACE.path(Place.LOSS_CURVES)
    content = {
        "plots": [{"loss of unlearning": {"x": "step", "y": {str(curves): ["forget_loss", "retain_loss"]}}}],
        "stages": {
            name: _stage(load_step(name), example if example and name in _OF_THE_EXAMPLE else WORKSPACE, params)
            for name in NAMES
            if name not in left_out
        },
    }
    return _HEAD + "\n" + yaml.safe_dump(content, sort_keys=False, width=110, allow_unicode=True)


def _stage(step: Step[object], workspace: Workspace, params: Params) -> dict[str, object]:
    written = [place for place in step.writes if place not in (*_METRICS, *_PLOTS, *_absent(params))]
    stage: dict[str, object] = {
        "desc": step.summary,
        "cmd": f"python -m {step.module} --workspace {workspace.root}",
        "deps": [*_paths(step.reads, workspace, params), *code_paths(step.module)],
    }
    if step.params:
        stage["params"] = list(step.params)
    stage["outs"] = [str(workspace.path(place)) for place in written]
    if metrics := [{str(workspace.path(place)): {"cache": False}} for place in step.writes if place in _METRICS]:
        stage["metrics"] = metrics
    if plots := [str(workspace.path(place)) for place in step.writes if place in _PLOTS]:
        stage["plots"] = plots
    return stage


def _absent(params: Params) -> list[Place]:
    """What a step writes in some cases only, and not in this one: DVC wants every output to be there."""
    no_retain_model = [] if params.model.retain == "train" else [Place.RETAIN_MODEL_FILES]
    return [Place.PARENT_FILES, *no_retain_model]


def code_paths(module: str) -> list[str]:
    """The source files that a module runs; a folder in place of all its files."""
    files = {Path(file) for file in code_files(module)}
    folders = {folder for file in files for folder in file.parents if folder.parts}
    whole = {folder for folder in folders if set(folder.rglob("*.py")) <= files}
    paths = {next((folder for folder in reversed(file.parents) if folder in whole), file) for file in files}
    return sorted(str(path) for path in paths)


def _paths(places: tuple[Place | Source, ...], workspace: Workspace, params: Params) -> list[str]:
    """A source that is no path (null, a hub name, `train`) is a parameter alone."""
    paths = []
    for place in places:
        if isinstance(place, Place):
            paths.append(str(workspace.path(place)))
        elif path := place.path_in(params):
            paths.append(path)
    return paths
