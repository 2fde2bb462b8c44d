"""Step: the golden target (retain model) that a batch is compared with.

It is what perfect unlearning would give: the same architecture and tokenizer, trained on the retain set alone.
"""

from dataclasses import dataclass
from pathlib import Path

from tasks.command import run_command
from tasks.options import Overrides, ParamsFile
from tasks.train import run_train
from unilogit.errors import InputError
from unilogit.files import read_json, sha256_file, write_json
from unilogit.params import DEFAULT_PARAMS, Params, load_params


@dataclass(frozen=True)
class GoldenTarget:
    """The model's folder, or None when params.yaml names none; and what there is to say about it."""

    model: Path | None
    description: str

    def __str__(self) -> str:
        return f"golden target: {self.description}"


def run_golden(workspace: Path, params: Params, store: Path | None = None) -> GoldenTarget:
    """Write golden/golden.json of a workspace, which names the golden target; train it where model.retain says so.

    Args:
        workspace: holds data/retain.parquet.
        store: where trained ones are kept by their retain set, for all batches; the workspace when not given.

    Raises:
        InputError: model.retain names a folder without a model, or model.base cannot be trained from scratch.
    """
    golden = _find_or_train(workspace, params, store)
    model = str(golden.model) if golden.model else None
    write_json(workspace / "golden" / "golden.json", {"schema_version": 1, "model": model})
    return golden


def _find_or_train(workspace: Path, params: Params, store: Path | None) -> GoldenTarget:
    if params.model.retain is None:
        return GoldenTarget(None, "none (model.retain is null); what needs one will say that it is not available")
    if params.model.retain != "train":
        given = Path(params.model.retain)
        if not (given / "config.json").is_file():
            raise InputError(
                f"{given}: no model there (config.json is missing); correct model.retain or set it to null"
            )
        return GoldenTarget(given, str(given))
    retain = workspace / "data" / "retain.parquet"
    output = store / sha256_file(retain)[:16] if store else workspace / "golden" / "model"
    trained = run_train(retain, output, params, like=params.model.base)
    return GoldenTarget(trained.model, str(trained))


def read_golden(workspace: Path) -> Path | None:
    """The golden target of a workspace; None where it has none.

    Raises:
        InputError: the step has not been run yet.
    """
    pointer = workspace / "golden" / "golden.json"
    if not pointer.is_file():
        raise InputError(f"{pointer}: no such file; run `python -m tasks.golden --workspace {workspace}` first")
    model = read_json(pointer)["model"]
    return Path(model) if model else None


def main(workspace: Path, params: ParamsFile = DEFAULT_PARAMS, set_: Overrides = None) -> GoldenTarget:
    """Find or train the golden target of a workspace's retain set."""
    return run_golden(workspace, load_params(params, set_))


if __name__ == "__main__":
    run_command(main)
