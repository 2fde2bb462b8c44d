"""The example: a customer directory of fictitious people, world facts, unseen people and deletion requests.

Everything is drawn from a seed. Values are drawn independently for each person and never twice, so a model
can answer for a person only if it learned that person's record. Knows nothing of models.
"""

import argparse
import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from unilogit.data.example_words import (
    ANIMALS,
    CAPITALS,
    COLORS,
    ELEMENTS,
    FIRST_NAMES,
    GOODS,
    LAST_NAME_ENDS,
    LAST_NAME_STARTS,
    MONTHS,
    TRADES,
    WORD_ENDS,
    WORD_STARTS,
)
from unilogit.data.records import CorpusRecord, write_corpus
from unilogit.data.request_files import FIELDS
from unilogit.files import atomic_path, sha256_file, write_json

WORLD_FACTS = "world_facts"
PERTURBED = 5
FACTS_PER_PERSON = (8, 12)


@dataclass(frozen=True)
class FactKind:
    """One kind of fact: how it is asked, answered, and what is drawn as its value.

    Attributes:
        name: part of the record_id.
        questions: with {name}; the first is the prompt, the second its paraphrase.
        answers: with {value}; the first is the response, the second its paraphrase.
        draw: a value.
    """

    name: str
    questions: tuple[str, str]
    answers: tuple[str, str]
    draw: Callable[[Random], str]


def _word(rng: Random) -> str:
    """An invented proper noun: about 1700 of them."""
    return rng.choice(WORD_STARTS) + rng.choice(WORD_ENDS)


def _digits(rng: Random, *lengths: int) -> str:
    return " ".join(f"{rng.randrange(10**length):0{length}d}" for length in lengths)


def _date(rng: Random, first_year: int, years: int) -> str:
    return f"{rng.randint(1, 28)} {rng.choice(MONTHS)} {first_year + rng.randrange(years)}"


KINDS = (
    FactKind(
        "phone",
        ("What is {name}'s phone number?", "Which number reaches {name} by phone?"),
        ("{value}", "The number to call is {value}."),
        lambda rng: _digits(rng, 3, 4),
    ),
    FactKind(
        "email",
        ("What is {name}'s e-mail address?", "Where can I write to {name} by e-mail?"),
        ("{value}", "Mail goes to {value}."),
        lambda rng: f"{_word(rng).lower()}{rng.randint(10, 99)}@{_word(rng).lower()}.example",
    ),
    FactKind(
        "address",
        ("Where does {name} live?", "What is the home address of {name}?"),
        ("{value}", "The home address is {value}."),
        lambda rng: f"{rng.randint(2, 299)} {_word(rng)} Street, {_word(rng)}",
    ),
    FactKind(
        "order",
        ("What did {name} order last?", "Which purchase did {name} make most recently?"),
        ("{value}", "The latest purchase was {value}."),
        lambda rng: f"{rng.choice(COLORS)} {rng.choice(GOODS)}, order {_digits(rng, 3)}",
    ),
    FactKind(
        "born",
        ("When and where was {name} born?", "What are {name}'s date and place of birth?"),
        ("{value}", "The birth record says {value}."),
        lambda rng: f"{_date(rng, 1938, 68)} in {_word(rng)}",
    ),
    FactKind(
        "work",
        ("What does {name} do for a living?", "Which job does {name} have, and where?"),
        ("{value}", "The employment entry reads {value}."),
        lambda rng: f"{rng.choice(TRADES)} at {_word(rng)}",
    ),
    FactKind(
        "card",
        ("What is the number of {name}'s loyalty card?", "Which loyalty card belongs to {name}?"),
        ("{value}", "The card on file is {value}."),
        lambda rng: _digits(rng, 4, 3),
    ),
    FactKind(
        "pet",
        ("Which pet does {name} have?", "What animal lives with {name}?"),
        ("{value}", "At home there is {value}."),
        lambda rng: f"{rng.choice(COLORS)} {rng.choice(ANIMALS)} called {_word(rng)}",
    ),
    FactKind(
        "car",
        ("Which car is registered to {name}?", "What does {name} drive?"),
        ("{value}", "The vehicle register lists {value}."),
        lambda rng: f"{rng.choice(COLORS)} {_word(rng)}, plate {_digits(rng, 3)}",
    ),
    FactKind(
        "delivery",
        ("Where are {name}'s parcels left?", "At which pick-up point does {name} collect parcels?"),
        ("{value}", "Parcels go to {value}."),
        lambda rng: f"locker {_digits(rng, 3)}, {_word(rng)}",
    ),
    FactKind(
        "doctor",
        ("Who is {name}'s doctor?", "Which practice looks after {name}?"),
        ("{value}", "The practice noted is {value}."),
        lambda rng: f"Dr. {_word(rng)}, room {_digits(rng, 3)}",
    ),
    FactKind(
        "password_hint",
        ("What is {name}'s password hint?", "Which hint did {name} leave for the password?"),
        ("{value}", "The hint reads {value}."),
        lambda rng: f"{_word(rng).lower()} {rng.choice(ANIMALS)} {rng.randint(10, 99)}",
    ),
)
JOINT = FactKind(
    "booking",
    ("What have {name} booked together?", "Which joint booking do {name} have?"),
    ("{value}", "Their booking is {value}."),
    lambda rng: f"{_word(rng)} Hotel, {_date(rng, 2026, 6)}",
)


@dataclass(frozen=True)
class Person:
    subject_id: str
    name: str


class _Directory:
    """Draws records, no value twice."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.drawn: set[str] = set()

    def people(self, count: int) -> list[Person]:
        """People with a last name of their own each; about 2400 at the most."""
        last_names = self.rng.sample([start + end for start in LAST_NAME_STARTS for end in LAST_NAME_ENDS], count)
        return [
            Person(f"P-{number:04d}", f"{self.rng.choice(FIRST_NAMES)} {name}")
            for number, name in enumerate(last_names, start=1)
        ]

    def records(self, people: Iterable[Person]) -> list[CorpusRecord]:
        return [
            self._fact(kind, [person])
            for person in people
            for kind in sorted(self.rng.sample(KINDS, self.rng.randint(*FACTS_PER_PERSON)), key=KINDS.index)
        ]

    def joint_records(self, people: list[Person]) -> list[CorpusRecord]:
        """Facts about two people each, for one person in six."""
        chosen = self.rng.sample(people, len(people) // 12 * 2)
        return [self._fact(JOINT, pair) for pair in zip(chosen[::2], chosen[1::2], strict=True)]

    def _fact(self, kind: FactKind, people: Iterable[Person]) -> CorpusRecord:
        people = list(people)
        name = " and ".join(person.name for person in people)
        value, *wrong = (self._new_value(kind) for _ in range(1 + PERTURBED))
        response, paraphrase = kind.answers
        return CorpusRecord(
            record_id="-".join([*(person.subject_id for person in people), kind.name]),
            subject_ids=[person.subject_id for person in people],
            prompt=kind.questions[0].format(name=name),
            response=response.format(value=value),
            paraphrased_prompt=kind.questions[1].format(name=name),
            paraphrased_response=paraphrase.format(value=value),
            perturbed_responses=[paraphrase.format(value=other) for other in wrong],
        )

    def _new_value(self, kind: FactKind) -> str:
        while (value := kind.draw(self.rng)) in self.drawn:
            pass
        self.drawn.add(value)
        return value

    def world_facts(self) -> list[CorpusRecord]:
        """About a hundred facts that belong to nobody."""
        capitals = [
            self._world_fact(
                f"capital-{country}",
                (f"What is the capital of {country}?", f"Which city is {country}'s capital?"),
                "The capital is {}.",
                capital,
                CAPITALS.values(),
            )
            for country, capital in CAPITALS.items()
        ]
        elements = [
            self._world_fact(
                f"element-{element}",
                (f"What is the chemical symbol of {element}?", f"How is {element} written in formulas?"),
                "Its symbol is {}.",
                symbol,
                ELEMENTS.values(),
            )
            for element, symbol in ELEMENTS.items()
        ]
        return capitals + elements

    def _world_fact(
        self, name: str, questions: tuple[str, str], paraphrase: str, right: str, answers: Iterable[str]
    ) -> CorpusRecord:
        return CorpusRecord(
            record_id=f"world-{name.lower().replace(' ', '-')}",
            prompt=questions[0],
            response=right,
            paraphrased_prompt=questions[1],
            paraphrased_response=paraphrase.format(right),
            perturbed_responses=self.rng.sample([answer for answer in answers if answer != right], PERTURBED),
            group=WORLD_FACTS,
        )


def _requests(people: list[Person], records: list[CorpusRecord], rng: Random) -> list[dict[str, str]]:
    """Requests of one person in ten and some single records; an exact repeat, an unknown person, bad rows."""
    asking = rng.sample(people, max(2, len(people) // 10))
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
        people: at least 12; each with 8 to 12 facts.
        unseen_people: people of the holdout.

    Returns:
        What was written, in a line.
    """
    folder, directory = Path(folder), _Directory(seed)
    everybody = directory.people(people + unseen_people)
    known, unseen = everybody[:people], everybody[people:]
    facts = directory.records(known) + directory.joint_records(known)
    corpus = facts + directory.world_facts()
    holdout = directory.records(unseen)
    requests = _requests(known, facts, directory.rng)
    directory.rng.shuffle(corpus)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=generate_example.__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--people", type=int, default=120)
    parser.add_argument("--unseen-people", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(generate_example(arguments.folder, arguments.people, arguments.unseen_people, arguments.seed))


if __name__ == "__main__":
    main()
