"""What is there to work on: a corpus in a few numbers, a sample of it, and how much of it will be forgotten.

Knows files, requests that wait and the model's tokenizer. Prints nothing; of a request only ids are looked at.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.params import Params
from tasks.requests.batches import new_in, open_ledger
from unilogit.data.corpus import scan_corpus
from unilogit.data.records import BadRecord, CorpusRecord
from unilogit.data.request_files import read_requests
from unilogit.data.requests import DeletionRequest, Rejection, as_request
from unilogit.errors import InputError

if TYPE_CHECKING:
    from unilogit.training.stopping import Pair

SAMPLE = 256  # records whose tokens are counted
WAITING = ("received", "validated", "batched")  # states of requests that a run takes up


@dataclass(frozen=True)
class Sketch:
    """A corpus, and what will be forgotten of it.

    Attributes:
        records: of the corpus.
        groups: group → how many of them.
        holdout: records of people whom the model never saw.
        forget: records to be forgotten.
        assumed: how `forget` was come by, as a sentence.
        tokens: of prompt and response together, the mean of a record.
        longest: the most that one takes at once.
        scored: answers of a record that are scored, its response among them, in the mean.
        paraphrased: the share of records with a paraphrased prompt.
        pairs: prompts and responses of the sample.
    """

    records: int
    groups: dict[str, int]
    holdout: int
    forget: int
    assumed: str
    tokens: float
    longest: int
    scored: float
    paraphrased: float
    pairs: "list[Pair]"


def draw_sketch(params: Params, forget: int | None) -> Sketch:
    """Read the corpus once.

    Args:
        forget: how many records will be forgotten; None counts those that waiting requests name.

    Raises:
        InputError: the corpus, the requests or the tokenizer cannot be read, or the corpus has no record.
    """
    from unilogit.data.tokenisation import encode_windows
    from unilogit.model import load_tokenizer

    formatted = params.model.formatted(load_tokenizer(params.model.base))
    wanted = _Wanted(params) if forget is None else None
    groups, sample, rng = Counter[str](), list[CorpusRecord](), random.Random(params.seed)
    for number, record in enumerate(_records(params.data.corpus, params)):
        groups[record.group] += 1
        place = number if number < SAMPLE else rng.randrange(number + 1)
        if place < SAMPLE:
            sample[place : place + 1] = [record]
        if wanted:
            wanted.look_at(record)
    if not sample:
        raise InputError(f"{params.data.corpus}: has no record that can be used; type `unilogit corpus check`")
    count, assumed = (forget, "as was said (--forget)") if forget is not None else (0, "")
    if wanted:
        count, assumed = wanted.told()
    limit = params.model.max_length
    windows = [encode_windows(formatted, record.context, record.response, limit) for record in sample]
    lengths = [len(window.ids) for parts in windows for window in parts]
    return Sketch(
        records=groups.total(),
        groups=dict(groups),
        holdout=0 if params.data.holdout is None else sum(1 for _ in _records(params.data.holdout, params)),
        forget=min(max(1, count), groups.total()),
        assumed=assumed,
        tokens=sum(lengths) / len(sample),
        longest=max(lengths),
        scored=1 + sum(len(r.perturbed_responses) + bool(r.perturbed_responses) for r in sample) / len(sample),
        paraphrased=sum(bool(record.paraphrased_prompt) for record in sample) / len(sample),
        pairs=[(record.context, record.response) for record in sample],
    )


def _records(path: object, params: Params) -> Iterator[CorpusRecord]:
    for item in scan_corpus(str(path), lambda _: None, params.data.corpus_mapping):
        if not isinstance(item, BadRecord):
            yield item.record


class _Wanted:
    """Counts the records that waiting requests name by subject or by id; of texts there is one record each."""

    def __init__(self, params: Params) -> None:
        self.requests, self.texts, self.found = 0, 0, 0
        self.names = set[str]()
        for request in _waiting(params):
            self.requests += 1
            self.names |= {*request.record_ids, *request.aliases, *filter(None, [request.subject_id])}
            self.texts += bool(request.text)

    def look_at(self, record: CorpusRecord) -> None:
        self.found += not self.names.isdisjoint((record.record_id, *record.subject_ids))

    def told(self) -> tuple[int, str]:
        """How many, and how that was come by."""
        if not self.requests:
            return 1, "no request waits, so that one record is assumed; say how many with --forget"
        told = f"{self.requests} requests wait and name {self.found} records by subject or id"
        if self.texts:
            told += f"; for each of {self.texts} texts one record is assumed"
        return self.found + self.texts, told


def _waiting(params: Params) -> Iterator[DeletionRequest]:
    """What the ledger holds and what lies in the inbox; a row that is no request counts nothing here."""
    with open_ledger() as ledger:
        for state in WAITING:
            for row in ledger.requests(state):
                yield ledger.get(row.reference)
    for file in new_in(params.data.requests, params).files:
        for raw in read_requests(file, params.data.request_mapping, warnings=[]):
            if not isinstance(raw, Rejection):
                try:
                    yield as_request(raw.fields, raw.file, raw.row)
                except InputError:
                    continue
