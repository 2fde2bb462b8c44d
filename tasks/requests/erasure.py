"""Whether a file holds what is to be erased, and how that is taken out of it.

Knows files and rows; nothing of where they lie or of whose they are.
"""

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.requests.decoding import ROWS, columns, is_parquet, read_line, read_strings
from tasks.requests.traces import Traces
from unilogit.data.parquet_rows import row_batches
from unilogit.files import atomic_path

REQUEST_NAMES = ("request_id", "reference")  # columns that say which request a row is


@dataclass(frozen=True)
class Erasure:
    """What is to be erased.

    Attributes:
        records: their ids; a row of a table that has a column `record_id` is theirs by it.
        requests: ids and references; a row of a table with a column of these is theirs by it.
        traces: strings by which any row or file is theirs.
    """

    records: frozenset[str]
    requests: frozenset[str]
    traces: Traces

    def holds(self, file: Path) -> bool:
        """Whether a file holds any of it.

        Raises:
            OSError, sqlite3.Error, pa.ArrowException, ValueError: it cannot be read.
        """
        if is_parquet(file):
            return any(rows.any() for _, rows in self._marked(file))
        return any(self._stands_in(said) for said in read_strings(file))

    def rewrite(self, file: Path) -> None:
        """Take out of a file of Parquet, or of JSON lines, the rows that hold any of it; the others stay as they are.

        Its time stays, too, by which its age is told.
        """
        times = file.stat()
        with atomic_path(file) as temporary:
            if is_parquet(file):
                with pq.ParquetFile(file) as table:
                    schema, compression = table.schema_arrow, _compression(table)
                with pq.ParquetWriter(temporary, schema, compression=compression) as writer:
                    for batch, rows in self._marked(file):
                        if not rows.all():
                            writer.write_batch(batch.filter(pa.array(~rows)))
            else:
                with open(file, "rb") as lines, open(temporary, "wb") as stream:
                    stream.writelines(line for line in lines if not self._stands_in(read_line(line)))
            os.utime(temporary, ns=(times.st_atime_ns, times.st_mtime_ns))

    def left_alone(self, file: Path) -> Iterator[pa.RecordBatch]:
        """The rows of a table that are not theirs by their ids, whatever they hold."""
        for batch, rows in self._marked(file, by_traces=False):
            yield batch.filter(pa.array(~rows))

    def _stands_in(self, said: list[str]) -> bool:
        return next(self.traces.find(said), None) is not None

    def _marked(self, file: Path, *, by_traces: bool = True) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
        """Every batch of a table's rows, and which of them are to be erased: bool [rows]."""
        names: dict[str, Collection[str]] = {"record_id": self.records}
        names.update(dict.fromkeys(REQUEST_NAMES, self.requests))
        with pq.ParquetFile(file) as table:
            for batch in row_batches(table, ROWS):
                marked = np.zeros(batch.num_rows, dtype=bool)
                for name, wanted in names.items():
                    if name in batch.schema.names:
                        marked |= _is_one(batch.column(name), wanted)
                for said, rows in columns(batch) if by_traces else ():
                    for place, _ in self.traces.find(said):
                        marked[rows[place]] = True
                yield batch, marked


def _is_one(column: pa.Array, wanted: Collection[str]) -> np.ndarray:
    cells = column.cast(pa.string())
    is_one: np.ndarray = pc.is_in(cells, value_set=pa.array(list(wanted), pa.string())).to_numpy(zero_copy_only=False)
    return is_one


def _compression(table: pq.ParquetFile) -> str:
    metadata = table.metadata
    has_columns = metadata.num_row_groups and metadata.num_columns
    name = metadata.row_group(0).column(0).compression if has_columns else "SNAPPY"
    return "NONE" if name == "UNCOMPRESSED" else str(name)
