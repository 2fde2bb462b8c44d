"""Part of the step evaluate: attacks on what was forgotten, on the unlearned model and on the golden target.

Each model's results are kept under a digest of all that they depend on, as the other measurements are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from tasks.unlearn import load_model, model_files
from unilogit.data.records import CorpusRecord
from unilogit.files import read_json, sha256_json, write_json, write_parquet, write_text
from unilogit.params import Params

ROLES = ("after", "golden")


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
    from unilogit.evaluation.robustness.measure import CURVES, robustness_curves, robustness_metrics

    settings = params.evaluate.robustness
    folder = workspace / "evaluation" / "robustness"
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.csv"):
        stale.unlink()
    if not settings.attacks or not records:
        return {}
    records = list(records)[: settings.max_examples]
    results = {role: _attack(folder, role, models[role], records, params) for role in ROLES if role in models}
    curves = {role: robustness_curves(found) for role, found in results.items()}
    for attack, (over, value) in CURVES.items():
        if attack in settings.attacks:
            frames = [
                curve[attack].rename(columns={over: "x", value: "value"})[["x", "value"]].assign(model=role)
                for role, curve in curves.items()
                if len(curve[attack])
            ]
            if frames:
                write_text(folder / f"{attack}.csv", pd.concat(frames)[["model", "x", "value"]].to_csv(index=False))
    return {role: robustness_metrics(curve) for role, curve in curves.items()}


def _attack(
    folder: Path, role: str, model: str, records: list[CorpusRecord], params: Params
) -> dict[str, pd.DataFrame]:
    from unilogit.evaluation.robustness.measure import RobustnessSettings, measure_robustness
    from unilogit.evaluation.token_scores import within_memory

    settings, attacks = params.evaluate.robustness, params.evaluate.robustness.attacks
    fingerprint = sha256_json(
        [
            model_files(model),
            [r.model_dump() for r in records],
            params.evaluate.model_dump(exclude={"baselines"}),
            params.seed,
        ]
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
