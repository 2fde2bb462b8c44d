"""The example's files: corpus, unseen people, and deletion requests with the trouble that real ones have."""

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from unilogit.data.example.directory import MOST_PEOPLE, Directory, Person
from unilogit.data.records import CorpusRecord, write_corpus
from unilogit.data.request_fields import FIELDS
from unilogit.errors import InputError
from unilogit.files import atomic_path, sha256_file, write_json

FEWEST_PEOPLE = 12


def _requests(people: list[Person], records: list[CorpusRecord], random: Random) -> list[dict[str, str]]:
    """Requests of one person in ten and some single records; an exact repeat, an unknown person, bad rows."""
    asking = random.sample(people, max(2, len(people) // 10))
    staying = next(person for person in people if person not in asking)
    single = [record.record_id for record in records if record.subject_ids == [staying.subject_id]][:2]
    start = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)

    def row(number: int, **fields: str) -> dict[str, str]:
        received = start + timedelta(hours=7 * number)
        return {
            "request_id": f"R-{number:04d}",
            "received_at": received.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "legal_basis": "GDPR Art. 17(1)(b)",
            "source": "web form",
            **fields,
        }

    good = [row(number, subject_id=person.subject_id) for number, person in enumerate(asking, start=1)]
    after = len(good) + 1
    unknown, no_selector, no_time, no_zone, overdue, clash, no_id = range(after + 1, after + 8)
    return [
        *good,
        row(after, record_ids=";".join(single)),
        dict(good[0]),
        row(unknown, subject_id="P-9999"),
        row(no_selector),
        row(no_time, subject_id=staying.subject_id, received_at="last Tuesday"),
        row(no_zone, subject_id=staying.subject_id, received_at="2026-03-09T10:00:00"),
        row(overdue, subject_id=staying.subject_id, due_at="2025-12-24T00:00:00Z"),
        row(clash, subject_id=staying.subject_id, request_id=good[1]["request_id"]),
        row(no_id, subject_id=staying.subject_id, request_id=""),
    ]


def _write_requests(path: Path, rows: list[dict[str, str]]) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, FIELDS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def generate_example(folder: Path | str, people: int = 120, unseen_people: int = 30, seed: int = 0) -> str:
    """Write the example to a folder; the same arguments give the same bytes.

    Writes corpus.jsonl (people and world facts, shuffled), holdout.jsonl (people who are in no model),
    requests/requests-001.csv (with bad rows, as real ones have) and, last, example.json (what it was made of).

    Args:
        folder: made if it is not there.
        people: at least 12; each with 8 to 12 facts.
        unseen_people: people of the holdout.
        seed: of all that is drawn.

    Returns:
        What was written, in a line.

    Raises:
        InputError: there are too few people, or too many for the names there are.
    """
    if people < FEWEST_PEOPLE or unseen_people < 0 or people + unseen_people > MOST_PEOPLE:
        raise InputError(
            f"the example of {people} people and {unseen_people} unseen people cannot be made; take at least "
            f"{FEWEST_PEOPLE} people, and at most {MOST_PEOPLE} in all (example.people, example.unseen_people)"
        )
    folder, directory = Path(folder), Directory(seed)
    everybody = directory.people(people + unseen_people)
    known, unseen = everybody[:people], everybody[people:]
    facts = directory.records(known) + directory.joint_records(known)
    corpus = facts + directory.world_facts()
    holdout = directory.records(unseen)
    requests = _requests(known, facts, directory.random)
    directory.random.shuffle(corpus)
    write_corpus(folder / "corpus.jsonl", corpus)
    write_corpus(folder / "holdout.jsonl", holdout)
    _write_requests(folder / "requests" / "requests-001.csv", requests)
    summary = (
        f"{folder}: {len(corpus)} records of {people} people and the world, {len(holdout)} of {unseen_people}"
        f" unseen people, {len(requests)} rows of deletion requests"
    )
    write_json(
        folder / "example.json",
        {
            "schema_version": 1,
            "arguments": {"people": people, "unseen_people": unseen_people, "seed": seed},
            "corpus_sha256": sha256_file(folder / "corpus.jsonl"),
            "summary": summary,
        },
    )
    return summary
