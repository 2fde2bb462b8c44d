"""Corpus records: what a model was trained on, one prompt and response each.

Knows what a record is, and what is told of one that is none. Knows nothing of the files that bring it (corpus.py), of
deletion requests or of models.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Self

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from unilogit.data.prompt_format import Conversation, Prompt
from unilogit.files import atomic_path

Identifier = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
# More than white space; written so that Python, Rust and RE2 read it alike where it matters.
Answer = Annotated[str, StringConstraints(min_length=1, pattern=r"[^\s\x1c-\x1f]")]
# Kinds of error with words of their own, for validators to raise as PydanticCustomError.
FIELD_REFUSED = "field_refused"  # what to say after the field's name
ROW_REFUSED = "row_refused"  # a sentence


class CorpusRecord(BaseModel):
    """One prompt and response of the training corpus.

    Attributes:
        record_id: unique in the corpus.
        subject_ids: the people it is about; empty for facts that belong to nobody.
        prompt: empty for plain-text corpora.
        response: what the model learned to say; never blank.
        paraphrased_prompt, paraphrased_response: the same fact in other words.
        alternative_response: what to say instead once the response is forgotten, for the method `dpo`.
        perturbed_responses: wrong answers of the same form, for the truth ratio.
        group: a name for a part of the corpus, e.g. "world_facts".
        history: the turns before the prompt, the user's and the assistant's in turn: context, which is not learned.
        system: what the system's turn says, before all others.
        conversation_id: of the conversation that has this answer and others.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    record_id: Identifier
    subject_ids: list[Identifier] = Field(default_factory=list)
    prompt: str
    response: Answer
    paraphrased_prompt: str | None = None
    paraphrased_response: str | None = None
    alternative_response: Answer | None = None
    perturbed_responses: list[str] = Field(default_factory=list)
    group: str = ""
    history: list[str] = Field(default_factory=list)
    system: Answer | None = None
    conversation_id: Identifier | None = None

    @property
    def context(self) -> Prompt:
        """All that the response is given to."""
        return self.asked(self.prompt)

    def asked(self, prompt: str) -> Prompt:
        """What a response is given to when the user's last turn says `prompt`."""
        return _context(prompt, self.history, self.system)

    @property
    def names(self) -> list[str]:
        """The ids that ask for it: its own, its conversation's, and those of the earlier answers in its history."""
        conversation = self.conversation_id
        if conversation is None or conversation == self.record_id:
            return [self.record_id]
        number = re.fullmatch(re.escape(conversation) + "#([0-9]{1,9})", self.record_id)
        earlier = min(int(number[1]) - 1, len(self.history) // 2) if number else 0
        return [self.record_id, conversation, *(f"{conversation}#{answer}" for answer in range(1, earlier + 1))]

    @field_validator("history")
    @classmethod
    def _alternates(cls, history: list[str]) -> list[str]:
        if len(history) % 2:
            words = "has an odd number of turns; write the user's and the assistant's in turn, up to before `prompt`"
            raise PydanticCustomError(FIELD_REFUSED, words)
        return history

    @model_validator(mode="after")
    def _asks_in_a_conversation(self) -> Self:
        if not self.prompt and (self.history or self.system):
            words = "field `prompt` is empty beside `history` or `system`; write what the user says, or take them out"
            raise PydanticCustomError(ROW_REFUSED, words)
        return self


COLUMNS = list(CorpusRecord.model_fields)
LISTS = ("subject_ids", "perturbed_responses", "history")
_ASKED_AND_SAID = ("prompt", "response", "history", "system")
PLACES = ("file", "row", "answer_number")  # columns of where a record stands; see `Found` (corpus.py)
CORPUS_SCHEMA = pa.schema(
    [(name, pa.list_(pa.string()) if name in LISTS else pa.string()) for name in COLUMNS]
    + [("file", pa.string()), ("row", pa.int64()), ("answer_number", pa.int64())]
)


_WORDS = {
    "missing": "is missing; add it or remove the line",
    "extra_forbidden": "is not known; remove it or correct its spelling",
    "string_type": "must be text; put its value in quotes",
    "list_type": 'must be a list of texts; write it as ["…", "…"]',
    "string_too_short": "is empty; fill it in or remove the line",
    "too_short": "is empty; fill it in or remove the line",
    "string_too_long": "is longer than {max_length} characters; shorten it",
    "string_pattern_mismatch": "holds only white space; write the answer or remove the line",
}


def _context(prompt: str, history: Sequence[str] | None, system: str | None) -> Prompt:
    turns = () if history is None else tuple(history)
    return Conversation((*turns, prompt), system) if turns or system is not None else prompt


@dataclass(frozen=True)
class BadRecord:
    """A row of a corpus that is not a record.

    Attributes:
        file, row: where it stands: the file's name, and the line (JSON lines) or row (Parquet) from 1.
        reasons: what is wrong and what to do, a sentence each, without anybody's data.
        raw: the row as text.
        record_id: as far as it can be told; None where it cannot.
        answer: which answer of the row it is alone, from 1; 0 for the whole row.
    """

    file: str
    row: int
    reasons: list[str]
    raw: str
    record_id: str | None = None
    answer: int = 0

    @property
    def place(self) -> str:
        return record_place(self.file, self.row, self.answer)

    def __str__(self) -> str:
        return f"{self.place}: {'; '.join(self.reasons)}"


def record_place(file: str, row: int, answer: int) -> str:
    """Where a record stands, for a sentence; each has a place of its own."""
    return f"{file}:{row}#{answer}" if answer else f"{file}:{row}"


def explain(error: ValidationError, own_words: Mapping[tuple[str, str], str] = MappingProxyType({})) -> list[str]:
    """One sentence for each thing a pydantic model refused: the field, what is wrong, what to do.

    Fields come in the order of the model, then what is wrong with the row. Values are left out: they may be
    personal data.

    Args:
        own_words: field and kind of error → what to say after the field's name.
    """
    field_sentences, row_sentences = [], []
    for item in error.errors(include_url=False, include_input=False):
        kind, message = item["type"], item["msg"].removeprefix("Value error, ")
        if kind == "default_factory_not_called":
            continue  # a field that follows from another, which has its own sentence
        if kind == ROW_REFUSED:
            row_sentences.append(message)
            continue
        name, *places = item["loc"] or ("",)
        field = f"field `{name}{''.join(f'[{place}]' for place in places)}`" if name else "the row"
        usual = message if kind == FIELD_REFUSED else _WORDS.get(kind, f"is refused: {message}; correct it")
        words = own_words.get((str(name), kind), usual)
        field_sentences.append(f"{field} {words.format_map(item.get('ctx', {}))}")
    return field_sentences + row_sentences


def write_corpus(path: Path | str, records: Iterable[CorpusRecord]) -> None:
    """Write records as JSON lines, whole or not at all."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as stream:
        for record in records:
            empty = None if record.history else {"history"}
            stream.write(record.model_dump_json(exclude_none=True, exclude=empty) + "\n")


def frame_records(frame: pd.DataFrame) -> list[CorpusRecord]:
    """The records of a frame with the columns of CorpusRecord; its other columns are passed over.

    Raises:
        pydantic.ValidationError: a row is no record.
    """
    columns = {name: zip(frame[name], frame[name].notna(), strict=True) for name in COLUMNS if name in frame}
    return [
        CorpusRecord(
            **{  # type: ignore[arg-type]
                name: list(value) if name in LISTS else value
                for name, (value, is_given) in zip(columns, cells, strict=True)
                if is_given
            }
        )
        for cells in zip(*columns.values(), strict=True)
    ]


def schema_of_exchanges(file: Path) -> pa.Schema:
    """Of a Parquet file of records, the columns by which a model is trained and measured; an older one has fewer."""
    schema = pq.read_schema(file)
    return pa.schema([schema.field(name) for name in _ASKED_AND_SAID if name in schema.names])


def frame_contexts(frame: pd.DataFrame) -> list[Prompt]:
    """What each response of a frame is given to: `context` of its records, which need not be whole."""
    if "history" not in frame:
        return list(frame["prompt"])
    systems = [system if isinstance(system, str) else None for system in frame["system"]]
    return [_context(*asked) for asked in zip(frame["prompt"], frame["history"], systems, strict=True)]
