"""The retained records that read most like the forgotten ones: what unlearning endangers first.

Knows Parquet files of corpus records and their texts. Knows nothing of subjects, requests or models.

Likeness is the cosine of TF-IDF vectors over runs of 2 to 4 characters between spaces (scikit-learn's `char_wb`), in
normal form, of a record's prompt and response; so it needs neither a language's words nor exact spelling. With n
records in both files, d of which have a run, a run that a text has f times weighs f · (1 + ln((1 + n) / (1 + d))).
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.preprocessing import normalize

from unilogit.data.parquet_rows import row_batches, rows_at, sample_rows
from unilogit.data.text import normal_form
from unilogit.errors import InputError
from unilogit.files import atomic_path

FORGET_SAMPLE, RETAIN_SAMPLE = 1_000, 50_000  # records between which neighbours are looked for
_CHUNK = 1024  # records of either file that are compared at once: bounds memory, not the result
_COUNTER = HashingVectorizer(
    preprocessor=normal_form,
    analyzer="char_wb",
    ngram_range=(2, 4),
    n_features=1 << 20,
    alternate_sign=False,
    norm=None,
)
_TEXT = ("prompt", "response")


def find_neighbours(
    forget: Path,
    retain: Path,
    output: Path,
    per_record: int,
    *,
    seed: int = 0,
    forget_sample: int = FORGET_SAMPLE,
    retain_sample: int = RETAIN_SAMPLE,
) -> int:
    """Write the retained records that are among the nearest of some forgotten one.

    Of large files, neighbours of a sample are looked for in a sample, so that time and memory have a bound. The records
    are streamed, three times; memory grows with the forget set's and per_record alone.

    Args:
        forget, retain: Parquet files with the columns prompt and response, and any others.
        output: the Parquet file to write: rows of `retain`, in its order, with its columns and `similarity`, float64 in
            (0, 1]: the highest to any forgotten record.
        per_record: how many are the nearest of each forgotten record, 0 for none; of equally near ones, the first. A
            record that has no run of characters in common with it is never one of them.
        seed: of the samples.
        forget_sample, retain_sample: how many records of each file at the most.

    Returns:
        How many rows were written.

    Raises:
        InputError: a file cannot be read or lacks a column, or the disk is full.
    """
    with _open(retain) as parquet:
        schema = parquet.schema_arrow.append(pa.field("similarity", pa.float64()))
    count = 0
    with (
        atomic_path(output) as temporary,
        pq.ParquetWriter(temporary, schema) as writer,
        _sampled(forget, forget_sample, seed, output) as some_forgotten,
        _sampled(retain, retain_sample, seed, output) as some_retained,
    ):
        for rows in _neighbours(some_forgotten, some_retained, per_record) if per_record else ():
            writer.write_batch(rows)
            count += rows.num_rows
    return count


@contextmanager
def _sampled(file: Path, wanted: int, seed: int, output: Path) -> Iterator[Path]:
    """A file with a sample of the records, beside `output`; the file itself where that is all of them."""
    with _open(file) as parquet:
        total, schema = parquet.metadata.num_rows, parquet.schema_arrow
    if total <= wanted:
        yield file
        return
    with TemporaryDirectory(prefix=".sampled.", dir=output.parent) as folder:
        sample = Path(folder, "sample.parquet")
        with pq.ParquetWriter(sample, schema) as writer:
            for rows in rows_at(file, sample_rows(total, wanted, seed)):
                writer.write_batch(rows)
        yield sample


def _neighbours(forget: Path, retain: Path, per_record: int) -> Iterator[pa.RecordBatch]:
    """What `find_neighbours` writes, in parts."""
    weights = _run_weights(forget, retain)
    forgotten = [_vectors(chunk, weights) for chunk in _chunks(forget)]
    nearest = _nearest_rows(forgotten, retain, weights, per_record)
    for first_row, chunk in _numbered(_chunks(retain, every_column=True)):
        places = nearest[(nearest >= first_row) & (nearest < first_row + chunk.num_rows)] - first_row
        if len(places):
            rows = chunk.take(pa.array(places))
            vectors = _vectors(rows, weights)
            similarity = np.max([_similarity(vectors, block).max(axis=1) for block in forgotten], axis=0)
            yield rows.append_column("similarity", pa.array(similarity))


@contextmanager
def _open(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as parquet:
            for name in _TEXT:
                if name not in parquet.schema_arrow.names:
                    raise InputError(f"{path}: has no column `{name}`; write it with the columns of a corpus")
            yield parquet
    except (FileNotFoundError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as Parquet ({error}); write the file again") from error


def _chunks(path: Path, every_column: bool = False) -> Iterator[pa.RecordBatch]:
    with _open(path) as parquet:
        yield from row_batches(parquet, _CHUNK, None if every_column else _TEXT)


def _numbered(chunks: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Each chunk after the number of its first row."""
    first_row = 0
    for chunk in chunks:
        yield first_row, chunk
        first_row += chunk.num_rows


def _run_counts(chunk: pa.RecordBatch) -> csr_matrix:
    """How often each text has each run of characters: float64 [records, runs]."""
    prompts, responses = (chunk.column(name).to_pylist() for name in _TEXT)
    return _COUNTER.transform([f"{prompt}\n{response}" for prompt, response in zip(prompts, responses, strict=True)])


def _run_weights(*paths: Path) -> np.ndarray:
    """What a run weighs in a text that has it once: float64 [runs]."""
    n_records, n_with_run = 0, np.zeros(_COUNTER.n_features, dtype=np.int64)
    for path in paths:
        for chunk in _chunks(path):
            n_records += chunk.num_rows
            n_with_run += np.bincount(_run_counts(chunk).indices, minlength=len(n_with_run))
    weights: np.ndarray = 1 + np.log((1 + n_records) / (1 + n_with_run))
    return weights


def _vectors(chunk: pa.RecordBatch, weights: np.ndarray) -> csr_matrix:
    """TF-IDF vectors of length 1: float64 [records, runs]."""
    vectors = _run_counts(chunk)
    vectors.data *= weights[vectors.indices]
    return normalize(vectors, copy=False)


def _similarity(left: csr_matrix, right: csr_matrix) -> np.ndarray:
    """Cosine of each vector with each other one: float64 [left, right], in [0, 1]."""
    return np.minimum((left @ right.T).toarray(), 1.0)


def _nearest_rows(forgotten: Sequence[csr_matrix], retain: Path, weights: np.ndarray, per_record: int) -> np.ndarray:
    """Numbers of the retain file's rows, int64, ascending: the nearest of each forgotten vector."""
    shapes = [(block.shape[0], per_record) for block in forgotten]
    best, rows = [np.zeros(shape) for shape in shapes], [np.full(shape, -1) for shape in shapes]
    for first_row, chunk in _numbered(_chunks(retain)):
        vectors = _vectors(chunk, weights)
        for block, block_best, block_rows in zip(forgotten, best, rows, strict=True):
            _keep_best(block_best, block_rows, _similarity(block, vectors), first_row)
    return np.unique(np.concatenate([np.empty(0, dtype=np.int64), *(numbers[numbers >= 0] for numbers in rows)]))


def _keep_best(best: np.ndarray, rows: np.ndarray, similarity: np.ndarray, first_row: int) -> None:
    """Bring the best of each line up to date with the next columns of a matrix; of equal ones, the first stays.

    Args:
        best, rows: [lines, per_record], changed in place: the highest similarities so far, descending, and the
            columns that they stand in; 0 and −1 where there are no more above 0.
        similarity: [lines, columns].
        first_row: number of its first column.
    """
    lines = np.flatnonzero(similarity.max(axis=1) > best[:, -1])
    numbers = np.broadcast_to(np.arange(first_row, first_row + similarity.shape[1]), (len(lines), similarity.shape[1]))
    candidates = np.concatenate([best[lines], similarity[lines]], axis=1)
    numbers = np.concatenate([rows[lines], numbers], axis=1)
    order = np.argsort(-candidates, axis=1, kind="stable")[:, : best.shape[1]]
    best[lines] = np.take_along_axis(candidates, order, axis=1)
    rows[lines] = np.take_along_axis(numbers, order, axis=1)
