"""Part of the step evaluate: attacks on what was forgotten, on the unlearned model and on the golden target.

Each model's results are kept under a digest of all that they depend on, as the other measurements are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.unlearn import load_model, model_files
from unilogit.data.records import CorpusRecord
from unilogit.files import read_json, sha256_json, write_json, write_parquet, write_text
from unilogit.params import Params

ROLES = ("after", "golden")
_CURVES = {  # attack -> what its curve goes over, and what it shows
    "relearning": ("step", "probability"),
    "quantisation": ("bits", "probability"),
    "paraphrased_prompts": ("wording", "probability"),
    "prefix_attack": ("prefix_tokens", "rouge_l_recall"),
    "sampling": ("samples", "rouge_l_recall"),
}


def run_robustness(
    workspace: Path, models: Mapping[str, str], records: Sequence[CorpusRecord], params: Params
) -> dict[str, dict[str, float | None]]:
    """Attack the models, and write evaluation/robustness/{attack}.csv (curves) and, by record, {attack}.parquet.

    Args:
        models: role -> a Hugging Face folder; those of ROLES are attacked.
        records: what the models should not know.

    Returns:
        Role -> metric -> number: what metrics.json holds as `robustness`.
    """
    settings = params.evaluate.robustness
    folder = workspace / "evaluation" / "robustness"
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.csv"):
        stale.unlink()
    if not settings.attacks or not records:
        return {}
    records = list(records)[: settings.max_examples]
    results = {role: _attack(folder, role, models[role], records, params) for role in ROLES if role in models}
    curves = {role: _curves(found) for role, found in results.items()}
    for attack, (over, value) in _CURVES.items():
        if attack in settings.attacks:
            frames = [
                curve[attack].rename(columns={over: "x", value: "value"})[["x", "value"]].assign(model=role)
                for role, curve in curves.items()
                if len(curve[attack])
            ]
            if frames:
                write_text(folder / f"{attack}.csv", pd.concat(frames)[["model", "x", "value"]].to_csv(index=False))
    return {role: _metrics(curve) for role, curve in curves.items()}


def _attack(
    folder: Path, role: str, model: str, records: list[CorpusRecord], params: Params
) -> dict[str, pd.DataFrame]:
    from unilogit.evaluation.robustness.measure import RobustnessSettings, measure_robustness
    from unilogit.evaluation.token_scores import within_memory

    settings, attacks = params.evaluate.robustness, params.evaluate.robustness.attacks
    fingerprint = sha256_json(
        [model_files(model), [r.model_dump() for r in records], params.evaluate.model_dump(), params.seed]
    )
    stamp = folder / f"{role}.json"
    files: dict[str, Path] = {attack: folder / f"{role}-{attack}.parquet" for attack in attacks}
    if (
        stamp.exists()
        and read_json(stamp)["fingerprint"] == fingerprint
        and all(file.exists() for file in files.values())
    ):
        return {attack: pd.read_parquet(file) for attack, file in files.items()}
    loaded, tokenizer = load_model(model)
    chosen = RobustnessSettings(
        attacks=tuple(attacks),
        max_new_tokens=params.evaluate.max_new_tokens,
        seed=params.seed,
        relearning_rate=settings.relearning_rate,
    )
    found = within_memory(
        lambda batch_size: measure_robustness(
            loaded, tokenizer, records, replace(chosen, batch_size=batch_size), progress=f"attack {role}"
        ),
        params.evaluate.batch_size,
    )
    stamp.unlink(missing_ok=True)  # or a kill would leave it beside results of other settings
    for attack, frame in found.items():
        write_parquet(files[attack], frame)
    write_json(stamp, {"schema_version": 1, "fingerprint": fingerprint})  # last: it says that the others are there
    return found


def _curves(found: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    from unilogit.evaluation.robustness.measure import robustness_curve

    curves = {attack: robustness_curve(attack, frame) for attack, frame in found.items()}
    if "relearning" in curves:  # the records that were trained on come back in any model
        curves["relearning"] = curves["relearning"][~curves["relearning"]["relearned"].astype(bool)]
    return curves


def _metrics(curves: dict[str, pd.DataFrame]) -> dict[str, float | None]:
    """The hardest point of each attack; None where the model's likelihoods are no numbers."""
    metrics: dict[str, Any] = {}
    for attack, curve in curves.items():
        if not len(curve):
            continue
        if attack == "quantisation":
            for row in curve[curve["bits"] <= 8].itertuples():
                metrics[f"quantised_{row.bits}_bit_probability"] = row.probability
        elif attack == "paraphrased_prompts":
            rows = curve[curve["wording"] == "paraphrased"]
            metrics |= {
                f"paraphrased_{name}": rows[name].iloc[0] for name in ("probability", "rouge_l_recall") if len(rows)
            }
        else:
            name = {"relearning": "relearned_probability"}.get(attack, f"{attack}_rouge_l_recall")
            metrics[name] = curve[_CURVES[attack][1]].iloc[-1]
    return {name: float(value) if math.isfinite(value) else None for name, value in metrics.items()}
