"""Step: unlearn the forget set from a model. Resumes from its last checkpoint after a kill."""

import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.command import run_command
from tasks.options import Overrides, ParamsFile
from unilogit.errors import InputError
from unilogit.files import atomic_folder, read_json, sha256_file, sha256_json, sha256_weights, write_json, write_text
from unilogit.params import DEFAULT_PARAMS, Params, load_params

MONITORED = 200  # records of each set that the early stop watches


@dataclass(frozen=True)
class UnlearnSummary:
    """The unlearned model, how long it took and its digest."""

    model: Path
    method: str
    epochs: float
    weights_sha256: str

    def __str__(self) -> str:
        return f"{self.model}: {self.method}, {self.epochs:.1f} epochs, weights {self.weights_sha256[:12]}"


def run_unlearn(workspace: Path, params: Params, model: str, output: Path | None = None) -> UnlearnSummary:
    """Write the unlearned model to `output/model` and the history to `output/training.json`.

    Under `torchrun` or `accelerate launch` the processes share the work and the first one writes.

    Args:
        workspace: holds data/forget.parquet, retain.parquet and holdout.parquet.
        model: the model to start from: a Hugging Face folder or hub name.
        output: a folder; the workspace when not given.

    Raises:
        InputError: the model or the data is missing, or the method needs what model or records lack.
    """
    import torch
    from accelerate import PartialState
    from transformers import set_seed

    processes = PartialState(cpu=not torch.cuda.is_available())
    output = output or workspace
    checkpoints = output / "checkpoints"
    fingerprint = _fingerprint(workspace, params, model)
    if finished := _finished(output, fingerprint):
        return finished
    processes.wait_for_everyone()  # or a late one would find the work of the others finished
    trained, tokenizer = load_model(model)
    set_seed(params.seed)
    history: list[dict[str, float]] = []
    epochs = 0.0
    if params.unlearn.method != "none":
        with processes.main_process_first():
            _drop_checkpoints_of_other_settings(checkpoints, fingerprint)
        trained, history, epochs = _train(trained, tokenizer, workspace, checkpoints, params)
    if processes.is_main_process:
        _save(trained, tokenizer, output, params.unlearn.method, fingerprint, epochs, history)
        shutil.rmtree(checkpoints, ignore_errors=True)
    processes.wait_for_everyone()
    return _summary(output)


def _save(
    model: Any,
    tokenizer: Any,
    output: Path,
    method: str,
    fingerprint: str,
    epochs: float,
    history: list[dict[str, float]],
) -> None:
    with atomic_folder(output / "model") as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    write_text(output / "loss.csv", _loss_csv(history))
    # Last, as it says that all the others are there.
    write_json(
        output / "training.json",
        {
            "schema_version": 1,
            "fingerprint": fingerprint,
            "method": method,
            "epochs": epochs,
            "weights_sha256": sha256_weights(output / "model"),
            "history": history,
        },
    )


def _summary(output: Path) -> UnlearnSummary:
    facts = read_json(output / "training.json")
    return UnlearnSummary(output / "model", facts["method"], facts["epochs"], facts["weights_sha256"])


def _loss_csv(history: list[dict[str, float]]) -> str:
    """Both terms of the loss by step, for `dvc plots`."""
    terms = ["step", "forget_loss", "retain_loss"]
    rows = [entry for entry in history if "forget_loss" in entry]
    return pd.DataFrame(rows, columns=terms).to_csv(index=False)


def _train(
    model: Any, tokenizer: Any, workspace: Path, checkpoints: Path, params: Params
) -> tuple[Any, list[dict[str, float]], float]:
    from unilogit.training.trainer import Monitor, UnlearningTrainer

    data = {kind: pd.read_parquet(file) for kind, file in data_files(workspace).items()}
    forget, retain = _pairs(data["forget"]), _pairs(data["retain"])
    unseen = _pairs(data["holdout"][data["holdout"]["use"] == "stop"])
    rng = random.Random(params.seed)
    # Apart: beside many forgotten records of earlier batches, the few of this batch would go unnoticed.
    current, earlier = (_pairs(data["forget"][data["forget"]["batch"] == batch]) for batch in ("current", "earlier"))
    watched = {"forget": current, "retain": retain, "unseen": unseen, "earlier": earlier}
    trainer = UnlearningTrainer(
        model=model,
        tokenizer=tokenizer,
        forget=forget,
        retain=retain,
        settings=params.unlearn,
        output_dir=checkpoints,
        monitor=Monitor(**{name: rng.sample(pairs, min(MONITORED, len(pairs))) for name, pairs in watched.items()}),
        seed=params.seed,
        max_length=params.model.max_length,
        alternatives=_alternatives(data["forget"]) if params.unlearn.method == "dpo" else (),
    )
    history = trainer.run()
    return trainer.model, history, trainer.state.global_step * params.unlearn.batch_size / len(forget)


def _pairs(frame: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(frame["prompt"], frame["response"], strict=True))


def _alternatives(forget: pd.DataFrame) -> list[str]:
    """What the records say instead once they are forgotten."""
    given = forget["alternative_response"] if "alternative_response" in forget else pd.Series([None] * len(forget))
    if missing := int(given.isna().sum()):
        raise InputError(
            f"unlearn.method dpo: {missing} of {len(forget)} records to forget have no alternative_response; "
            "add it to the corpus, or use idk_dpo"
        )
    return list(given)


def _fingerprint(workspace: Path, params: Params, model: str) -> str:
    """Digest of everything the unlearned model depends on."""
    data = [sha256_file(file) for file in data_files(workspace).values()]
    return sha256_json([params.unlearn.model_dump(), params.seed, params.model.max_length, model_files(model), data])


def _finished(output: Path, fingerprint: str) -> UnlearnSummary | None:
    """What an earlier call with the same inputs made, if it is still whole."""
    if not (output / "training.json").exists():
        return None
    facts = read_json(output / "training.json")
    if facts["fingerprint"] != fingerprint or facts["weights_sha256"] != sha256_weights(output / "model"):
        return None
    return _summary(output)


def _drop_checkpoints_of_other_settings(checkpoints: Path, fingerprint: str) -> None:
    stamp = checkpoints / "settings.json"
    if not (stamp.exists() and read_json(stamp)["fingerprint"] == fingerprint):
        shutil.rmtree(checkpoints, ignore_errors=True)
        write_json(stamp, {"schema_version": 1, "fingerprint": fingerprint})


def data_files(workspace: Path) -> dict[str, Path]:
    """The sets of a workspace that extract wrote: forget, retain and holdout.

    Raises:
        InputError: one of them is not there.
    """
    files = {kind: workspace / "data" / f"{kind}.parquet" for kind in ("forget", "retain", "holdout")}
    for file in files.values():
        if not file.is_file():
            raise InputError(f"{file}: no such file; run `python -m tasks.extract --workspace {workspace}` first")
    return files


def model_files(name: str) -> dict[str, str] | str:
    """What tells a model from others: the digests of a folder's files by name, or a hub name as it is."""
    folder = Path(name)
    if not folder.is_dir():
        return name
    return {path.name: sha256_file(path) for path in folder.iterdir() if path.is_file()}


def load_model(name: str) -> tuple[Any, Any]:
    """A causal language model (float32 on CPU, its own dtype on a GPU) and its tokenizer.

    Raises:
        InputError: nothing loadable is there.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            name, dtype="auto" if torch.cuda.is_available() else torch.float32
        )
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: no causal language model can be loaded from there ({why_no_model(error)})") from None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def why_no_model(error: Exception) -> str:
    """What transformers said when it found no model, in one clause."""
    from huggingface_hub.errors import HFValidationError

    if isinstance(error.__cause__, HFValidationError):
        return "there is no such folder, and no model on the hub can be called so"
    return str(error).strip().splitlines()[0]


def main(workspace: Path, model: str, params: ParamsFile = DEFAULT_PARAMS, set_: Overrides = None) -> UnlearnSummary:
    """Unlearn a workspace's forget set from a model."""
    return run_unlearn(workspace, load_params(params, set_), model)


if __name__ == "__main__":
    run_command(main)
