"""The numbers of a workspace as MLflow has them: which metric, at which step and time, measured on which set.

Their times do not change however often they are logged, so that repeating it adds nothing. MLflow is imported inside
functions.
"""

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import JsonValue

from tasks.curves import Entry, read_curves
from tasks.params import Params
from tasks.report.review import flatten, numbers
from tasks.sets import PARENT, RETAIN_MODEL, UNLEARNED
from tasks.workspace import Metrics, Place, Training, Workspace

if TYPE_CHECKING:
    from mlflow.entities import Metric, Param

FORGET, RETAIN, NEIGHBOURS, HOLDOUT = "forget", "retain", "neighbours", "holdout"
_SETS = {  # first part of a metric's name → the set it is measured on, where that is not the forget set
    **dict.fromkeys(("retain", "retain_loss", "retain_probability", "retained", "model_utility"), RETAIN),
    **dict.fromkeys(("holdout", "unseen_nll"), HOLDOUT),
    "neighbours": NEIGHBOURS,
    **dict.fromkeys(("general", "lm_eval"), ""),  # measured on no set of the batch's
}
_LONGEST_KEY = 250  # that MLflow takes


def param_points(params: Params) -> list["Param"]:
    """Every knob, and each gate as one."""
    from mlflow.entities import Param

    gates = {f"gates.{gate.name}": f"{gate} ({gate.scope})" for gate in params.gates}
    values = {key: value for key, value in flatten(params.shown()).items() if key != "gates"}
    return [Param(_key(key), str(value)) for key, value in {**values, **gates}.items()]


def live_points(entries: list[Entry]) -> list["Metric"]:
    """What was logged while the model was trained."""
    return [_point(name, value, entry.time, entry.step) for entry in entries for name, value in entry.figures.items()]


def run_points(workspace: Workspace, start: int) -> list["Metric"]:
    """The history of training by step, and every number of the three models: of the unlearned one at the last step.

    Args:
        start: of the run, in milliseconds: the time of what nobody noted the time of.
    """
    history, metrics = _history(workspace, start), workspace.read(Metrics)
    models = {PARENT: metrics.before, RETAIN_MODEL: metrics.retain_model or {}}
    compared = [point for role, model in models.items() for point in _measured(role, model, _end(history, start), 0)]
    return [*history, *compared, *_after(workspace, history, start)]


def model_points(workspace: Workspace, start: int, params: Params) -> list[tuple["Metric", str]]:
    """What there is to say of the unlearned model, each with its set: one number for each metric.

    Of the history of training it is the last one: a model is not what it was before it forgot.
    """
    history = _history(workspace, start)
    last = {point.key: point for point in sorted(history, key=lambda point: int(point.step))}
    last |= {point.key: point for point in _after(workspace, history, start)}
    sets = {_key(group): RETAIN for group in params.data.utility_groups} | _SETS
    names = {key: key.removeprefix(f"{UNLEARNED}.").partition(".")[0] for key in last}
    return [(point, sets.get(names[key], FORGET)) for key, point in last.items()]


def _history(workspace: Workspace, start: int) -> list["Metric"]:
    """What was logged live is as it was logged; a history without that, as of another machine, is at `start`."""
    live = {
        (entry.step, name): (value, entry.time)
        for entry in read_curves(workspace.path(Place.CURVES))
        for name, value in entry.figures.items()
    }
    points = []
    for entry in workspace.read(Training).history:
        for name, value in entry.items():
            if "step" in entry and name not in ("step", "epoch") and math.isfinite(value):
                step = int(entry["step"])
                points.append(_point(name, *live.get((step, name), (value, start)), step))
    return points


def _after(workspace: Workspace, history: list["Metric"], start: int) -> list["Metric"]:
    return _measured(UNLEARNED, workspace.read(Metrics).after, _end(history, start), workspace.read(Training).steps)


def _end(history: list["Metric"], start: int) -> int:
    return max((int(point.timestamp) for point in history), default=start)


def _measured(role: str, model: Mapping[str, JsonValue], time: int, step: int) -> list["Metric"]:
    """Every number that there is of a model."""
    values = numbers({role: dict(model)})
    return [
        _point(path, value, time, step) for path, value in values.items() if value is not None and math.isfinite(value)
    ]


def _point(name: str, value: float, time: int, step: int) -> "Metric":
    from mlflow.entities import Metric

    return Metric(_key(name), float(value), time, step)


def _key(name: str) -> str:
    """`name` as MLflow allows it, with other signs than letters, digits and `_-. :/` by their code points."""
    return re.sub(r"[^\w. :/-]", lambda sign: f"_{ord(sign[0]):x}_", name)[:_LONGEST_KEY]
