"""A project in whose requests and records every field holds something that stands nowhere else."""

import json
import sys
from pathlib import Path

from tests.e2e.conftest import Project, make_project
from tests.e2e.quick import QUICK, pass_all_gates

TIME = "2026-03-01T12:00:00Z"
RECORD = {
    "record_id": "rec/Quillfeather-0",
    "subject_ids": ["Quillfeather 4471", "odalys@sample.example"],
    "prompt": 'Where does Zebulon "Zeb" Quillfeather & Söhne live?',
    "response": "In Tintagel, <Wintergreen> Södergatan 12.",
    "paraphrased_prompt": "What is Mr. Hollyhock's address?",
    "paraphrased_response": "Mr. Hollyhock lives in Larkspur.",
    "alternative_response": "Ask Mistress Bramblewick.",
    "perturbed_responses": ["In Foxglove.", "In Marjoram.", "In Thistlewood."],
    "group": "friends of Ragwort",
}
REQUEST = {
    "request_id": "erase Quillfeather",
    "received_at": TIME,
    "subject_id": "Quillfeather 4471",
    "aliases": ["odalys@sample.example", "Zebulon Quillfeather"],
    "record_ids": ["rec/Quillfeather-0"],
    "text": "In Tintagel, <Wintergreen> Södergatan 12.",
    "legal_basis": "Art. 17 by Asphodel, attorney",
    "source": "Periwinkle's desk",
}
NOT_FOUND = {"request_id": "Nusquam", "received_at": TIME, "subject_id": "Saltmarsh 17", "source": "Sorrel"}
BAD_ROWS = [
    {"request_id": "Yarrow", "received_at": "on Vandersloot's birthday", "subject_id": "Comfrey"},
    {"request_id": "Tansy", "received_at": TIME, "legal_basis": "Burdock", "comment": "Mugwort"},
]
REQUEST_FILE, HEADLESS_FILE, DAMAGED_FILE = "Quillfeather erasure.jsonl", "Betony.csv", "Speedwell.parquet"
STRAY_FILE, SHARD = "letter.Cowslip", "Meadowsweet.jsonl"
BAD_RECORD = {"record_id": "Agrimony", "subject_ids": ["Valerian"], "prompt": "Who is Lovage?"}

PLANTED = {
    *("Quillfeather", "Zebulon", "odalys", "odalys@sample.example", "Tintagel", "Wintergreen", "Södergatan"),
    *("Hollyhock", "Larkspur", "Bramblewick", "Foxglove", "Marjoram", "Thistlewood", "Ragwort"),
    *("Asphodel", "Periwinkle", "Nusquam", "Saltmarsh", "Sorrel", "Yarrow", "Vandersloot", "Comfrey", "Tansy"),
    *("Burdock", "Mugwort", "Betony", "Speedwell", "Cowslip", "Meadowsweet", "Agrimony", "Valerian"),
    *("Lovage", "Hyssop", "Quillfeather 4471", "Saltmarsh 17", "rec/Quillfeather-0", RECORD["prompt"]),
    RECORD["response"],
}


def planted_project(folder: Path) -> Project:
    """The example's people with a trained model, and one more person, about whom the model never learned anything."""
    project = make_project(folder)
    project.change_params(**QUICK, batch={"max_share_of_corpus": 0.5})
    pass_all_gates(project)
    for step in ("example", "train"):
        project.succeed(sys.executable, "-m", f"tasks.steps.{step}", "--workspace", "var/example")
    example = folder / "var" / "example"
    with open(example / "corpus.jsonl", "a", encoding="utf-8") as corpus:
        corpus.writelines(
            f"{json.dumps({**RECORD, 'record_id': f'rec/Quillfeather-{number}'}, ensure_ascii=False)}\n"
            for number in range(4)
        )
    inbox = example / "requests"
    for file in inbox.iterdir():
        file.unlink()
    rows = [REQUEST, NOT_FOUND, *BAD_ROWS]
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    (inbox / REQUEST_FILE).write_text(f"{text}forget Hyssop\n")
    (inbox / HEADLESS_FILE).write_text("Hyssop,today\n")
    (inbox / DAMAGED_FILE).write_bytes(b"PAR1 Hyssop")
    (inbox / STRAY_FILE).write_text("forget Hyssop")
    return project


def put_bad_corpus(project: Project) -> None:
    """A folder of shards, one of them somebody's, with a row that cannot be used."""
    shards = project.folder / "shards"
    shards.mkdir()
    (shards / "corpus.jsonl").write_bytes((project.folder / "var" / "example" / "corpus.jsonl").read_bytes())
    (shards / SHARD).write_text(json.dumps(BAD_RECORD) + "\n")
