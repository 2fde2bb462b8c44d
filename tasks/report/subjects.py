"""The forgotten, person by person and text by text, for the review page.

People appear under pseudonyms; only `Generation` holds texts, and `Place.PSEUDONYMS` alone says who is who. Neither
may leave the workspace. Knows nothing of the page or of MLflow.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from tasks.report.names import MODELS, metric_title
from tasks.sets import PARENT, RETAIN_MODEL, UNLEARNED
from tasks.workspace import Place, Pseudonyms, Workspace
from unilogit.files import sha256_file

NOBODY = "nobody named"
SHOWN = (  # (metric, role) of a person's row
    ("probability", PARENT),
    ("probability", UNLEARNED),
    ("probability", RETAIN_MODEL),
    ("rouge_l_recall", PARENT),
    ("rouge_l_recall", UNLEARNED),
    ("extraction_strength", UNLEARNED),
)
_NUMBERS = ["probability", "rouge_l_recall", "extraction_strength"]
_COLUMNS = ["record_id", "subject_ids", "prompt", "response", "batch", "history"]
_MOST_LETTERS = 1000  # of one text


@dataclass(frozen=True)
class Subject:
    """One person of this batch.

    Attributes:
        records: how many records are about the person.
        means: title of each of SHOWN → mean over these records; None: not measured.
    """

    pseudonym: str
    records: int
    means: dict[str, float | None]


@dataclass(frozen=True)
class Generation:
    """A forgotten record and what each model makes of it: personal data.

    Attributes:
        said: role of a model → its greedy answer.
    """

    record_id: str
    prompt: str
    reference: str
    said: dict[str, str]


def read_forgotten(workspace: Workspace) -> pd.DataFrame:
    """This batch's records: _COLUMNS and `<role>_<measurement>`, NaN if not there.

    Most remembered first: by answer probability after, then by record_id.
    """
    records = pd.read_parquet(workspace.path(Place.FORGET))
    records = records[records["batch"] == "current"].reindex(columns=_COLUMNS)  # older ones know no history
    for role in MODELS:
        _, file = workspace.measured(role)
        examples = pd.read_parquet(file) if file.exists() else pd.DataFrame(columns=["set", "record_id"])
        measured = examples[examples["set"] == "forget"].reindex(columns=["record_id", *_NUMBERS, "generated"])
        measured = measured.drop_duplicates("record_id").set_index("record_id").add_prefix(f"{role}_")
        records = records.merge(measured, "left", left_on="record_id", right_index=True)
    return records.sort_values([f"{UNLEARNED}_probability", "record_id"], ascending=[False, True], ignore_index=True)


def write_pseudonyms(workspace: Workspace, forgotten: pd.DataFrame) -> dict[str, str]:
    """Number the people and write down who is who.

    The order is that of a keyed digest, with the forget set for a key: the same again in this workspace, and
    unknown to one who has a list of ids but not the texts.

    Returns:
        Subject id → pseudonym.
    """
    key = sha256_file(workspace.path(Place.FORGET)).encode()
    ids = {subject for subjects in forgotten["subject_ids"] for subject in subjects}
    shuffled = sorted(ids, key=lambda subject: hmac.digest(key, subject.encode(), "sha256"))
    names = {f"S-{place:03}": subject for place, subject in enumerate(shuffled, 1)}
    workspace.write(Pseudonyms(subjects=names))
    return {subject: name for name, subject in names.items()}


def subject_table(forgotten: pd.DataFrame, pseudonyms: dict[str, str]) -> list[Subject]:
    """A row for each person, most remembered first; one for the records that name nobody."""
    pairs = forgotten.explode("subject_ids")
    pairs["subject"] = pairs["subject_ids"].map(pseudonyms).fillna(NOBODY)
    numbers = [f"{role}_{metric}" for role in MODELS for metric in _NUMBERS]
    pairs[numbers] = pairs[numbers].astype("float64")  # a column of nothing has no type
    people = pairs.groupby("subject")
    means = people[numbers].mean().assign(records=people.size()).reset_index()
    worst_first = [f"{UNLEARNED}_probability", f"{UNLEARNED}_extraction_strength", "subject"]
    return [
        Subject(
            pseudonym=str(row["subject"]),
            records=int(row["records"]),
            means={
                f"{metric_title(metric)}, {MODELS[role]}": _known(row[f"{role}_{metric}"]) for metric, role in SHOWN
            },
        )
        for row in means.sort_values(worst_first, ascending=[False, False, True]).to_dict("records")
    ]


def _known(value: float) -> float | None:
    return None if pd.isna(value) else float(value)


def sample_generations(forgotten: pd.DataFrame, count: int = 10) -> list[Generation]:
    """The records that the model remembers best, and what each model says; those without any answer are left out."""
    answers = {role: f"{role}_generated" for role in MODELS}
    asked = forgotten[forgotten[list(answers.values())].notna().any(axis=1)].head(count)
    return [
        Generation(
            record_id=str(row["record_id"]),
            prompt=_short(_asked(row["history"], row["prompt"])),
            reference=_short(row["response"]),
            said={role: _short(row[answer]) for role, answer in answers.items() if pd.notna(row[answer])},
        )
        for row in asked.to_dict("records")
    ]


def _asked(history: Sequence[str] | float, prompt: str) -> str:
    """A prompt after the exchange before it, without which nobody would understand it."""
    return "\n".join([*(() if isinstance(history, float) else history[-2:]), prompt])


def _short(text: str) -> str:
    return text if len(text) <= _MOST_LETTERS else text[:_MOST_LETTERS] + "…"
