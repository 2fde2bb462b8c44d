"""Step: take in deletion requests: rows that can be read go on, others are set aside with their reasons.

What the rows say is judged by the next step, tasks/validate.py.
"""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.command import run_command
from unilogit.data.request_files import FIELDS, read_requests, request_files
from unilogit.files import atomic_path, sha256_file, write_text

UNREADABLE = "unreadable_requests.jsonl"
SCHEMA = pa.schema(
    [(name, pa.list_(pa.string()) if name == "record_ids" else pa.string()) for name in FIELDS]
    + [("file", pa.string()), ("file_sha256", pa.string()), ("row", pa.int64())]
)


@dataclass(frozen=True)
class IntakeSummary:
    """How many files there were, how many rows could be read, and how many could not."""

    files: int
    read: int
    unreadable: int

    def __str__(self) -> str:
        aside = f" (set aside in {UNREADABLE})" if self.unreadable else ""
        return f"files: {self.files}; request rows read: {self.read}; unreadable: {self.unreadable}{aside}"


def run_intake(requests: Path, workspace: Path) -> IntakeSummary:
    """Take deletion requests from a CSV, JSON lines or Parquet file, or a folder of them, into a workspace.

    Writes requests.parquet (fields as given, and where each row stands) and unreadable_requests.jsonl.

    Raises:
        InputError: a file is missing, empty, of an unknown kind, or lacks a required column.
    """
    digests = {file.name: sha256_file(file) for file in request_files(requests)}
    rows, rejections = read_requests(requests)
    write_text(workspace / UNREADABLE, "".join(f"{rejection.model_dump_json()}\n" for rejection in rejections))
    table = pa.Table.from_pylist(
        [{**row.fields, "file": row.file, "file_sha256": digests[row.file], "row": row.row} for row in rows],
        schema=SCHEMA,
    )
    with atomic_path(workspace / "requests.parquet") as temporary:
        pq.write_table(table, temporary)
    return IntakeSummary(files=len(digests), read=len(rows), unreadable=len(rejections))


if __name__ == "__main__":
    run_command(run_intake)
