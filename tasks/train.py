"""Step: train a small model from scratch: the example's base model, or (tasks/golden.py) a golden target."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tasks.command import run_command
from tasks.options import Overrides, ParamsFile
from unilogit.data.records import SUFFIXES, CorpusRecord, frame_records, read_records
from unilogit.data.rows import input_files
from unilogit.errors import InputError
from unilogit.files import atomic_folder, read_json, sha256_file, sha256_json, sha256_weights, write_json
from unilogit.params import DEFAULT_PARAMS, Params, load_params


@dataclass(frozen=True)
class TrainSummary:
    """What was trained and where it lies."""

    model: Path
    records: int
    probability: float
    weights_sha256: str

    def __str__(self) -> str:
        return f"{self.model}: trained on {self.records} records, mean answer probability {self.probability:.3f}"


def run_train(corpus: Path, output: Path, params: Params, like: str | None = None) -> TrainSummary:
    """Train on all records of `corpus`; a finished model of the same data and settings is kept as it is.

    Args:
        corpus: .jsonl or .parquet in the record format, or a folder of such shards.
        output: the Hugging Face folder to write, whole or not at all.
        like: a model whose tokenizer and architecture to take (golden targets), not its weights.

    Raises:
        InputError: the corpus or `like` cannot be used.
    """
    fingerprint = sha256_json(
        {
            "corpus": [sha256_file(file) for file in input_files(corpus, SUFFIXES)],
            "train": params.train.model_dump(),
            "seed": params.seed,
            "max_length": params.model.max_length,
            "like": _tokenizer_and_architecture(like) if like else None,
        }
    )
    summary = output / "training_summary.json"
    if not _is_finished(output, summary, fingerprint):
        _train(_records(corpus), output, params, like, fingerprint)
    facts = read_json(summary)
    return TrainSummary(output, facts["records"], facts["probability"], facts["weights_sha256"])


def _is_finished(output: Path, summary: Path, fingerprint: str) -> bool:
    """Whether an earlier call with the same inputs made the model that is there, and it is still whole."""
    if not summary.exists():
        return False
    facts = read_json(summary)
    return bool(facts["fingerprint"] == fingerprint and facts["weights_sha256"] == sha256_weights(output))


def _records(corpus: Path) -> list[CorpusRecord]:
    if corpus.suffix == ".parquet" and corpus.is_file():
        import pandas as pd

        return frame_records(pd.read_parquet(corpus))  # written by extract, whose rows are validated
    return read_records(corpus)


def _train(records: list[CorpusRecord], output: Path, params: Params, like: str | None, fingerprint: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from unilogit.evaluation.probability import score_answers
    from unilogit.evaluation.token_scores import within_memory
    from unilogit.training.from_scratch import train_from_scratch

    with atomic_folder(output) as folder:
        history = train_from_scratch(
            records, folder, params.train, seed=params.seed, max_length=params.model.max_length, like=like
        )
        model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
        pairs = [r.prompt for r in records], [r.response for r in records]
        scores = within_memory(partial(score_answers, model, tokenizer, *pairs), params.evaluate.batch_size)
        write_json(
            folder / "training_summary.json",
            {
                "schema_version": 1,
                "fingerprint": fingerprint,
                "records": len(records),
                "probability": float(scores["probability"].mean()),
                "weights_sha256": sha256_weights(folder),
                "history": history,
            },
        )


def _tokenizer_and_architecture(model: str) -> list[str]:
    folder = Path(model)
    if not (folder / "config.json").is_file():
        raise InputError(f"{model}: no model there (config.json is missing); train it or correct model.base")
    return [sha256_file(folder / name) for name in ("config.json", "tokenizer.json") if (folder / name).exists()]


def main(
    corpus: Path,
    output: Path,
    like: str | None = None,
    params: ParamsFile = DEFAULT_PARAMS,
    set_: Overrides = None,
) -> TrainSummary:
    """Train a small Llama from scratch on all records of a corpus; with --like, a golden target of that model."""
    return run_train(corpus, output, load_params(params, set_), like)


if __name__ == "__main__":
    run_command(main)
