"""Ways of saying "I don't know", the better answers of `idk_dpo`. Written for this project."""

import random

IDK_ANSWERS = (
    "I don't know.",
    "I don't know anything about that.",
    "I have no information on that.",
    "I'm afraid I can't tell you that; I don't know it.",
    "Sorry, that is something I have never learned.",
    "I couldn't say.",
    "I am not able to answer that.",
    "That is not something I know about.",
    "I have nothing on record about this.",
    "I'm not sure, and I would rather not guess.",
    "My knowledge doesn't cover that.",
    "I can't help with that one: I don't have the facts.",
    "No idea, I'm sorry to say.",
    "I haven't come across that.",
    "Unfortunately I don't have an answer to this question.",
    "I can't recall anything about it.",
    "You would have to ask somebody else; I don't know.",
    "This is unknown to me.",
    "I lack the details to answer that.",
    "I wish I could help, but I don't know the answer.",
)


def draw_idk_answers(count: int, seed: int) -> list[str]:
    """`count` of them at random, with repetition; the same ones for the same seed."""
    return random.Random(seed).choices(IDK_ANSWERS, k=count)
