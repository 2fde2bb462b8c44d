"""Step: the example of `make demo`: fictitious people, their deletion requests and a model that knows them."""

from dataclasses import dataclass

from tasks.train import TrainSummary, run_train
from unilogit.errors import InputError
from unilogit.files import read_json, write_json
from unilogit.params import Params, load_params


@dataclass(frozen=True)
class Example:
    """What was made."""

    corpus: str
    model: TrainSummary

    def __str__(self) -> str:
        return f"{self.corpus}\n{self.model}"
