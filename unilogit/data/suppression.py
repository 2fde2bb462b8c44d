"""The suppression list: whose records no set may hold although nothing else is known of them any more.

It holds keyed digests of what identifies the people of purged requests and their records. Knows the key, records and
requests. Knows nothing of where the list is kept.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

import duckdb
import pyarrow as pa

from unilogit.data.matching import NAMES, WHOLE_TEXTS, stream
from unilogit.data.pseudonyms import Pseudonyms
from unilogit.data.records import CorpusRecord
from unilogit.data.requests import DeletionRequest
from unilogit.data.selectors import Kind
from unilogit.data.text import NormalTexts, normal_form


class Identity(StrEnum):
    """By what a record is known again."""

    SUBJECT = "suppressed-subject"
    RECORD = "suppressed-record"
    TEXT = "suppressed-text"


class Suppressed(NamedTuple):
    """A record that is left out, by where the corpus has it, and the purged request that it is known by."""

    file: str
    row: int
    request: str


class Mark(NamedTuple):
    """One thing by which a record is known again, as it was given; compared by its normal form."""

    identity: Identity
    wanted: str


def request_marks(request: DeletionRequest) -> Iterator[Mark]:
    """By what a request names records, but for its text: what holds that is known by its own marks."""
    yield from (Mark(Identity.SUBJECT, name) for name in (request.subject_id, *request.aliases) if name)
    yield from (Mark(Identity.RECORD, name) for name in request.record_ids)


def record_marks(
    record_id: str,
    prompt: str,
    response: str,
    paraphrased_prompt: str | None,
    paraphrased_response: str | None,
    history: Sequence[str] = (),
) -> Iterator[Mark]:
    """By what a record is known again, whoever else it is about: its id, and its texts, each as a whole.

    Of a conversation's answer, the exchange before is a part of its text: `Thanks!` alone is nobody's.
    """
    yield Mark(Identity.RECORD, record_id)
    yield Mark(Identity.TEXT, "\n".join([*history[-2:], prompt, response]))
    paraphrase = [text for text in (paraphrased_prompt, paraphrased_response) if isinstance(text, str)]
    if paraphrase:
        yield Mark(Identity.TEXT, "\n".join(paraphrase))


class SuppressionList:
    """The digests of marks, and whose they are.

    Args:
        pseudonyms: with the key that the digests are made under.
        references: digest, in hexadecimal → what the purged request is called.
    """

    def __init__(self, pseudonyms: Pseudonyms, references: Mapping[str, str]) -> None:
        self._digesters: dict[Identity, Callable[[str], bytes]] = {
            identity: pseudonyms.digester(identity) for identity in Identity
        }
        self._references = {bytes.fromhex(digest): reference for digest, reference in references.items()}

    def __len__(self) -> int:
        return len(self._references)

    def digests(self, marks: Iterable[Mark]) -> Iterator[str]:
        """The digests of marks, in hexadecimal; none of one that is empty in normal form."""
        for identity, wanted in marks:
            if form := normal_form(wanted):
                yield self._digesters[identity](form).hex()

    def reference(self, record: CorpusRecord) -> str | None:
        """The purged request that a record is known by; None when it is not on the list."""
        texts = (record.paraphrased_prompt, record.paraphrased_response, record.history)
        marks = [Mark(Identity.SUBJECT, name) for name in record.subject_ids]
        marks += [Mark(Identity.RECORD, name) for name in record.names]
        marks += record_marks(record.record_id, record.prompt, record.response, *texts)
        known = (self._references.get(bytes.fromhex(digest)) for digest in self.digests(marks))
        return min((reference for reference in known if reference is not None), default=None)

    def find(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make the table `suppressed`, row_number and reference, of the records of `corpus` that are on the list."""
        connection.execute("CREATE TEMP TABLE suppressed_hits (row_number BIGINT, reference VARCHAR)")
        people, ids = NAMES[Kind.SUBJECT_ID], NAMES[Kind.RECORD_ID]
        # A person has many records, and is looked up once.
        known = self._known(connection, Identity.SUBJECT, f"SELECT DISTINCT name, name || chr(0) FROM ({people})")
        _insert(connection, known, pa.string(), f"SELECT row_number, name AS item FROM ({people})")
        for identity, query in (
            (Identity.RECORD, f"SELECT row_number, name || chr(0) FROM ({ids})"),
            (Identity.TEXT, WHOLE_TEXTS),
        ):
            known = self._known(connection, identity, query)
            _insert(connection, known, pa.int64(), "SELECT row_number, row_number AS item FROM corpus")
        connection.execute(
            "CREATE TEMP TABLE suppressed AS SELECT row_number, min(reference) AS reference"
            " FROM suppressed_hits GROUP BY row_number"
        )

    def _known(self, connection: duckdb.DuckDBPyConnection, identity: Identity, query: str) -> list[tuple[object, str]]:
        """What of a query is on the list, with whose it is.

        Args:
            query: its first column is handed back; its second is text, each with SEPARATOR after it.
        """
        digest, references = self._digesters[identity], self._references
        known = []
        for batch in stream(connection, query):
            for place, form in enumerate(NormalTexts(batch.column(1)).forms()):
                reference = references.get(digest(form)) if form else None
                if reference is not None:
                    known.append((batch.column(0)[place].as_py(), reference))
        return known


def suppress(connection: duckdb.DuckDBPyConnection, suppression: SuppressionList | None) -> list[Suppressed]:
    """Make the table `suppressed` of what is on the list and not in the table `taken`, and say where it stands.

    Returns:
        In the order of the corpus.
    """
    if not suppression:
        connection.execute("CREATE TEMP TABLE suppressed (row_number BIGINT, reference VARCHAR)")
        return []
    suppression.find(connection)
    connection.execute("DELETE FROM suppressed WHERE row_number IN (SELECT row_number FROM taken)")
    places = 'SELECT file, "row", reference FROM corpus JOIN suppressed USING (row_number) ORDER BY row_number'
    return [Suppressed(*row) for row in connection.execute(places).fetchall()]


def _insert(
    connection: duckdb.DuckDBPyConnection, known: list[tuple[object, str]], kind: pa.DataType, rows: str
) -> None:
    """Add what is known to `suppressed_hits`; `rows` says of which row_number each item is."""
    if known:
        items, references = zip(*known, strict=True)
        connection.register("known", pa.table({"item": pa.array(items, kind), "reference": pa.array(references)}))
        connection.execute(
            f"INSERT INTO suppressed_hits SELECT row_number, reference FROM ({rows}) JOIN known USING (item)"
        )
        connection.unregister("known")
