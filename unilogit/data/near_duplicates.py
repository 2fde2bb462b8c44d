"""Records that read nearly like those that are to be forgotten: copies without the person's id, crawls, merges.

Knows a corpus in DuckDB and the texts to compare it with. Knows nothing of requests or of what becomes of a copy.

Of a record, prompt and response together are one set of word shingles; the response alone is another where it has at
least `LEAST_WORDS` words, as a copy may come without the prompt; two characters of a script without spaces are one word
there, or it would be short answers that people share. Of a conversation's answer, the exchange before comes first, as
`Thanks!` is nobody's alone; prompt and response without it are another set where they have so many words. Two records
are near-duplicates when a set of one has at least the threshold's Jaccard similarity with a set of the other.
"""

import duckdb
import numpy as np
import pyarrow as pa

from unilogit.data.matching import in_threads, stream
from unilogit.data.shingles import WORDS, ShingleIndex, Shingles, joined, shingles_of, words_of

LEAST_WORDS = 8
_BATCH = 4_096  # records at once
_COLUMNS = ", ".join(
    f"replace({text}, chr(0), ' ') || chr(0) AS {name}"
    for name, text in {
        "context": "coalesce(array_to_string(history[-2:], ' '), '')", "prompt": "prompt", "response": "response",
    }.items()
)  # fmt: skip
_PAIRS = pa.schema([("row_number", pa.int64()), ("text", pa.int64()), ("similarity", pa.float64())])
_TEXTS = pa.schema([("text", pa.int64()), ("source", pa.int64())])


def find_near_duplicates(connection: duckdb.DuckDBPyConnection, sources: str, records: str, threshold: float) -> None:
    """Make the tables `near_duplicates` and `source_texts`.

    near_duplicates: row_number, text and similarity, the highest, of each record that is a near-duplicate of a text.
    source_texts: text and source, of each text that has near-duplicates; sources that read the same share a text.

    Args:
        sources: a query with the columns source (a number), history, prompt and response: what is to be found again.
            Memory grows with their number.
        records: a query with the columns row_number, history, prompt and response: where it is looked for, streamed.
        threshold: the Jaccard similarity from which on two records are near-duplicates.
    """
    numbers, parts = [], []
    for batch in stream(connection, f"SELECT source, {_COLUMNS} FROM ({sources})", _BATCH):
        sets, owners = _sets_of(batch)
        parts.append(sets)
        numbers.append(batch.column("source").to_numpy()[owners])
    index = ShingleIndex(_concatenated(parts), threshold)
    texts = np.concatenate([np.empty(0, dtype=np.int64), *numbers])

    def pairs(batch: pa.RecordBatch) -> pa.Table:
        sets, owners = _sets_of(batch)
        alike = list(index.alike(sets))
        rows = batch.column("row_number").to_numpy()[owners[[pair.place for pair in alike]]] if alike else []
        columns = [rows, [pair.number for pair in alike], [pair.similarity for pair in alike]]
        return pa.table(columns, schema=_PAIRS)

    found_pairs = [_PAIRS.empty_table()]
    if len(texts):
        query = f"SELECT row_number, {_COLUMNS} FROM ({records})"
        found_pairs += [table for table in in_threads(pairs, stream(connection, query, _BATCH)) if len(table)]
    _create(connection, "pairs_of_sets", pa.concat_tables(found_pairs))
    _create(connection, "texts_of_sources", pa.table([index.numbers, texts], schema=_TEXTS))
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE near_duplicates AS SELECT row_number, text, max(similarity) AS similarity"
        " FROM pairs_of_sets GROUP BY ALL"
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE source_texts AS SELECT DISTINCT text, source FROM texts_of_sources"
        " WHERE text IN (SELECT text FROM near_duplicates)"
    )


def _create(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    connection.register("arrow_table", table)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM arrow_table")
    connection.unregister("arrow_table")


def _sets_of(batch: pa.RecordBatch) -> tuple[Shingles, np.ndarray]:
    """The sets of records, and the place in the batch of the record that each is of: int64."""
    contexts, prompts, responses = (words_of(batch.column(name)) for name in ("context", "prompt", "response"))
    exchanges = joined(prompts, responses)
    whole = shingles_of(joined(contexts, exchanges))
    starts, owners = [whole.starts], [np.arange(len(whole.starts))]
    # The shingles of prompt and response, and of the response, are the last ones of the record's.
    for rest, part in ((contexts.counts, exchanges), (contexts.counts + prompts.counts, responses)):
        lengths = part.counts - part.characters + part.characters // 2
        alone = np.flatnonzero((rest > 0) & (lengths >= LEAST_WORDS))
        starts.append(whole.ends[alone] - (part.counts[alone] - (WORDS - 1)))
        owners.append(alone)
    places = np.concatenate(owners)
    return Shingles(whole.hashes, np.concatenate(starts), whole.ends[places]), places


def _concatenated(parts: list[Shingles]) -> Shingles:
    sizes = np.cumsum([0, *(len(part.hashes) for part in parts)])[:-1]
    none = np.empty(0, dtype=np.int64)
    return Shingles(
        np.concatenate([none.astype(np.uint64), *(part.hashes for part in parts)]),
        np.concatenate([none, *(part.starts + size for part, size in zip(parts, sizes, strict=True))]),
        np.concatenate([none, *(part.ends + size for part, size in zip(parts, sizes, strict=True))]),
    )
