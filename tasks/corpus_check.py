"""`unilogit corpus check`: a whole corpus in one page, and what a run would refuse of it.

Knows files, params and the model's tokenizer. Prints numbers, names of files and ids of records, and no text of them.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.params import Model, Params
from tasks.prompt_checks import context_of, refused_prompts
from tasks.requests.objects import SCRATCH
from tasks.workspace import use_home
from unilogit.data.corpus import Found, scan_corpus
from unilogit.data.records import CORPUS_SCHEMA, PLACES, BadRecord, CorpusRecord, record_place
from unilogit.data.repeats import Repeats, repeats_sentence
from unilogit.data.survey import Contents, Histogram, Scripts, contents_of
from unilogit.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CHUNK = 5_000  # records at once: bounds memory, not the result
_MOST_REASONS = 100
QUANTILES = {"half": 0.5, "90%": 0.9, "99%": 0.99, "longest": 1.0}


@dataclass
class Lengths:
    """How long records are, in tokens; empty where the model's tokenizer cannot be used.

    Attributes:
        why_unknown: why there are none.
        context: how many tokens the model takes at once; None where nothing is known.
        limit: how many a record may have: model.max_length, or the context where that is less.
        prompt, whole: name of one of QUANTILES → tokens, of prompts, and of prompt and response together.
        windows: records of which a response does not fit beside its prompt, and is worked on in windows.
    """

    why_unknown: str = ""
    context: int | None = None
    limit: int = 0
    prompt: dict[str, int] = field(default_factory=dict)
    whole: dict[str, int] = field(default_factory=dict)
    windows: int = 0


@dataclass
class CorpusCheck:
    """What was found.

    Attributes:
        path: of the corpus.
        files: name of a file → form of its rows → how many records are written in it.
        contents: what the good records are; None where there is none.
        lengths: of the good records.
        scripts: script → share of all letters.
        refused: how many rows or answers a run would refuse.
        reasons: sentence, with … for what differs from row to row → how many of them.
        first_refused: the first, in order.
        warnings: a sentence for all that a person should know.
        is_usable: whether a run would take the corpus.
    """

    path: str
    files: dict[str, dict[str, int]]
    contents: Contents | None
    lengths: Lengths
    scripts: dict[str, float]
    refused: int
    reasons: dict[str, int]
    first_refused: list[BadRecord]
    warnings: list[str]
    is_usable: bool


def check_corpus(path: Path, params: Params, limit: int) -> CorpusCheck:
    """Read a whole corpus as a run would, in a bounded part of memory.

    Args:
        limit: how many refused rows are told one by one.

    Raises:
        InputError: it cannot be read at all, or data.corpus_mapping is wrong.
    """
    with TemporaryDirectory(prefix=SCRATCH, dir=use_home()) as folder:
        return _Check(path, params, limit, Path(folder)).run()


class _Check:
    """One reading of a corpus."""

    def __init__(self, path: Path, params: Params, limit: int, folder: Path) -> None:
        self._path, self._params, self._limit, self._folder = path, params, limit, folder
        self._measure = _Measure(params.model)
        self._scripts = Scripts()
        self._files: dict[str, Counter[str]] = defaultdict(Counter)
        self._refused, self._reasons = 0, Counter[str]()
        self._first: dict[str, list[BadRecord]] = defaultdict(list)
        self._warnings: list[str] = []

    def run(self) -> CorpusCheck:
        good = self._folder / "good.parquet"
        with pq.ParquetWriter(good, CORPUS_SCHEMA) as writer:
            for part in self._parts():
                writer.write_table(pa.Table.from_pylist([item.cells for item in part], schema=CORPUS_SCHEMA))
        rest = self._without_repeats(good)
        contents = None
        if pq.read_metadata(rest).num_rows:
            threshold, seed = self._params.extract.near_duplicate_threshold, self._params.seed
            contents = contents_of(rest, self._folder, threshold, seed)
            self._warn_of_groups(contents)
        stops = self._refused and self._params.data.bad_corpus_rows == "stop"
        return CorpusCheck(
            path=str(self._path),
            files={name: dict(forms) for name, forms in self._files.items()},
            contents=contents,
            lengths=self._measure.lengths(),
            scripts=self._scripts.shares(),
            refused=self._refused,
            reasons=dict(self._reasons.most_common()),
            first_refused=self._first_refused(),
            warnings=self._warnings,
            is_usable=contents is not None and not stops,
        )

    def _parts(self) -> Iterator[list[Found]]:
        """Some good records at a time."""
        items = scan_corpus(self._path, self._warnings.append, self._params.data.corpus_mapping)
        while part := list(islice(items, _CHUNK)):
            good: list[Found] = []
            for item in part:
                if isinstance(item, BadRecord):
                    self._files[item.file]["refused"] += 1
                    self._refuse(item, "row")
                else:
                    self._files[item.file][item.form] += 1
                    good.append(item)
            yield self._measured(good)

    def _measured(self, items: list[Found]) -> list[Found]:
        """The records that the model can be asked, measured."""
        records = pd.DataFrame([item.cells for item in items], columns=CORPUS_SCHEMA.names)
        places = [record_place(item.file, item.row, item.answer) for item in items]
        reasons = refused_prompts(records, places, self._params.model)
        good = []
        for place, item in zip(places, items, strict=True):
            if place in reasons:
                self._refuse(
                    BadRecord(item.file, item.row, reasons[place], "", item.record.record_id, item.answer), "prompt"
                )
            else:
                good.append(item)
        self._scripts.add(item.record for item in good)
        self._measure.add([item.record for item in good])
        return good

    def _without_repeats(self, good: Path) -> Path:
        with Repeats(good, self._folder) as repeats:
            if not repeats.count:
                return good
            for batch in repeats.records():
                for row in batch.select(["record_id", *PLACES, *(f"first_{name}" for name in PLACES)]).to_pylist():
                    first = record_place(*(row[f"first_{name}"] for name in PLACES))
                    sentence = repeats_sentence("record_id", row["record_id"], first)
                    self._refuse(
                        BadRecord(row["file"], row["row"], [sentence], "", row["record_id"], row["answer_number"]),
                        "repeat",
                    )
            rest = good.with_name("rest.parquet")
            repeats.write_rest(rest)
            return rest

    def _first_refused(self) -> list[BadRecord]:
        rows = [row for rows in self._first.values() for row in rows]
        return sorted(rows, key=lambda row: (row.file, row.row, row.answer))[: self._limit]

    def _refuse(self, row: BadRecord, source: str) -> None:
        """Count it; the first from each source are kept, as each brings its own in order."""
        self._refused += 1
        for reason in row.reasons:
            general = re.sub(r"\S+:\d+(#\d+)?|\d+", "…", reason)
            self._reasons[general if len(self._reasons) < _MOST_REASONS else "other reasons"] += 1
        if len(self._first[source]) < self._limit:
            self._first[source].append(row)

    def _warn_of_groups(self, contents: Contents) -> None:
        if not contents.subjects:
            words = "no record names in `subject_ids` whom it is about"
            self._warnings.append(f"{words}; requests by `subject_id` will match nothing")
        if len(contents.groups) < 20:
            self._warnings += [
                f"data.utility_groups names {name}, a group that no record has; correct it, or take it out"
                for name in self._params.data.utility_groups
                if name not in contents.groups
            ]


class _Measure:
    """Counts tokens with the model's tokenizer, if it can be used.

    Prompt and response are counted apart, which is much faster and right to a token or two.
    """

    def __init__(self, model: Model) -> None:
        self._prompt, self._whole = Histogram(), Histogram()
        self._context: int | None = None
        self._tokenizer: PreTrainedTokenizerBase | None = None
        self._why = ""
        try:
            self._load(model)
        except (OSError, ValueError, InputError) as error:
            self._why = (
                str(error) if isinstance(error, InputError) else f"{model.base}: has no tokenizer that can be loaded"
            )
        self._limit = min(model.max_length, self._context or model.max_length)

    def _load(self, model: Model) -> None:
        from transformers import AutoTokenizer

        from unilogit.data.tokenisation import encode_prompt

        tokenizer = model.formatted(AutoTokenizer.from_pretrained(model.base))
        self._start = len(encode_prompt(tokenizer, ""))
        self._context = context_of(model.base)
        self._tokenizer = tokenizer

    def add(self, records: list[CorpusRecord]) -> None:
        from unilogit.data.prompt_format import render

        if self._tokenizer is None or not records:
            return
        rendered = [render(self._tokenizer, record.context).prompt if record.prompt else "" for record in records]
        prompts, responses = (
            self._tokenizer(texts, add_special_tokens=False)["input_ids"]
            for texts in (rendered, [record.response for record in records])
        )
        for prompt, response in zip(prompts, responses, strict=True):
            n_prompt = len(prompt) or self._start
            self._prompt.add(n_prompt)
            self._whole.add(n_prompt + len(response) + 1)

    def lengths(self) -> Lengths:
        if self._tokenizer is None:
            return Lengths(self._why, self._context, self._limit)
        prompt, whole = (
            {name: lengths.quantile(share) for name, share in QUANTILES.items()}
            for lengths in (self._prompt, self._whole)
        )
        return Lengths("", self._context, self._limit, prompt, whole, self._whole.more_than(self._limit))
