"""Single people under a model: whom it still knows, and about whom it finds the answers likeliest.

A mean over a thousand people hides one who is remembered. Knows what was measured of each record, and whom it is about;
nothing of files.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from unilogit.evaluation.contamination import find_known_people
from unilogit.evaluation.evaluate import NO_HOLDOUT
from unilogit.evaluation.examples import FORGET_ALL, HOLDOUT, RETAIN
from unilogit.evaluation.findings import NOT_FINITE, Findings

FAMILY = "people"
_NOBODY_ELSE = "there are fewer than two unseen people, or no retained record, to compare each person with"


def people_findings(examples: pd.DataFrame, subjects: Mapping[str, Sequence[str]]) -> Findings:
    """Of the people of every batch: `people.known` and `people.worst_probability`.

    `known` is how many of them the model knows, as `find_known_people` tells it beside the holdout;
    `worst_probability` the highest mean probability of anybody's answers.

    Args:
        examples: as of `Evaluation`.
        subjects: record id → whom the record is about; one person at least.
    """
    rows = examples[["set", "record_id", "nll", "probability"]]
    rows = rows.assign(subject_ids=rows["record_id"].map(subjects))
    forget, retain, unseen = (rows[rows["set"] == name] for name in (FORGET_ALL, RETAIN, HOLDOUT))
    findings = Findings()
    by_person = forget.explode("subject_ids").groupby("subject_ids")["probability"]
    worst = float(by_person.mean().max()) if forget["probability"].notna().all() else None
    findings.put((FAMILY, "worst_probability"), worst)
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
    return findings
