"""The metrics of a batch once more, over the records of one request, made of what was measured of each record.

The code that makes them is the one that made those of the batch, so that a gate's metric means the same for one
person. Knows nothing of certificates.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import pandas as pd

from tasks.report.review import numbers
from tasks.sets import PARENT, RETAIN_MODEL, UNLEARNED
from tasks.workspace import Workspace
from unilogit.errors import InputError

_PERSONAL_SETS = ("forget", "forget_all")
_HOLDOUT = "holdout"
_OF_WHAT_IS_KEPT = ("model_utility", "retained")
_NOT_MEASURED_ON_THEM = "it is not measured on what was forgotten"
_NOT_ATTACKED = "none of these records is among those that show what the attack does"


@dataclass(frozen=True)
class PersonMetrics:
    """What was measured on some records.

    Attributes:
        records: how many of them were measured.
        highest_probability: of the right answer to one of them, after; None where there is no number.
        values: role of a model → dotted path of a metric → number.
        unavailable: dotted path → why there is no number after.
    """

    records: int
    highest_probability: float | None
    values: Mapping[str, Mapping[str, float | None]]
    unavailable: Mapping[str, str]

    def value(self, role: str, path: str) -> float | None:
        """A metric of the model in a role; None where there is no number."""
        return self.values.get(role, {}).get(path)

    def reason(self, path: str) -> str | None:
        """Why a metric has no number after; None where it has one."""
        if self.value(UNLEARNED, path) is not None:
            return None
        return self.unavailable.get(path, _NOT_ATTACKED if path.startswith("robustness.") else _NOT_MEASURED_ON_THEM)


class RecordMeasurements:
    """What a workspace holds of single records; reads it once for all requests of its batch.

    Raises:
        InputError: the models before and after were not measured there.
    """

    def __init__(self, workspace: Workspace) -> None:
        from unilogit.evaluation.attacks.measure import ATTACKS

        files = {role: workspace.measured(role)[1] for role in (PARENT, UNLEARNED, RETAIN_MODEL)}
        if absent := [file for role, file in files.items() if role != RETAIN_MODEL and not file.exists()]:
            raise InputError(f"{absent[0]}: no such file; the step evaluate has not been run yet")
        examples = {role: pd.read_parquet(file) for role, file in files.items() if file.exists()}
        shown = (*_PERSONAL_SETS, _HOLDOUT)
        self._examples = {role: frame[frame["set"].isin(shown)] for role, frame in examples.items()}
        self._attacked = {
            role: {
                attack: pd.read_parquet(file)
                for attack in ATTACKS
                if (file := workspace.attacked(role, attack)).exists()
            }
            for role in examples
        }

    def of_records(self, record_ids: Collection[str]) -> PersonMetrics:
        """The metrics of the forget sets, and of the attacks on them, as if these records were all that is in them."""
        from unilogit.evaluation.attacks.measure import robustness_curves, robustness_metrics
        from unilogit.evaluation.comparison import compare
        from unilogit.evaluation.evaluate import Evaluation, aggregate

        evaluations = {}
        for role, examples in self._examples.items():
            theirs = examples[(examples["set"] == _HOLDOUT) | examples["record_id"].isin(record_ids)]
            findings = aggregate(theirs, [*_PERSONAL_SETS, _HOLDOUT], utility_sets=())
            evaluations[role] = Evaluation(
                theirs, findings.metrics, findings.unavailable, findings.incomplete, seconds={}, generated_tokens=0
            )
        metrics = compare(evaluations[PARENT], evaluations[UNLEARNED], evaluations.get(RETAIN_MODEL))
        values, unavailable = {}, metrics["unavailable"]
        for role, attacked in self._attacked.items():
            frames = {name: frame[frame["record_id"].isin(record_ids)] for name, frame in attacked.items()}
            robustness = robustness_metrics(
                robustness_curves({name: frame for name, frame in frames.items() if len(frame)})
            )
            values[role] = numbers({**metrics[role], "robustness": robustness.metrics})
            if role == UNLEARNED:
                unavailable |= {f"robustness.{name}": reason for name, reason in robustness.unavailable.items()}
        forget = evaluations[UNLEARNED].examples.query("set == 'forget'")
        highest = float(forget["probability"].max(skipna=False)) if len(forget) else None
        return PersonMetrics(
            records=len(forget),
            highest_probability=None if highest is None or pd.isna(highest) else highest,
            values=values,
            unavailable={
                path: reason for path, reason in unavailable.items() if path.split(".")[0] not in _OF_WHAT_IS_KEPT
            },
        )
