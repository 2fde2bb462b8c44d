"""Step: attempts to bring the forgotten back, on the unlearned model and on the retain model.

Each model's results are kept by what they depend on (tasks/measurements.py): a killed run or a retry attacks no model
twice.
"""

from collections.abc import Mapping

import pandas as pd

from tasks.measurements import measure_once
from tasks.params import TOKENS, Params
from tasks.sets import RETAIN_MODEL, UNLEARNED, current_forget_set, digest_of_records
from tasks.stamp import code_digest, model_digest
from tasks.step import Step
from tasks.workspace import AttackMetrics, Place, RetainModel, Workspace
from unilogit.data.parquet_rows import sample_rows
from unilogit.data.records import CorpusRecord, frame_records
from unilogit.files import Json, write_parquet, write_text


def run_attack(workspace: Workspace, params: Params) -> AttackMetrics:
    """Attack what was forgotten: relearning, quantisation, other wordings, clues, prefixes, sampling, layers.

    Raises:
        InputError: a model is missing, or cannot be attacked so.
    """
    from unilogit.evaluation.attacks.measure import robustness_curves, robustness_metrics

    config = params.evaluate.robustness
    workspace.path(Place.ATTACKS).mkdir(parents=True, exist_ok=True)
    forget = current_forget_set(workspace)
    records = frame_records(forget.iloc[sample_rows(len(forget), config.max_examples, params.seed)])
    retain_model = workspace.read(RetainModel).model
    models = {UNLEARNED: str(workspace.path(Place.MODEL))} | ({RETAIN_MODEL: retain_model} if retain_model else {})
    curves = {
        role: robustness_curves(_attack(workspace, role, model, records, params))
        for role, model in models.items()
        if config.attacks
    }
    _write_curves(workspace, curves)
    findings = {role: robustness_metrics(frames) for role, frames in curves.items()}
    metrics = AttackMetrics(
        metrics={role: measured.metrics for role, measured in findings.items()},
        unavailable={role: measured.unavailable for role, measured in findings.items()},
        incomplete={role: measured.incomplete for role, measured in findings.items()},
    )
    workspace.write(metrics)
    return metrics


def _write_curves(workspace: Workspace, curves: Mapping[str, Mapping[str, pd.DataFrame]]) -> None:
    """A file for each attack; none of an attack that was not made."""
    from unilogit.evaluation.attacks.measure import CURVES

    for attack, (point, value) in CURVES.items():
        lines = [
            frames[attack].rename(columns={point: "x", value: "value"})[["x", "value"]].assign(model=role)
            for role, frames in curves.items()
            if attack in frames and len(frames[attack])
        ]
        file = workspace.attack_curve(attack)
        if lines:
            write_text(file, pd.concat(lines)[["model", "x", "value"]].to_csv(index=False))
        else:
            file.unlink(missing_ok=True)


def _attack(
    workspace: Workspace, role: str, model: str, records: list[CorpusRecord], params: Params
) -> dict[str, pd.DataFrame]:
    attacks = params.evaluate.robustness.attacks
    inputs: Json = {
        "model": model_digest(model),
        "records": digest_of_records(records),
        "params": [params.value(key) for key in STEP.params],
        "code": code_digest("unilogit.evaluation.attacks.measure"),
    }
    measured = measure_once(
        inputs, type(None), lambda: (None, _measure(role, model, records, params)), attacks, f"attacks on {role}"
    )
    for attack, frame in measured.frames.items():
        write_parquet(workspace.attacked(role, attack), frame)
    return measured.frames


def _measure(role: str, model: str, records: list[CorpusRecord], params: Params) -> dict[str, pd.DataFrame]:
    from unilogit.evaluation.attacks.measure import RobustnessSettings, measure_robustness
    from unilogit.model import load_model

    loaded, tokenizer = load_model(model)
    settings = RobustnessSettings.from_config(params.evaluate, seed=params.seed, max_length=params.model.max_length)
    return measure_robustness(loaded, params.model.formatted(tokenizer), records, settings, progress=f"attack {role}")


STEP = Step(
    name="attack",
    function=run_attack,
    reads=(Place.FORGET, Place.MODEL, Place.RETAIN_MODEL),
    writes=(Place.ATTACKS,),
    params=("seed", "evaluate.batch_tokens", "evaluate.max_new_tokens", "evaluate.robustness", *TOKENS),
)

if __name__ == "__main__":
    STEP.command()
