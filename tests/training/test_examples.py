"""The order of examples: all are met, as often as asked for, in the same order for the same seed."""

import copy
import random
from collections import Counter

import numpy as np
import pytest
from accelerate.data_loader import BatchSamplerShard
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, SequentialSampler

from tests.training.tiny import tiny_config, tiny_model
from unilogit.data.tokenisation import IGNORED, Encoded
from unilogit.losses.registry import METHODS, RETAIN_TERMS
from unilogit.model import make_scorer
from unilogit.training.examples import (
    BUCKET,
    FILLER,
    FILLING,
    FORGET,
    PREFERRED,
    RETAIN,
    PairedExamples,
    collate_paired,
)
from unilogit.training.idk_answers import IDK_ANSWERS, draw_idk_answers
from unilogit.training.unlearning_loss import Term, UnlearningLoss


def encoded(count, tag):
    return [Encoded([tag, number + 10, 2], 1) for number in range(count)]


def groups_of(examples):
    """The rows of each position, without fillers."""
    groups = [examples[position] for position in range(len(examples))]
    return [group for group in groups if group[0].role != FILLER]


sizes = st.integers(1, 9)


@given(forget=sizes, retain=sizes, epochs=st.integers(1, 4), companions=st.integers(0, 3), seed=st.integers(0, 99))
def test_every_epoch_has_each_forget_example_once_and_retain_examples_are_met_equally_often(
    forget, retain, epochs, companions, seed
):
    examples = PairedExamples(
        encoded(forget, 5), encoded(retain, 6), epochs=epochs, batch_size=3, retain_per_forget=companions, seed=seed
    )
    groups = groups_of(examples)
    assert len(groups) == forget * epochs
    assert all([row.role for row in group] == [FORGET] + [RETAIN] * companions for group in groups)
    for epoch in range(epochs):
        met = [group[0].example.ids[1] for group in groups[epoch * forget : (epoch + 1) * forget]]
        assert sorted(met) == list(range(10, 10 + forget))
    counts = Counter(row.example.ids[1] for group in groups for row in group[1:])
    if companions:
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
    tags = Counter(row.example.ids[0] for group in groups_of(examples) for row in group if row.role == RETAIN)
    assert tags.total() == 800
    assert abs(tags[7] / 800 - share) < 0.08
    assert share not in (0, 1) or tags[7] == share * 800


@given(count=st.integers(1, 60), batch_size=st.integers(1, 9), epochs=st.integers(1, 3), seed=st.integers(0, 99))
def test_the_examples_of_a_step_are_of_similar_length(count, batch_size, epochs, seed):
    """Of one bucket's whole steps, any two differ in place but not in rank: none begins within another."""
    lengths = random.Random(seed).sample(range(10, 500), count)
    forget = [Encoded(list(range(length)), 1) for length in lengths]
    retain = [Encoded(list(range(length)), 1) for length in lengths[::-1]]
    examples = PairedExamples(forget, retain, epochs=epochs, batch_size=batch_size, retain_per_forget=1, seed=seed)
    groups = [[len(row.example.ids) for row in group] for group in groups_of(examples)]
    for start in range(0, len(groups) - batch_size + 1, batch_size):
        step = groups[start : start + batch_size]
        if start // count != (start + batch_size - 1) // count or count > BUCKET * batch_size:
            continue  # the end of one epoch and the beginning of the next
        for shortest, longest in ((min(column), max(column)) for column in zip(*step, strict=True)):
            assert sum(shortest <= length <= longest for length in lengths) == batch_size


def test_steps_are_not_sorted():
    of_all_lengths = [Encoded([0] * length, 1) for length in range(10, 74)]
    examples = PairedExamples(of_all_lengths, of_all_lengths, epochs=1, batch_size=4, retain_per_forget=1, seed=0)
    firsts = [len(examples[position][0].example.ids) for position in range(0, 64, 4)]
    assert firsts != sorted(firsts)


def test_without_neighbours_their_share_does_not_change_the_order():
    def order(share):
        examples = PairedExamples(
            encoded(4, 5), encoded(7, 6), epochs=3, batch_size=2, retain_per_forget=2, seed=1, neighbour_share=share
        )
        return groups_of(examples)

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
    assert [row.example.ids[0] for row in examples[0]] == [5, 7, 7]


def test_a_better_answer_stands_beside_its_forget_example():
    examples = PairedExamples(
        encoded(4, 5), encoded(2, 6), epochs=2, batch_size=2, retain_per_forget=1, seed=0, preferred=encoded(4, 8)
    )
    for forget, better, retain in groups_of(examples):
        assert (forget.role, better.role, retain.role) == (FORGET, PREFERRED, RETAIN)
        assert forget.example.ids[1:] == better.example.ids[1:]
    batch = collate_paired([examples[0], examples[1]], pad_token_id=0)
    assert batch["role"].tolist() == [FORGET, PREFERRED, RETAIN] * 2
    assert batch["labels"].shape == (6, 3)


def test_what_was_measured_stands_at_its_answer_tokens():
    examples = PairedExamples(
        encoded(3, 5), encoded(2, 6), epochs=1, batch_size=2, retain_per_forget=1, seed=0, preferred=encoded(3, 8)
    )
    examples.reference_log_p = [np.array([n, n + 0.5], dtype=np.float32) for n in range(6)]
    batch = collate_paired([examples[position] for position in range(4)], pad_token_id=0)
    for ids, labels, role, log_p in zip(*(batch[name].tolist() for name in BATCH), strict=True):
        number = ids[1] - 10 + (3 if role == PREFERRED else 0)
        expected = [number, number + 0.5] if role in (FORGET, PREFERRED) else [0, 0]
        assert log_p == [0, *expected]
        assert all(value == 0 or label != IGNORED for value, label in zip(log_p, labels, strict=True))


BATCH = ("input_ids", "labels", "role", "reference_log_p")


@given(
    forget=st.integers(1, 23),
    epochs=st.integers(1, 3),
    processes=st.integers(1, 4),
    accumulation=st.integers(1, 3),
    at_once=st.integers(1, 3),
)
def test_processes_share_each_step_as_one_process_has_it(forget, epochs, processes, accumulation, at_once):
    """accelerate deals whole batches out and, of a set that does not divide, gives the first ones again."""
    batch_size = processes * accumulation * at_once
    examples = PairedExamples(
        encoded(forget, 5), encoded(4, 6), epochs=epochs, batch_size=batch_size, retain_per_forget=2, seed=0
    )
    dealt = [
        list(BatchSamplerShard(BatchSampler(SequentialSampler(examples), at_once, False), processes, rank))
        for rank in range(processes)
    ]
    steps = -(-forget * epochs // batch_size)
    assert [len(batches) for batches in dealt] == [steps * accumulation] * processes
    met = 0
    for step in range(steps):
        of_step = [batches[step * accumulation : (step + 1) * accumulation] for batches in dealt]
        positions = sorted(position for batches in of_step for batch in batches for position in batch)
        assert positions == list(range(step * batch_size, (step + 1) * batch_size))
        met += sum(examples[position][0].role == FORGET for position in positions)
    assert met == forget * epochs


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("retain", RETAIN_TERMS)
def test_a_batch_of_fillers_costs_nothing_and_has_a_gradient(method, retain):
    """A process that has nothing but fillers still takes part in adding up the gradients."""
    model = tiny_model()
    terms = [Term(term, term.bind(tiny_config())) for term in (METHODS[method], RETAIN_TERMS[retain])]
    reference = make_scorer(copy.deepcopy(model))
    loss = UnlearningLoss(make_scorer(model), forget=terms[0], retain=terms[1], reference=reference, layer=0)
    loss.forgotten_nll = 3.0
    batch = collate_paired([FILLING, FILLING], pad_token_id=0)
    assert loss.count(batch["labels"], batch["role"]).tolist() == [0, 0]
    total, sums = loss(**batch)
    total.backward()
    assert (total.item(), *(part.item() for part in sums)) == (0, 0, 0)
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not without or (method, retain) == ("rmu", "activations")  # no upper layers in these two
    assert all(parameter.grad.abs().max() == 0 for parameter in model.parameters() if parameter.grad is not None)


def test_ways_of_not_knowing_are_drawn_with_the_seed():
    assert len(set(IDK_ANSWERS)) == 20
    assert draw_idk_answers(50, 3) == draw_idk_answers(50, 3)
    assert draw_idk_answers(50, 3) != draw_idk_answers(50, 4)
    assert set(draw_idk_answers(500, 0)) == set(IDK_ANSWERS)
