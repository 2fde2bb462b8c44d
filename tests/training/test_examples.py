"""The order of examples: all are met, as often as asked for, in the same order for the same seed."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from unilogit.training.examples import FORGET, PREFERRED, RETAIN, WINDOW, PairedExamples, collate_paired
from unilogit.training.idk_answers import IDK_ANSWERS, draw_idk_answers


def encoded(count, tag):
    return [([tag, number + 10, 2], 1) for number in range(count)]


sizes = st.integers(1, 9)


@given(forget=sizes, retain=sizes, epochs=st.integers(1, 4), each=st.integers(0, 3), seed=st.integers(0, 99))
def test_every_epoch_has_each_forget_example_once_and_retain_examples_are_met_equally_often(
    forget, retain, epochs, each, seed
):
    examples = PairedExamples(
        encoded(forget, 5), encoded(retain, 6), epochs=epochs, batch_size=3, retain_per_forget=each, seed=seed
    )
    groups = [examples[position] for position in range(len(examples))]
    assert len(groups) == forget * epochs
    assert all([role for *_, role in group] == [FORGET] + [RETAIN] * each for group in groups)
    for epoch in range(epochs):
        met = [group[0][0][1] for group in groups[epoch * forget : (epoch + 1) * forget]]
        assert sorted(met) == list(range(10, 10 + forget))
    counts = Counter(ids[1] for group in groups for ids, _, _ in group[1:])
    if each:
        assert max(counts.values()) - (min(counts.values()) if len(counts) == retain else 0) <= 1


@given(share=st.sampled_from([0.0, 0.3, 1.0]), seed=st.integers(0, 99))
def test_neighbours_have_their_share_of_retain_examples(share, seed):
    examples = PairedExamples(
        encoded(100, 5),
        encoded(50, 6),
        epochs=2,
        batch_size=4,
        retain_per_forget=4,
        seed=seed,
        neighbours=encoded(5, 7),
        neighbour_share=share,
    )
    tags = Counter(ids[0] for position in range(200) for ids, _, role in examples[position] if role == RETAIN)
    assert tags.total() == 800
    assert abs(tags[7] / 800 - share) < 0.08
    assert share not in (0, 1) or tags[7] == share * 800


@given(count=st.integers(1, 60), batch_size=st.integers(1, 9), epochs=st.integers(1, 3), seed=st.integers(0, 99))
def test_the_examples_of_a_step_are_of_similar_length(count, batch_size, epochs, seed):
    """Of one window's whole steps, any two differ in place but not in rank: none begins within another."""
    lengths = random.Random(seed).sample(range(10, 500), count)
    forget = [(list(range(length)), 1) for length in lengths]
    retain = [(list(range(length)), 1) for length in lengths[::-1]]
    examples = PairedExamples(forget, retain, epochs=epochs, batch_size=batch_size, retain_per_forget=1, seed=seed)
    groups = [[len(ids) for ids, *_ in examples[position]] for position in range(len(examples))]
    for start in range(0, len(groups) - batch_size + 1, batch_size):
        step = groups[start : start + batch_size]
        if start // count != (start + batch_size - 1) // count or count > WINDOW * batch_size:
            continue  # the end of one epoch and the beginning of the next
        for shortest, longest in ((min(column), max(column)) for column in zip(*step, strict=True)):
            assert sum(shortest <= length <= longest for length in lengths) == batch_size


def test_steps_are_not_sorted():
    encoded = [([0] * length, 1) for length in range(10, 74)]
    examples = PairedExamples(encoded, encoded, epochs=1, batch_size=4, retain_per_forget=1, seed=0)
    firsts = [len(examples[position][0][0]) for position in range(0, 64, 4)]
    assert firsts != sorted(firsts)


def test_without_neighbours_their_share_does_not_change_the_order():
    def order(share):
        examples = PairedExamples(
            encoded(4, 5), encoded(7, 6), epochs=3, batch_size=2, retain_per_forget=2, seed=1, neighbour_share=share
        )
        return [examples[position] for position in range(len(examples))]

    assert order(0.0) == order(0.5)


def test_neighbours_alone_are_a_retain_set():
    examples = PairedExamples(
        encoded(3, 5),
        [],
        epochs=1,
        batch_size=2,
        retain_per_forget=2,
        seed=1,
        neighbours=encoded(2, 7),
        neighbour_share=0.1,
    )
    assert [ids[0] for ids, *_ in examples[0]] == [5, 7, 7]


def test_a_better_answer_stands_beside_its_forget_example():
    examples = PairedExamples(
        encoded(4, 5), encoded(2, 6), epochs=2, batch_size=2, retain_per_forget=1, seed=0, preferred=encoded(4, 8)
    )
    for position in range(8):
        (forget, _, first), (better, _, second), (_, _, third) = examples[position]
        assert (first, second, third) == (FORGET, PREFERRED, RETAIN)
        assert forget[1:] == better[1:]
    batch = collate_paired([examples[0], examples[1]], pad_token_id=0)
    assert batch["role"].tolist() == [FORGET, PREFERRED, RETAIN] * 2
    assert batch["labels"].shape == (6, 3)


def test_ways_of_not_knowing_are_drawn_with_the_seed():
    assert len(set(IDK_ANSWERS)) == 20
    assert draw_idk_answers(50, 3) == draw_idk_answers(50, 3)
    assert draw_idk_answers(50, 3) != draw_idk_answers(50, 4)
    assert set(draw_idk_answers(500, 0)) == set(IDK_ANSWERS)
