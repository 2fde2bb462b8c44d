"""What tests of the step `intake` share."""

import csv
import json

import pandas as pd

from tasks.params import load_params
from tasks.steps.intake import run_intake
from unilogit.data.request_fields import FIELDS

TIME = "2025-03-01T12:00:00Z"
SECRET = "Odalys Quenneville"
ASKS = {"received_at": TIME, "subject_id": SECRET}
REPEATED = "field `request_id` repeats that of {}; give it one of its own or remove the line"


def write(path, *lines):
    """A request file as the standard library and pandas make it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pd.DataFrame(lines).to_parquet(path)
    elif path.suffix == ".csv":
        with open(path, "w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, FIELDS)
            writer.writeheader()
            writer.writerows({**line, "record_ids": ";".join(line.get("record_ids", []))} for line in lines)
    else:
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


def take_in(path, workspace, *settings):
    return run_intake(workspace, load_params("params.yaml", [f"data.requests={path}", *settings]))


def contents(workspace):
    """Every file by name; of Data Docs, which show when they were drawn, only that they are there."""
    files = [file.relative_to(workspace.root) for file in workspace.root.rglob("*") if file.is_file()]
    return {file: file.parts[0] == "data_docs" or (workspace.root / file).read_bytes() for file in files}
