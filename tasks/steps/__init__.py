"""The steps, a file each, in the order in which they run; `python -m tasks.steps.<step>` runs one alone."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.step import Step
    from tasks.workspace import Place

NAMES = (
    "example",
    "train",
    "intake",
    "validate",
    "extract",
    "store",
    "parent",
    "familiarity",
    "retain_model",
    "targets",
    "unlearn",
    "attack",
    "evaluate",
    "gate",
    "register",
)


def load_step(name: str) -> "Step[object]":
    """The declaration in a step's module: its STEP."""
    step: Step[object] = import_module(f"tasks.steps.{name}").STEP
    return step


def step_that_writes(place: "Place") -> str | None:
    """The name of the step that fills a place, itself or with the folder it lies in."""
    for name in (*NAMES[2:], *NAMES[:2]):  # the example's own folder has places of the same names
        if any(place == written or place.startswith(f"{written}/") for written in load_step(name).writes):
            return name
    return None
