"""Step: the example of `make demo`: fictitious people, their deletion requests and a model that knows them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.train import TrainSummary, run_train
from unilogit.data.example import generate_example
from unilogit.errors import InputError
from unilogit.files import read_json, sha256_file
from unilogit.params import Params


@dataclass(frozen=True)
class Example:
    """What was made."""

    directory: str
    model: TrainSummary

    def __str__(self) -> str:
        return f"{self.directory}\n{self.model}"


def make_example(params: Params) -> Example:
    """Make the example where params.yaml looks for it; what is there already is kept.

    Raises:
        InputError: params.yaml points to other data, or the files of the example were changed by hand.
    """
    folder = params.data.corpus.parent
    expected = [folder / "corpus.jsonl", folder / "requests", folder / "holdout.jsonl"]
    if [params.data.corpus, params.data.requests, params.data.holdout] != expected:
        raise InputError(
            "params.yaml: data: points to your own data; the demo needs corpus.jsonl, requests and holdout.jsonl"
            " in one folder. For your own data type `unilogit run`"
        )
    made = _made(folder)
    if made is None or made["arguments"] != params.example.model_dump():
        if made is None and params.data.corpus.exists():
            raise InputError(f"{params.data.corpus}: is not the example's and would be overwritten; move it away")
        generate_example(folder, **params.example.model_dump())
        made = read_json(folder / "example.json")
    elif not params.data.corpus.exists() or sha256_file(params.data.corpus) != made["corpus_sha256"]:
        raise InputError(f"{params.data.corpus}: was changed since it was made; remove {folder} to make it anew")
    return Example(made["summary"], run_train(params.data.corpus, folder / "model", params))


def _made(folder: Path) -> dict[str, Any] | None:
    stamp = folder / "example.json"
    return read_json(stamp) if stamp.exists() else None
