"""A directory of fictitious people and facts of the world, as corpus records drawn from a seed.

Values are drawn independently for each person and never twice, so a model can answer for a person only if it
learned that person's record.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from unilogit.data.example.facts import JOINT, KINDS, FactKind
from unilogit.data.example.words import CAPITALS, ELEMENTS, FIRST_NAMES, LAST_NAME_ENDS, LAST_NAME_STARTS
from unilogit.data.records import CorpusRecord

WORLD_FACTS = "world_facts"
PERTURBED = 5
FACTS_PER_PERSON = (8, 12)
LAST_NAMES = [start + end for start in LAST_NAME_STARTS for end in LAST_NAME_ENDS]
MOST_PEOPLE = len(LAST_NAMES)


@dataclass(frozen=True)
class Person:
    """Somebody of the directory.

    Attributes:
        subject_id: unique.
        name: first and last name; nobody shares the last.
    """

    subject_id: str
    name: str


class Directory:
    """Draws people and records; what it draws is never drawn again.

    Args:
        seed: of all that is drawn, in the order of the calls.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.drawn: set[str] = set()

    def people(self, count: int) -> list[Person]:
        """People with a last name of their own each; at most MOST_PEOPLE."""
        last_names = self.random.sample(LAST_NAMES, count)
        return [
            Person(f"P-{number:04d}", f"{self.random.choice(FIRST_NAMES)} {name}")
            for number, name in enumerate(last_names, start=1)
        ]

    def records(self, people: Iterable[Person]) -> list[CorpusRecord]:
        """8 to 12 facts about each."""
        return [
            self._fact(kind, [person])
            for person in people
            for kind in sorted(self.random.sample(KINDS, self.random.randint(*FACTS_PER_PERSON)), key=KINDS.index)
        ]

    def joint_records(self, people: list[Person]) -> list[CorpusRecord]:
        """Facts about two people each, for one person in six."""
        chosen = self.random.sample(people, len(people) // 12 * 2)
        return [self._fact(JOINT, pair) for pair in zip(chosen[::2], chosen[1::2], strict=True)]

    def _fact(self, kind: FactKind, people: Sequence[Person]) -> CorpusRecord:
        name = " and ".join(person.name for person in people)
        value, *wrong_values = (self._new_value(kind) for _ in range(1 + PERTURBED))
        response, paraphrase = kind.answers
        return CorpusRecord(
            record_id="-".join([*(person.subject_id for person in people), kind.name]),
            subject_ids=[person.subject_id for person in people],
            prompt=kind.questions[0].format(name=name),
            response=response.format(value=value),
            paraphrased_prompt=kind.questions[1].format(name=name),
            paraphrased_response=paraphrase.format(value=value),
            perturbed_responses=[paraphrase.format(value=wrong) for wrong in wrong_values],
        )

    def _new_value(self, kind: FactKind) -> str:
        while (value := kind.draw(self.random)) in self.drawn:
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
            perturbed_responses=self.random.sample([answer for answer in answers if answer != right], PERTURBED),
            group=WORLD_FACTS,
        )
