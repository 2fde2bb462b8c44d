"""What is known of a person in the example: kinds of facts, how they are asked and answered, and their values."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from unilogit.data.example.words import ANIMALS, COLORS, GOODS, MONTHS, TRADES, WORD_ENDS, WORD_STARTS


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


def _word(random: Random) -> str:
    """An invented proper noun: about 1700 of them."""
    return random.choice(WORD_STARTS) + random.choice(WORD_ENDS)


def _digits(random: Random, *lengths: int) -> str:
    return " ".join(f"{random.randrange(10**length):0{length}d}" for length in lengths)


def _date(random: Random, first_year: int, years: int) -> str:
    return f"{random.randint(1, 28)} {random.choice(MONTHS)} {first_year + random.randrange(years)}"


KINDS = (
    FactKind(
        "phone",
        ("What is {name}'s phone number?", "Which number reaches {name} by phone?"),
        ("{value}", "The number to call is {value}."),
        lambda random: _digits(random, 3, 4),
    ),
    FactKind(
        "email",
        ("What is {name}'s e-mail address?", "Where can I write to {name} by e-mail?"),
        ("{value}", "Mail goes to {value}."),
        lambda random: f"{_word(random).lower()}{random.randint(10, 99)}@{_word(random).lower()}.example",
    ),
    FactKind(
        "address",
        ("Where does {name} live?", "What is the home address of {name}?"),
        ("{value}", "The home address is {value}."),
        lambda random: f"{random.randint(2, 299)} {_word(random)} Street, {_word(random)}",
    ),
    FactKind(
        "order",
        ("What did {name} order last?", "Which purchase did {name} make most recently?"),
        ("{value}", "The latest purchase was {value}."),
        lambda random: f"{random.choice(COLORS)} {random.choice(GOODS)}, order {_digits(random, 3)}",
    ),
    FactKind(
        "born",
        ("When and where was {name} born?", "What are {name}'s date and place of birth?"),
        ("{value}", "The birth record says {value}."),
        lambda random: f"{_date(random, 1938, 68)} in {_word(random)}",
    ),
    FactKind(
        "work",
        ("What does {name} do for a living?", "Which job does {name} have, and where?"),
        ("{value}", "The employment entry reads {value}."),
        lambda random: f"{random.choice(TRADES)} at {_word(random)}",
    ),
    FactKind(
        "card",
        ("What is the number of {name}'s loyalty card?", "Which loyalty card belongs to {name}?"),
        ("{value}", "The card on file is {value}."),
        lambda random: _digits(random, 4, 3),
    ),
    FactKind(
        "pet",
        ("Which pet does {name} have?", "What animal lives with {name}?"),
        ("{value}", "At home there is {value}."),
        lambda random: f"{random.choice(COLORS)} {random.choice(ANIMALS)} called {_word(random)}",
    ),
    FactKind(
        "car",
        ("Which car is registered to {name}?", "What does {name} drive?"),
        ("{value}", "The vehicle register lists {value}."),
        lambda random: f"{random.choice(COLORS)} {_word(random)}, plate {_digits(random, 3)}",
    ),
    FactKind(
        "delivery",
        ("Where are {name}'s parcels left?", "At which pick-up point does {name} collect parcels?"),
        ("{value}", "Parcels go to {value}."),
        lambda random: f"locker {_digits(random, 3)}, {_word(random)}",
    ),
    FactKind(
        "doctor",
        ("Who is {name}'s doctor?", "Which practice looks after {name}?"),
        ("{value}", "The practice noted is {value}."),
        lambda random: f"Dr. {_word(random)}, room {_digits(random, 3)}",
    ),
    FactKind(
        "password_hint",
        ("What is {name}'s password hint?", "Which hint did {name} leave for the password?"),
        ("{value}", "The hint reads {value}."),
        lambda random: f"{_word(random).lower()} {random.choice(ANIMALS)} {random.randint(10, 99)}",
    ),
)
JOINT = FactKind(
    "booking",
    ("What have {name} booked together?", "Which joint booking do {name} have?"),
    ("{value}", "Their booking is {value}."),
    lambda random: f"{_word(random)} Hotel, {_date(random, 2026, 6)}",
)
