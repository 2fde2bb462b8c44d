"""What requests ask to forget, as a table of selectors in normal form, and which of them are too short to look for.

Knows what a request may name. Knows nothing of the corpus or of where requests come from.
"""

from collections.abc import Collection, Iterator, Mapping
from enum import StrEnum
from typing import Any

import pandas as pd
import pyarrow as pa

from unilogit.data.text import normal_form
from unilogit.data.words import width


class Kind(StrEnum):
    """How a record was found, in the order in which one of several is named."""

    SUBJECT_ID = "subject_id"
    RECORD_ID = "record_id"
    ALIAS = "alias"
    TEXT = "text"
    NEAR_DUPLICATE = "near-duplicate"


class Reason(StrEnum):
    """Why a request is held until a person approves it."""

    LARGE_SHARE = "large_share"
    SHORT_TEXT = "short_text"
    NEAR_DUPLICATES = "near_duplicates"


# One selector a row. An alias is compared with subject ids and, unless it is short, looked for in texts.
SELECTOR_SCHEMA = pa.schema(
    [
        ("request", pa.int32()),  # its number
        ("kind", pa.string()),
        ("wanted", pa.string()),  # as it was given
        ("form", pa.string()),  # its normal form
        ("is_id", pa.bool_()),  # compared with ids
        ("is_text", pa.bool_()),  # looked for in texts
    ]
)


class Requests:
    """The requests of a batch and of the batches before it, by number: first the current ones.

    Args:
        current, earlier: frames with the columns request_id, subject_id, aliases, record_ids (both lists) and text.
        approvals: request_id → the reasons that a person has approved. Earlier requests need none.
        min_text_length: `width` in normal form that a text or an alias needs to be looked for in texts.

    Attributes:
        names: the request_id of each.
        n_current: how many are of this batch.
        short_texts: numbers of current requests whose text is too short, with its length: not looked for.
        short_aliases: how many aliases are compared with ids alone, of each current request that has such.
        selectors: each selector once, in SELECTOR_SCHEMA.
    """

    def __init__(
        self,
        current: pd.DataFrame,
        earlier: pd.DataFrame,
        approvals: Mapping[str, Collection[str]],
        min_text_length: int,
    ) -> None:
        columns = ["request_id", "subject_id", "aliases", "record_ids", "text"]
        rows = [row for frame in (current, earlier) for row in frame[columns].itertuples(index=False, name=None)]
        self.names: list[str] = [row[0] for row in rows]
        self.n_current = len(current)
        self.short_texts: dict[int, int] = {}
        self.short_aliases: dict[int, int] = {}
        self._approvals = approvals
        selectors = [
            selector
            for request, row in enumerate(rows)
            for selector in self._selectors_of(request, row, min_text_length)
        ]
        asked = [list(column) for column in zip(*selectors, strict=True)] or [[]] * len(SELECTOR_SCHEMA)
        self.selectors = pa.table(asked, schema=SELECTOR_SCHEMA)

    def is_current(self, request: int) -> bool:
        return request < self.n_current

    def is_free(self, request: int, reason: Reason) -> bool:
        """Whether the reason cannot hold the request: a person approved it, or it was forgotten before."""
        return not self.is_current(request) or reason in self._approvals.get(self.names[request], ())

    def _selectors_of(
        self, request: int, row: tuple[Any, ...], min_text_length: int
    ) -> Iterator[tuple[int, Kind, str, str, bool, bool]]:
        """Rows of SELECTOR_SCHEMA; notes what is too short."""
        _, subject_id, aliases, record_ids, text = row
        asked = [(Kind.SUBJECT_ID, subject_id), (Kind.TEXT, text)]
        asked += [(Kind.ALIAS, alias) for alias in aliases] + [(Kind.RECORD_ID, name) for name in record_ids]
        for kind, wanted in dict.fromkeys(asked):
            if not isinstance(wanted, str):  # None and NaN are nothing
                continue
            form = normal_form(wanted)
            is_short = width(form) < min_text_length
            if kind is Kind.TEXT and is_short and not self.is_free(request, Reason.SHORT_TEXT):
                self.short_texts[request] = width(form)
            if kind is Kind.ALIAS and is_short and self.is_current(request):
                self.short_aliases[request] = self.short_aliases.get(request, 0) + 1
            is_text = (kind is Kind.TEXT and request not in self.short_texts) or (kind is Kind.ALIAS and not is_short)
            yield request, kind, wanted, form, bool(form) and kind is not Kind.TEXT, bool(form) and is_text
