"""README's section on one's own model, as what it has a reader write and type. Runs nothing."""

import json
import re
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import yaml

README = Path(__file__).parents[2] / "README.md"
SECTION = "## Your own model and corpus\n"
_BLOCK = r"^( *)```{}\n(.*?)^\1```$"


class OwnModel(NamedTuple):
    """What the section says.

    Attributes:
        record: the record that it shows.
        params: what it has one write into params.yaml, by section.
        commands: what it has one type, in order.
    """

    record: dict[str, Any]
    params: dict[str, dict[str, Any]]
    commands: list[str]


def read_own_model() -> OwnModel:
    """The section's blocks of JSON, YAML and commands, of each of which there is one."""
    text = README.read_text(encoding="utf-8").split(SECTION)[1].split("\n## ")[0]
    [[record], [params], [commands]] = [
        [textwrap.dedent(block) for _, block in re.findall(_BLOCK.format(kind), text, re.MULTILINE | re.DOTALL)]
        for kind in ("json", "yaml", "sh")
    ]
    lines = [line.split("  #")[0].rstrip() for line in commands.splitlines()]
    return OwnModel(json.loads(record), yaml.safe_load(params), lines)


def write_params(defaults: Path, changes: list[dict[str, dict[str, Any]]], file: Path) -> None:
    """Write the defaults with these changes, as somebody does who edits params.yaml."""
    values = yaml.safe_load(defaults.read_text(encoding="utf-8"))
    for change in changes:
        _edit(values, change)
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def _edit(values: dict[str, Any], change: dict[str, Any]) -> None:
    for name, value in change.items():
        if isinstance(value, dict):
            _edit(values[name], value)
        else:
            values[name] = value
