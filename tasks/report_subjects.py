"""The forgotten, person by person and text by text, for the review page.

People appear under pseudonyms; only `Generation` holds texts, and subjects.json alone says who is who. Neither may
leave the workspace. Knows nothing of the page or of MLflow.
"""

import hmac
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tasks.plots import MODELS
from unilogit.files import sha256_file, write_json

NOBODY = "nobody named"
_MEASURED = ["probability", "rouge_l_recall", "extraction_strength", "generated"]
_MOST_LETTERS = 1000  # of one text


@dataclass(frozen=True)
class Subject:
    """One person of this batch: means over the person's records (None: not measured)."""

    pseudonym: str
    records: int
    probability_before: float | None
    probability_after: float | None
    probability_golden: float | None
    rouge_before: float | None
    rouge_after: float | None
    extraction_after: float | None


@dataclass(frozen=True)
class Generation:
    """A forgotten record and what each model makes of it: personal data.

    Attributes:
        said: model, as in MODELS → its greedy answer.
    """

    record_id: str
    prompt: str
    reference: str
    said: dict[str, str]


def read_forgotten(workspace: Path) -> pd.DataFrame:
    """This batch's records: record_id, subject_ids, prompt, response and `<model>_<measurement>`, NaN if not there.

    Most remembered first: by answer probability after, then by record_id.
    """
    columns = ["record_id", "subject_ids", "prompt", "response", "batch"]
    records = pd.read_parquet(workspace / "data" / "forget.parquet", columns=columns)
    records = records[records["batch"] == "current"]
    for model in MODELS:
        file = workspace / "evaluation" / "models" / f"{model}.parquet"
        examples = pd.read_parquet(file) if file.exists() else pd.DataFrame(columns=["set", "record_id"])
        measured = examples[examples["set"] == "forget"].reindex(columns=["record_id", *_MEASURED])
        measured = measured.rename(columns={name: f"{model}_{name}" for name in _MEASURED})
        records = records.merge(measured.drop_duplicates("record_id"), "left", "record_id")
    return records.sort_values(["after_probability", "record_id"], ascending=[False, True], ignore_index=True)


def write_pseudonyms(workspace: Path, forgotten: pd.DataFrame) -> dict[str, str]:
    """Number the people and write subjects.json, pseudonym → subject id.

    The order is that of a keyed digest, with the forget set for a key: the same again in this workspace, and
    unknown to one who has a list of ids but not the texts.

    Returns:
        Subject id → pseudonym.
    """
    key = sha256_file(workspace / "data" / "forget.parquet").encode()
    ids = {subject for subjects in forgotten["subject_ids"] for subject in subjects}
    shuffled = sorted(ids, key=lambda subject: hmac.digest(key, subject.encode(), "sha256"))
    names = {f"S-{place:03}": subject for place, subject in enumerate(shuffled, 1)}
    write_json(workspace / "subjects.json", {"schema_version": 1, "subjects": names})
    return {subject: name for name, subject in names.items()}


def subject_table(forgotten: pd.DataFrame, pseudonyms: dict[str, str]) -> list[Subject]:
    """A row for each person, most remembered first; one for the records that name nobody."""
    each = forgotten.explode("subject_ids")
    each["subject"] = each["subject_ids"].map(pseudonyms).fillna(NOBODY)
    numbers = [f"{model}_{name}" for model in MODELS for name in _MEASURED if name != "generated"]
    each[numbers] = each[numbers].astype("float64")  # a column of nothing has no type
    people = each.groupby("subject")
    means = people[numbers].mean()
    means = means.assign(records=people.size()).reset_index()
    means = means.sort_values(
        ["after_probability", "after_extraction_strength", "subject"], ascending=[False] * 2 + [True]
    )
    return [
        Subject(
            pseudonym=str(row["subject"]),
            records=int(row["records"]),
            probability_before=_known(row["before_probability"]),
            probability_after=_known(row["after_probability"]),
            probability_golden=_known(row["golden_probability"]),
            rouge_before=_known(row["before_rouge_l_recall"]),
            rouge_after=_known(row["after_rouge_l_recall"]),
            extraction_after=_known(row["after_extraction_strength"]),
        )
        for row in means.to_dict("records")
    ]


def _known(value: float) -> float | None:
    return None if pd.isna(value) else float(value)


def sample_generations(forgotten: pd.DataFrame, count: int = 10) -> list[Generation]:
    """The records that the model remembers best, and what each model says; those without any answer are left out."""
    answers = [f"{model}_generated" for model in MODELS]
    asked = forgotten[forgotten[answers].notna().any(axis=1)].head(count)
    return [
        Generation(
            record_id=str(row["record_id"]),
            prompt=_short(row["prompt"]),
            reference=_short(row["response"]),
            said={model: _short(row[f"{model}_generated"]) for model in MODELS if pd.notna(row[f"{model}_generated"])},
        )
        for row in asked.to_dict("records")
    ]


def _short(text: str) -> str:
    return text if len(text) <= _MOST_LETTERS else text[:_MOST_LETTERS] + "…"
