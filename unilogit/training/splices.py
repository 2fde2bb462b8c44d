"""Forget answers after the beginnings of other answers: what is known in other words is forgotten, too.

A model that was driven to its targets on an answer as it stands still prefers it to wrong ones once it has begun
otherwise, as a paraphrase does. So a forget answer is also met after the first tokens of some retained one, which are
context. Knows token ids; nothing of models.
"""

import random
from collections.abc import Sequence

from unilogit.data.tokenisation import Encoded

BEGINNING = 8  # tokens of another answer at the most
DRAWN = 10  # splices of each example, met in turn


def draw_splices(
    examples: Sequence[Encoded], retained: Sequence[Encoded], seed: int, max_length: int | None
) -> list[list[Encoded]]:
    """Of each example, `DRAWN` ways to begin otherwise: the same answer tokens, after context of another answer.

    Args:
        examples: of which all tokens from `answer_start` on count; they do so in the splices.
        retained: whose answers give the beginnings, of 1 to `BEGINNING` tokens, never their ends.
        seed: of which answers and how much of them.
        max_length: tokens of a splice; an example that leaves no room for a beginning has none.

    Returns:
        A list for each example, in order; empty ones where nothing is retained.
    """
    rng = random.Random(seed)
    beginnings = [example.ids[example.answer_start : -1][:BEGINNING] for example in retained]
    beginnings = [beginning for beginning in beginnings if beginning]

    def draw(example: Encoded) -> Encoded:
        beginning = rng.choice(beginnings)
        room = len(beginning) if max_length is None else max_length - len(example.ids)
        tokens = beginning[: min(room, rng.randint(1, len(beginning)))]
        start = example.answer_start
        return Encoded([*example.ids[:start], *tokens, *example.ids[start:]], start + len(tokens))

    has_room = [max_length is None or len(example.ids) < max_length for example in examples]
    return [
        [draw(example) for _ in range(DRAWN)] if beginnings and room else []
        for example, room in zip(examples, has_room, strict=True)
    ]
