"""Step: measure the model before, the unlearned model and the golden target on the same sets.

Each model's result is kept under a digest of all that it depends on: a killed run scores no model twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from tasks.command import run_command
from tasks.golden import read_golden
from tasks.options import Overrides, ParamsFile
from tasks.robustness import run_robustness
from tasks.unlearn import data_files, load_model, model_files, run_unlearn
from unilogit.data.records import CorpusRecord, frame_records
from unilogit.errors import InputError
from unilogit.evaluation.stopwatch import tell_seconds
from unilogit.files import read_json, sha256_file, sha256_json, write_json, write_parquet, write_text
from unilogit.params import DEFAULT_PARAMS, Params, load_params

if TYPE_CHECKING:
    from unilogit.evaluation.evaluate import Evaluation


@dataclass(frozen=True)
class EvaluateSummary:
    """The measurements that say most, before and after; None where there is no number.

    Attributes:
        metrics: the file with all of them.
        forget_probability, retain_probability, model_utility: (before, after).
        took: model -> where the time of measuring it went.
    """

    metrics: Path
    forget_probability: tuple[float | None, float | None]
    retain_probability: tuple[float | None, float | None]
    model_utility: tuple[float | None, float | None]
    took: dict[str, str]

    def __str__(self) -> str:
        changes = {
            "forget probability": self.forget_probability,
            "retain probability": self.retain_probability,
            "model utility": self.model_utility,
        }
        told = [f"{name} {_number(before)} → {_number(after)}" for name, (before, after) in changes.items()]
        took = "".join(f"\n  {role} took {line}" for role, line in self.took.items())
        return f"{self.metrics}: {', '.join(told)}{took}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def run_evaluate(workspace: Path, params: Params, model: str, golden: Path | None) -> EvaluateSummary:
    """Write evaluation/metrics.json and evaluation/models/{before,after,golden}.parquet of a workspace.

    With evaluate.baselines, also evaluation/baselines.csv, and the models of these methods under baselines/.

    Args:
        workspace: holds data/forget.parquet, retain.parquet and holdout.parquet, and model/.
        model: the model before unlearning: a Hugging Face folder or hub name.
        golden: the golden target's folder; None makes what needs it unavailable.

    Raises:
        InputError: a model or the data is missing.
    """
    from unilogit.evaluation.comparison import compare
    from unilogit.evaluation.evaluate import NOT_FINITE

    models = {"before": model, "after": str(workspace / "model")} | ({"golden": str(golden)} if golden else {})
    _require_model(workspace / "model", f"run `python -m tasks.unlearn --workspace {workspace}` first")
    if golden is not None:
        _require_model(golden, "train it, correct model.retain, or set that to null")
    sets = _sets(workspace, params)
    if golden is None:
        for stale in _files(workspace, "golden"):
            stale.unlink(missing_ok=True)
    evaluations = {
        role: _evaluate(workspace, role, name, sets, params, golden=None if role == "golden" else golden)
        for role, name in models.items()
    }
    metrics = compare(
        evaluations["before"],
        evaluations["after"],
        evaluations.get("golden"),
        no_golden="model.retain is null, so there is no golden target to compare with",
    )
    for role, robustness in run_robustness(workspace, models, sets["forget"], params).items():
        metrics[role]["robustness"] = robustness
        prefix = "" if role == "after" else f"{role}."
        for name in [name for name, value in robustness.items() if value is None]:
            metrics["unavailable"][f"{prefix}robustness.{name}"] = NOT_FINITE
    _compare_methods(workspace, model, sets, params)
    file = workspace / "evaluation" / "metrics.json"
    write_json(file, metrics)
    before, after = metrics["before"], metrics["after"]
    return EvaluateSummary(
        metrics=file,
        forget_probability=(before["forget"]["probability"], after["forget"]["probability"]),
        retain_probability=(before["retain"]["probability"], after["retain"]["probability"]),
        model_utility=(before["model_utility"], after["model_utility"]),
        took={role: tell_seconds(each.seconds, each.generated_tokens) for role, each in evaluations.items()},
    )


def _compare_methods(workspace: Path, model: str, sets: Mapping[str, list[CorpusRecord]], params: Params) -> None:
    """Unlearn with the methods of evaluate.baselines too, and write what the forget/utility plane shows of them."""
    rows = []
    for method in params.evaluate.baselines:
        other = params.model_copy(update={"unlearn": params.unlearn.model_copy(update={"method": method})})
        try:
            unlearned = run_unlearn(workspace, other, model, workspace / "baselines" / method).model
        except InputError as error:
            raise InputError(*[f"evaluate.baselines, {method}: {problem}" for problem in error.problems]) from None
        found = _evaluate(workspace, f"baseline-{method}", str(unlearned), sets, params, golden=None).metrics
        rows.append((method, found["forget"]["probability"], found["model_utility"]))
    file = workspace / "evaluation" / "baselines.csv"
    if rows:
        columns = ["name", "forget_probability", "model_utility"]
        write_text(file, pd.DataFrame(rows, columns=columns).to_csv(index=False))
    else:
        file.unlink(missing_ok=True)


def _require_model(folder: Path, remedy: str) -> None:
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: no model there (config.json is missing); {remedy}")


def _sets(workspace: Path, params: Params) -> dict[str, list[CorpusRecord]]:
    """What is measured: forget sets and holdout whole, the rest sampled with the seed."""
    forget, retain, holdout = (pd.read_parquet(file) for file in data_files(workspace).values())
    current = forget[forget["batch"] == "current"]
    if current.empty:
        raise InputError(f"{workspace / 'data' / 'forget.parquet'}: nothing in it is to be forgotten by this batch")
    groups = params.data.utility_groups
    sampled = {
        "retain": retain[~retain["group"].isin(groups)],
        **{group: retain[retain["group"] == group] for group in groups},
    }
    limit, seed = params.evaluate.max_examples, params.seed
    frames = {
        "forget": current,
        "forget_all": forget,
        **{
            name: rows if len(rows) <= limit else rows.sample(limit, random_state=seed).sort_index()
            for name, rows in sampled.items()
        },
        "holdout": holdout[holdout["use"] == "evaluate"],
    }
    return {name: frame_records(frame) for name, frame in frames.items()}


def _evaluate(
    workspace: Path,
    role: str,
    model: str,
    sets: Mapping[str, list[CorpusRecord]],
    params: Params,
    golden: Path | None,
) -> "Evaluation":
    """Measure one model, or take what an earlier call measured from the same inputs."""
    from unilogit.evaluation.evaluate import evaluate_model
    from unilogit.evaluation.token_scores import within_memory

    fingerprint = _fingerprint(workspace, model, params, golden)
    if finished := _finished(workspace, role, fingerprint):
        return finished
    loaded, tokenizer = load_model(model)
    beside = load_model(str(golden))[0] if golden else None
    evaluation = within_memory(
        lambda batch_size: evaluate_model(
            loaded,
            tokenizer,
            sets,
            batch_size=batch_size,
            max_new_tokens=params.evaluate.max_new_tokens,
            utility_sets=["retain", *params.data.utility_groups],
            golden=beside,
            progress=f"evaluate {role}",
        ),
        params.evaluate.batch_size,
    )
    scores, examples = _files(workspace, role)
    write_parquet(examples, evaluation.examples)
    write_json(
        scores,
        {
            "schema_version": 1,
            "fingerprint": fingerprint,
            "examples_sha256": sha256_file(examples),
            "metrics": evaluation.metrics,
            "unavailable": evaluation.unavailable,
            "seconds": evaluation.seconds,
            "generated_tokens": evaluation.generated_tokens,
        },
    )
    return evaluation


def _files(workspace: Path, role: str) -> tuple[Path, Path]:
    """A model's metrics with their fingerprint, and its examples."""
    folder = workspace / "evaluation" / "models"
    return folder / f"{role}.json", folder / f"{role}.parquet"


def _fingerprint(workspace: Path, model: str, params: Params, golden: Path | None) -> str:
    """Digest of everything the measurements depend on."""
    data = [sha256_file(file) for file in data_files(workspace).values()]
    return sha256_json(
        [
            model_files(model),
            model_files(str(golden)) if golden else None,
            data,
            params.evaluate.model_dump(exclude={"robustness", "baselines"}),
            params.data.utility_groups,
            params.seed,
        ]
    )


def _finished(workspace: Path, role: str, fingerprint: str) -> "Evaluation | None":
    from unilogit.evaluation.evaluate import Evaluation

    scores, examples = _files(workspace, role)
    if not (scores.exists() and examples.exists()):
        return None
    facts = read_json(scores)
    if facts["fingerprint"] != fingerprint or facts["examples_sha256"] != sha256_file(examples):
        return None
    measured = (facts[key] for key in ("metrics", "unavailable", "seconds", "generated_tokens"))
    return Evaluation(pd.read_parquet(examples), *measured)


def main(
    workspace: Path,
    model: str,
    params: ParamsFile = DEFAULT_PARAMS,
    set_: Overrides = None,
) -> EvaluateSummary:
    """Measure a workspace's unlearned model beside the model before it and the golden target."""
    return run_evaluate(workspace, load_params(params, set_), model, read_golden(workspace))


if __name__ == "__main__":
    run_command(main)
