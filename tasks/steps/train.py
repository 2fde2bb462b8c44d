"""Step: train the example's base model, a small Llama from scratch, on all records of its corpus.

Its workspace is the example's folder. Retain models (tasks/steps/retain_model.py) are trained by the same function.
"""

from pathlib import Path

from pydantic import BaseModel

from tasks.params import TOKENS, Params
from tasks.stamp import Keeper, digest
from tasks.step import Step
from tasks.workspace import Place, Workspace
from unilogit.adapters import base_of, tokenizer_of
from unilogit.data.corpus import SUFFIXES, read_records
from unilogit.data.records import CorpusRecord, frame_records
from unilogit.data.rows import input_files
from unilogit.errors import InputError
from unilogit.files import atomic_folder, sha256_weights


class Trained(BaseModel):
    """What was trained, and how well it knows its records."""

    model: Path
    records: int
    probability: float
    weights_sha256: str

    def __str__(self) -> str:
        return f"{self.model}: trained on {self.records} records, mean answer probability {self.probability:.3f}"


def run_train(workspace: Workspace, params: Params) -> Trained:
    """Train a small Llama from scratch on all records of the example's corpus."""
    return train_model(workspace.path(Place.EXAMPLE_CORPUS), workspace.path(Place.MODEL), params)


def train_model(corpus: Path, output: Path, params: Params, architecture: str | None = None) -> Trained:
    """Train on all records of `corpus`.

    Args:
        corpus: .jsonl or .parquet in the record format, or a folder of such shards.
        output: the Hugging Face folder to write, whole or not at all.
        architecture: a model whose tokenizer and architecture to take (retain models), not its weights.

    Raises:
        InputError: the corpus or `architecture` cannot be used.
    """
    from unilogit.evaluation.probability import score_answers
    from unilogit.memory import give_back
    from unilogit.model import load_model
    from unilogit.training.from_scratch import train_from_scratch

    if architecture is not None:
        _require_model(architecture)
    records = _records(corpus)
    with atomic_folder(output) as folder:
        train_from_scratch(
            records,
            folder,
            params.train,
            seed=params.seed,
            max_length=params.model.max_length,
            architecture=architecture,
            prompt_format=params.model.prompt_format,
            system_prompt=params.model.system_prompt,
        )
        give_back()
        model, tokenizer = load_model(str(folder))
        pairs = [record.context for record in records], [record.response for record in records]
        formatted = params.model.formatted(tokenizer)
        scores = score_answers(model, formatted, *pairs, batch_tokens=params.evaluate.batch_tokens)
        weights = sha256_weights(folder)
    return Trained(
        model=output, records=len(records), probability=float(scores["probability"].mean()), weights_sha256=weights
    )


def _require_model(name: str) -> None:
    """Refuse what is neither a folder with a model nor the hub name of one."""
    from transformers import AutoConfig

    from unilogit.model import why_no_model

    try:
        AutoConfig.from_pretrained(base_of(name))
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: no model there ({why_no_model(error)}); train it or correct model.base") from None


def train_once(corpus: Path, store: Path, params: Params, architecture: str) -> Trained:
    """A model trained on `corpus`, from the store if one of the same data, settings and architecture is there."""
    tokenizer = Path(tokenizer_of(architecture))
    files = (tokenizer / name for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"))
    shape = [digest(file) for file in (Path(base_of(architecture)) / "config.json", *files)]
    if not any(shape):
        shape = [architecture]  # of the hub
    inputs = [
        *(digest(file) for file in input_files(corpus, SUFFIXES)),
        *(params.value(key) for key in ("train", "seed", *TOKENS)),
        *shape,
    ]
    keeper = Keeper(store / "stamp.json", inputs, {"model": store / "model"}, Trained)
    return keeper.run(lambda: train_model(corpus, store / "model", params, architecture))


def _records(corpus: Path) -> list[CorpusRecord]:
    if corpus.suffix == ".parquet" and corpus.is_file():
        import pandas as pd

        return frame_records(pd.read_parquet(corpus))  # written by extract, whose rows are validated
    return read_records(corpus)


STEP = Step(
    name="train",
    function=run_train,
    reads=(Place.EXAMPLE_CORPUS,),
    writes=(Place.MODEL,),
    params=("seed", "train", *TOKENS),
)

if __name__ == "__main__":
    STEP.command()
