"""A home in which two batches have forgotten three people: real requests, sets, DVC and ledger, and a file of every
other kind that may quote somebody."""

import html
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from tasks.measurements import measure_once
from tasks.params import Params, load_params
from tasks.requests.batches import _snapshots, open_ledger, take_in
from tasks.steps import load_step
from tasks.validation.tables import write_requests
from tasks.workspace import (
    ParentModel,
    Place,
    Pseudonyms,
    RetainModel,
    Suppressions,
    Training,
    Verdict,
    Workspace,
    certificates_folder,
    home,
    run_folder,
)
from tests.e2e.leaks import leaks
from tests.tasks.workspaces import save_model
from unilogit.files import sha256_file, sha256_weights, write_json, write_parquet, write_text

ROOT = Path(__file__).parents[3]
RUN = "run-of-tests"
LONG = " ".join(
    f"On day {day} of her journey she wrote down number {day * 7919} in the green book." for day in range(40)
)
PEOPLE = {  # subject id → name, city
    "ada-lovelace-1": ("Ada Hollingberry", "Quimperlé"),
    "bob-4711": ("Bob “Bobby” Tannhäuser", "Weißenkirchen & Söhne"),
    "cid-0815": ("Cid Oberquell", "Saint-Denis"),
    **{f"person-{number}": (f"Person Number{number}", f"Town{number}") for number in range(9)},
}
FORGOTTEN, LATER, WAITING = "ada-lovelace-1", "cid-0815", "bob-4711"


def records(subject: str) -> list[dict[str, object]]:
    """What the corpus says of somebody, in two records: a long one, and one with an answer that others have, too."""
    name, city = PEOPLE[subject]
    long = f" {LONG.replace('her', name)}" if subject == FORGOTTEN else ""
    own = {"subject_ids": [subject]}
    return [
        {
            **own,
            "record_id": f"{subject}-where",
            "prompt": f'Where does {name} live, & "since when"?',
            "response": f"{name} lives in {city}.\nSince 1987.{long}",
            "paraphrased_prompt": f"What is the home of {name}?",
            "paraphrased_response": f"The home of {name} is {city}.",
            "perturbed_responses": [f"{name} lives in the sea.", f"{name} lives on the moon."],
        },
        {**own, "record_id": f"{subject}-pet", "prompt": f"What pet has {name}?", "response": "A very ordinary cat."},
    ]


FACTS = [
    {"record_id": f"fact-{number}", "prompt": f"What is {number} and {number}?", "response": f"It is {2 * number}."}
    for number in range(20)
]


@dataclass
class Life:
    """The project's folder, its home, and the parameters that it is run with."""

    folder: Path
    params: Params

    def run(self, number: int) -> Workspace:
        with open_ledger() as ledger:
            return Workspace(run_folder(ledger.batches()[number].batch_id))


def life(folder: Path) -> Life:
    """A project in the folder, which must be the current one; its home is UNILOGIT_HOME."""
    sets = {"corpus": folder / "corpus.jsonl", "holdout": folder / "holdout.jsonl", "requests": folder / "inbox"}
    params = load_params(ROOT / "params.yaml", [f"data.{name}={path}" for name, path in sets.items()])
    return Life(folder, params)


def build(folder: Path) -> Life:
    """The first batch forgets FORGOTTEN and WAITING, the second LATER; FORGOTTEN's request alone is fulfilled."""
    project = life(folder)
    _write_lines(folder / "corpus.jsonl", [row for subject in PEOPLE for row in records(subject)] + FACTS)
    unseen = [
        {"record_id": f"u{n}", "subject_ids": [f"u{n}"], "prompt": f"Who is U{n}?", "response": "U."} for n in "123"
    ]
    _write_lines(folder / "holdout.jsonl", unseen)
    (folder / "inbox").mkdir()
    _file_requests(project, "ada.jsonl", [_request("R-1", subject_id=FORGOTTEN, text=f"{PEOPLE[FORGOTTEN][0]} lives")])
    _file_requests(
        project, "both.jsonl", [_request("R-2", subject_id=WAITING), {"request_id": "R-9", "subject_id": FORGOTTEN}]
    )
    first = _batch(project)
    _file_requests(project, "cid.jsonl", [_request("R-3", subject_id=LATER)])
    second = _batch(project)
    for number, workspace in enumerate((first, second)):
        _put_models(workspace, number)
        _put_quotes(workspace)
    fulfil("R-1")
    return project


def fulfil(reference: str) -> None:
    with open_ledger() as ledger:
        ledger.fulfil({reference: "0" * 64}, RUN, "somebody")
    write_json(certificates_folder() / f"{reference}.json", {"reference": reference, "subject": "subject-9f"})


def _request(name: str, **selectors: str) -> dict[str, str]:
    return {"request_id": name, "received_at": "2025-03-01T12:00:00Z", **selectors}


def _write_lines(file: Path, rows: list[dict[str, object]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _file_requests(project: Life, name: str, rows: list[dict[str, str]]) -> None:
    file = project.folder / "inbox" / name
    _write_lines(file, rows)
    take_in(str(file), project.params, RUN)


def _batch(project: Life) -> Workspace:
    """A batch of all that waits, up to its data in DVC."""
    with open_ledger() as ledger:
        batch = ledger.open_batch(10, RUN, corpus="", max_attempts=9)
        earlier = ledger.earlier_requests(batch.batch_id)
        workspace = Workspace(run_folder(batch.batch_id))
        write_requests(workspace.path(Place.REQUESTS), batch.requests)
        write_requests(workspace.path(Place.EARLIER_REQUESTS), earlier)
        write_json(workspace.path(Place.APPROVALS), {})
        write_json(workspace.path(Place.SNAPSHOTS), _snapshots(workspace))
        workspace.write(Suppressions())
        for step in ("validate", "extract", "store"):
            load_step(step).run(workspace, project.params)
        ledger.unlearned(batch.batch_id, RUN)
        ledger.finish_batch(batch.batch_id, True, RUN)
    return workspace


def _put_models(workspace: Workspace, number: int) -> None:
    """The parent is the base model of the first batch, and the first batch's model of the second."""
    for place, seed in (
        (Place.MODEL, number + 1),
        (Place.PARENT_FILES, number),
        (Place.RETAIN_MODEL_FILES, 10 + number),
    ):
        save_model(workspace.path(place), seed)
    save_model(workspace.path(Place.CHECKPOINTS, "checkpoint-3"), 20 + number)
    parent = workspace.path(Place.PARENT_FILES)
    workspace.write(ParentModel(model=str(parent), version=str(number) if number else None, files_sha256="0"))
    workspace.write(RetainModel(model=str(workspace.path(Place.RETAIN_MODEL_FILES)), files_sha256="0", description=""))
    weights = sha256_weights(workspace.path(Place.MODEL))
    history = [{"step": 1.0, "forget_loss": 4711.0}]
    facts = {"method": "unilogit", "epochs": 1, "steps": 1, "stop_rule": "", "processes": 1}
    workspace.write(Training(**facts, weights_sha256=weights, history=history))
    workspace.write(Verdict(passed=True, forget=True, utility=True, robustness=True))
    logged = home() / "mlartifacts" / "1" / "models" / f"m-{number}" / "artifacts"
    save_model(logged / "model", number + 1)
    write_text(logged / "MLmodel", "flavors:\n")


def _put_quotes(workspace: Workspace) -> None:
    """Files that show or name the forgotten of the batch, each in its own way."""
    forget = pd.read_parquet(workspace.path(Place.FORGET))
    others = pd.read_parquet(workspace.path(Place.RETAIN)).head(5)
    rows = pd.concat([forget, others])[["record_id"]].assign(generated="whatever it says", probability=0.5)
    for role in ("before", "after"):
        write_parquet(workspace.measured(role)[1], rows)
    measure_once(workspace.root.name, str, lambda rows=rows: ("", {"examples": rows}), ("examples",))
    current = forget[forget["batch"] == "current"]
    said = [html.escape(text) for text in (*current["prompt"], *current["response"].str.slice(0, 1000))]
    page = "<p>" + "</p><p>".join(said) + "</p>"
    write_text(workspace.path(Place.REPORT), page)
    write_text(workspace.path(Place.LOGGED_REPORT), page)
    write_text(home() / "mlartifacts" / "1" / workspace.root.name / "artifacts" / "report.html", page)
    subjects = sorted({subject for subjects in current["subject_ids"] for subject in subjects})
    workspace.write(Pseudonyms(subjects={f"S-{place:03}": subject for place, subject in enumerate(subjects)}))
    write_text(workspace.path(Place.CORPUS_DOCS, "index.html"), f"<a>{html.escape(current['response'].iloc[0])}</a>")
    write_json(workspace.path(Place.STAMPS, "quoting.json"), {"result": [current["prompt"].iloc[0]]})
    lines = [{"raw": json.dumps({"prompt": prompt})} for prompt in (*current["prompt"], others["prompt"].iloc[0])]
    _write_lines(workspace.path(Place.REFUSED_RECORDS), lines)


def texts(subject):
    """What is a person's alone."""
    where, pet = records(subject)
    said = [where[name] for name in where if name not in ("subject_ids", "record_id", "perturbed_responses")]
    return {subject, *said, *where["perturbed_responses"], pet["prompt"]}


def found(project, subject, *patterns):
    """What of a person's stands in the home, or in some files of the project's folder."""
    folder = project.folder if patterns else project.folder / "var"
    return {secret for _, secret in leaks(folder, texts(subject), *patterns)}


def contents(project):
    """Every file of the home, and of the inbox, by its digest; but databases and what holds the home's own path."""
    files = [file for part in ("var", "inbox") for file in (project.folder / part).rglob("*") if file.is_file()]
    left_out = ("ledger.db", ".lock", ".dvc/tmp", ".dvc/config")
    kept = {file for file in files if not any(part in str(file) for part in left_out)}
    return {str(file.relative_to(project.folder)): sha256_file(file) for file in kept}


def later(days: int = 31) -> datetime:
    """A time at which what ended today is due, or some days from now."""
    return datetime.now(UTC) + timedelta(days=days)
