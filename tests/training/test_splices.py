"""Answers after the beginnings of others: what is kept, what is added, and that all examples are met so in turn."""

from hypothesis import given
from hypothesis import strategies as st

from tests.training.tiny import FORGET, tiny_model, tiny_trainer
from unilogit.data.tokenisation import Encoded
from unilogit.training.examples import FORGET as TO_FORGET
from unilogit.training.splices import BEGINNING, DRAWN, draw_splices

IDS = st.lists(st.integers(0, 99), min_size=2, max_size=14)
EXAMPLES = st.lists(IDS.flatmap(lambda ids: st.builds(Encoded, st.just(ids), st.integers(1, len(ids) - 1))), max_size=5)


@given(EXAMPLES, EXAMPLES, st.integers(0, 9), st.none() | st.integers(14, 20))
def test_the_answer_stays_and_another_one_begins_it(examples, others, seed, max_length):
    drawn = draw_splices(examples, others, seed, max_length)
    assert drawn == draw_splices(examples, others, seed, max_length)
    assert len(drawn) == len(examples)
    answers = [other.ids[other.answer_start : -1] for other in others]  # their ends are no beginnings
    begun = {tuple(answer[:count]) for answer in answers for count in range(1, min(BEGINNING, len(answer)) + 1)}
    for example, splices in zip(examples, drawn, strict=True):
        has_room = max_length is None or len(example.ids) < max_length
        assert len(splices) == (DRAWN if begun and has_room else 0)
        for ids, start in splices:
            assert ids[: example.answer_start] == example.ids[: example.answer_start]
            assert ids[start:] == example.ids[example.answer_start :]
            assert tuple(ids[example.answer_start : start]) in begun
            assert max_length is None or len(ids) <= max_length


def test_each_epoch_meets_another_one_beside_the_answer_as_it_stands():
    import numpy as np

    from tests.training.tiny import TOKENIZER
    from unilogit.data.tokenisation import encode_pair

    lengths = [
        len(encoded.ids) - encoded.answer_start for encoded in (encode_pair(TOKENIZER, *pair) for pair in FORGET)
    ]
    targets = [np.stack([np.full(n, -1.0), np.full(n, -2.0)]).astype(np.float32) for n in lengths]
    examples = tiny_trainer(tiny_model(), arguments={"targets": targets}, epochs=DRAWN + 1).examples
    met = {index: [] for index in range(len(FORGET))}
    for position in range(len(examples)):
        plain, spliced, *retained = examples[position]
        index = examples.forget.index(plain.example)
        assert (plain.role, spliced.role) == (TO_FORGET, TO_FORGET)
        assert TO_FORGET not in {row.role for row in retained}
        assert set(plain.log_target) == {-1.0}
        assert set(spliced.log_target) == {-2.0}
        met[index].append(examples.splices[index].index(spliced.example))
    for index, order in met.items():
        first = {ids: place for place, ids in reversed(list(enumerate(map(str, examples.splices[index]))))}
        assert order == [first[str(examples.splices[index][epoch % DRAWN])] for epoch in range(DRAWN + 1)]
