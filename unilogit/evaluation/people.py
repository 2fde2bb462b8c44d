"""Single people under a model: whom it still knows, and about whom it finds the answers likeliest.

A mean over a thousand people hides one who is remembered. Knows what was measured of each record, and whom it is about;
nothing of files.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from unilogit.evaluation.contamination import find_known_people
from unilogit.evaluation.evaluate import NO_HOLDOUT
from unilogit.evaluation.examples import FORGET, FORGET_ALL, HOLDOUT, RETAIN
from unilogit.evaluation.findings import NOT_FINITE, Findings

FAMILY = "people"
REMEMBERED = ("probability", "rouge_l_recall", "exact_memorisation", "extraction_strength")  # high of who is remembered
_NOBODY_ELSE = "there are fewer than two unseen people, or no retained record, to compare each person with"


class Worst(NamedTuple):
    """Whom a metric is worst of.

    Attributes:
        person: subject id.
        value: the metric over the person's own records; None where it is of all people together.
    """

    person: str
    value: float | None


def people_findings(examples: pd.DataFrame, subjects: Mapping[str, Sequence[str]]) -> tuple[Findings, dict[str, Worst]]:
    """Of the people of every batch: `people.known` and `people.worst_probability`; and who is worst by each metric.

    `known` is how many of them the model knows, as `find_known_people` tells it beside the holdout;
    `worst_probability` the highest mean probability of anybody's answers.

    Args:
        examples: as of `Evaluation`.
        subjects: record id → whom the record is about; one person at least.

    Returns:
        The findings; and by dotted path of a metric, for those of `REMEMBERED` over a forget set and for these two, who
        is remembered best.
    """
    rows = examples[["set", "record_id", "nll", "probability"]]
    rows = rows.assign(subject_ids=rows["record_id"].map(subjects))
    forget, retain, unseen = (rows[rows["set"] == name] for name in (FORGET_ALL, RETAIN, HOLDOUT))
    findings = Findings()
    worst = _worst(examples, subjects)
    likeliest = worst.get(f"{FORGET_ALL}.probability")
    findings.put((FAMILY, "worst_probability"), likeliest and likeliest.value)
    if likeliest:
        worst[f"{FAMILY}.worst_probability"] = likeliest
    if unseen.empty:
        findings.put((FAMILY, "known"), None, NO_HOLDOUT)
    elif retain.empty or unseen["subject_ids"].explode().nunique() < 2:
        findings.put((FAMILY, "known"), None, _NOBODY_ELSE)
    elif not all(np.isfinite(part["nll"]).all() for part in (forget, retain, unseen)):
        findings.put((FAMILY, "known"), None, NOT_FINITE)
    else:
        people = find_known_people(forget, retain, unseen)
        told = people.undecided()
        is_measured = bool(people.is_decided.any())
        findings.put((FAMILY, "known"), float(people.is_known.sum()) if is_measured else None, told, told)
        worst[f"{FAMILY}.known"] = Worst(str(people.people["p_value"].idxmin()), None)
    return findings, worst


def _worst(examples: pd.DataFrame, subjects: Mapping[str, Sequence[str]]) -> dict[str, Worst]:
    """Of each forget set and metric, the person with the highest mean; none where a record has no number."""
    worst: dict[str, Worst] = {}
    for name in (FORGET, FORGET_ALL):
        rows = examples.loc[examples["set"] == name, ["record_id", *REMEMBERED]]
        rows = rows.assign(person=rows["record_id"].map(subjects)).explode("person")
        measured = [metric for metric in REMEMBERED if len(rows) and rows[metric].notna().all()]
        means = rows.groupby("person")[measured].mean()
        worst |= {
            f"{name}.{metric}": Worst(str(means[metric].idxmax()), float(means[metric].max())) for metric in means
        }
    return worst
