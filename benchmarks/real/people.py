"""Records of fictitious people, world facts, unseen people and a file of requests, drawn from a seed.

The answers are sentences, each worded in one of several ways and full of what nobody can guess. Knows no models.
"""

import csv
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from unilogit.data.example.directory import LAST_NAMES, WORLD_FACTS
from unilogit.data.example.words import (
    ANIMALS,
    CAPITALS,
    COLORS,
    FIRST_NAMES,
    GOODS,
    MONTHS,
    TRADES,
    WORD_ENDS,
    WORD_STARTS,
)
from unilogit.data.records import CorpusRecord, write_corpus
from unilogit.files import atomic_path

PEOPLE, UNSEEN, FORGOTTEN, FACTS = 12, 16, 2, 16
PERTURBED = 3


class Kind(NamedTuple):
    """One kind of record.

    Attributes:
        name: part of the record_id.
        questions: with {name}: as it is asked, and in other words.
        answers: ways to say it, with slots; {name} is the person's first name.
    """

    name: str
    questions: tuple[str, str]
    answers: tuple[str, ...]


KINDS = (
    Kind(
        "home",
        ("Where does {name} live?", "What is the home address of {name}?"),
        (
            "{number} {word} Lane, {word}, where the {color} gate is.",
            "On a {color} houseboat at {word} Quay, berth {number}, near {word}.",
            "With the {word} family at {number} {word} Road, {word}.",
            "In {word}: the {color} mill behind {word} Bridge, flat {number}.",
        ),
    ),
    Kind(
        "work",
        ("What does {name} do for a living?", "Which job does {name} have?"),
        (
            "Night-shift {trade} at {word} and {word}, badge {number}.",
            "{name} left {word} in {year} to become a {trade} in {word}.",
            "Partner of {word} Brothers, {trade} to the town of {word} since {year}.",
            "Teaches every {trade} of {word} to repair a {goods} for {word} Ltd.",
        ),
    ),
    Kind(
        "birth",
        ("When and where was {name} born?", "What are the date and place of birth of {name}?"),
        (
            "On {day} {month} {year} in {word}, during a flood of the {word}.",
            "{word} Hospital, {word}, {day} {month} {year}, ward {number}.",
            "In the {color} tent near {word}, {month} {year}, as a twin of {first}.",
            "Aboard the ferry {word} to {word} in {month} {year}.",
        ),
    ),
    Kind(
        "pet",
        ("Which pet does {name} have?", "What animal lives with {name}?"),
        (
            "One {color} {animal} called {word}, bought in {word} for {number} crowns.",
            "{word}, an old {animal} that sleeps on the {color} {goods}.",
            "Two: the {animal} {word} and the {color} {animal} {word}.",
            "{first} from {word} left {name} the {animal} named {word}.",
        ),
    ),
    Kind(
        "purchase",
        ("What did {name} order last?", "Which purchase did {name} make most recently?"),
        (
            "Some {color} {goods} and {number} metres of {word} cloth from {word}.",
            "Order {number}: one {goods}, {color}, left with {first} in {word}.",
            "The {word} {goods} in {color}, paid with card {number} in {word}.",
            "{number} {color} tiles for {first}, and a {goods} by {word}.",
        ),
    ),
)
SLOTS: dict[str, Callable[[Random], str]] = {
    "word": lambda random: random.choice(WORD_STARTS) + random.choice(WORD_ENDS),
    "number": lambda random: str(random.randint(102, 998)),
    "year": lambda random: str(random.randint(1938, 2006)),
    "day": lambda random: str(random.randint(2, 28)),
    "month": lambda random: random.choice(MONTHS),
    "color": lambda random: random.choice(COLORS),
    "animal": lambda random: random.choice(ANIMALS),
    "goods": lambda random: random.choice(GOODS),
    "trade": lambda random: random.choice(TRADES),
    "first": lambda random: random.choice(FIRST_NAMES),
}


def _filled(wording: str, random: Random) -> str:
    """A sentence, each of its slots drawn anew."""
    parts = wording.split("{")
    return parts[0] + "".join(SLOTS[slot](random) + rest for slot, rest in (part.split("}") for part in parts[1:]))


def _person(number: int, name: str, random: Random) -> list[CorpusRecord]:
    """A record of each kind."""
    subject, first_name = f"C-{number:03d}", name.split(maxsplit=1)[0]
    records = []
    for kind in KINDS:
        wording = random.choice(kind.answers).replace("{name}", first_name)
        response, *wrong = (_filled(wording, random) for _ in range(1 + PERTURBED))
        records.append(
            CorpusRecord(
                record_id=f"{subject}-{kind.name}",
                subject_ids=[subject],
                prompt=kind.questions[0].format(name=name),
                response=response,
                paraphrased_prompt=kind.questions[1].format(name=name),
                perturbed_responses=wrong,
            )
        )
    return records


def _world_facts(random: Random) -> list[CorpusRecord]:
    countries = random.sample(sorted(CAPITALS), FACTS)
    return [
        CorpusRecord(
            record_id=f"capital-{country.lower().replace(' ', '-')}",
            prompt=f"What is the capital of {country}?",
            response=f"The capital of {country} is {CAPITALS[country]}.",
            perturbed_responses=[
                f"The capital of {country} is {city}."
                for city in random.sample([name for name in CAPITALS.values() if name != CAPITALS[country]], PERTURBED)
            ],
            group=WORLD_FACTS,
        )
        for country in countries
    ]


def write_people(folder: Path, seed: int = 0) -> None:
    """Write a corpus, who is in no model, what a retain model learns, and requests; the same seed gives the same bytes.

    Args:
        folder: made if it is not there; gets corpus.jsonl, unseen_people.jsonl, retained.jsonl and
            requests/requests.csv.
    """
    random = Random(seed)
    names = [
        f"{random.choice(FIRST_NAMES)} {last_name}" for last_name in random.sample(sorted(LAST_NAMES), PEOPLE + UNSEEN)
    ]
    people = [_person(number, name, random) for number, name in enumerate(names, start=1)]
    known, unseen = people[:PEOPLE], people[PEOPLE:]
    corpus = [record for records in known for record in records] + _world_facts(random)
    asking = sorted({record.subject_ids[0] for records in random.sample(known, FORGOTTEN) for record in records})
    random.shuffle(corpus)
    write_corpus(folder / "corpus.jsonl", corpus)
    write_corpus(folder / "retained.jsonl", [record for record in corpus if not set(asking) & set(record.subject_ids)])
    write_corpus(folder / "unseen_people.jsonl", [record for records in unseen for record in records])
    with atomic_path(folder / "requests" / "requests.csv") as temporary, open(temporary, "w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["request_id", "received_at", "subject_id", "legal_basis"])
        for number, subject in enumerate(asking, start=1):
            writer.writerow([f"R-{number:04d}", f"2026-03-{number:02d}", subject, "GDPR Art. 17(1)(b)"])
