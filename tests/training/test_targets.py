"""What forget tokens are driven to, against brute force; and that training goes there and stays."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.knowing import knowing_model
from tests.training.tiny import FORGET, RETAIN, TOKENIZER, pairs, tiny_model, tiny_trainer
from unilogit.data.prompt_format import Conversation
from unilogit.errors import InputError
from unilogit.evaluation.token_scores import score_tokens
from unilogit.training.checkpoints import identity_of
from unilogit.training.encoding import encode_set, split_windows
from unilogit.training.ranks import SUREST, by_rank, find_known
from unilogit.training.splices import DRAWN, draw_splices
from unilogit.training.targets import (
    NEAREST,
    SPLICES_SCORED,
    Unseen,
    find_targets,
    nearest_questions,
)

PEOPLE = pairs(6, "Cy")
UNSEEN = Unseen(PEOPLE, [frozenset({f"cy-{number}"}) for number in range(len(PEOPLE))])
NOBODY = Unseen([], [])


def found(model, **changes):
    arguments = {"forget": FORGET, "retain": RETAIN, "unseen": UNSEEN} | changes
    return find_targets(model, TOKENIZER, **arguments)


def log_p(model, asked):
    scores = score_tokens(model, TOKENIZER, *zip(*asked, strict=True), batch_tokens=512)
    return [each.log_p for each in scores]


@given(
    st.lists(st.lists(st.floats(-30, 0), min_size=1, max_size=5), min_size=1, max_size=6),
    st.lists(st.floats(-30, 0), min_size=1, max_size=20),
)
def test_a_token_has_the_place_among_unseen_peoples_that_it_has_among_its_own(estimates, unseen):
    estimates = [np.array(values) for values in estimates]
    targets = by_rank(estimates, np.array(unseen))
    assert [len(values) for values in targets] == [len(values) for values in estimates]
    together, driven = np.concatenate(estimates), np.concatenate(targets)
    order = sorted(range(len(together)), key=lambda place: together[place])
    for rank, place in enumerate(order):
        expected = np.percentile(unseen, 100 * (rank + 0.5) / len(together))
        assert driven[place] == pytest.approx(min(expected, SUREST), rel=1e-5, abs=1e-6)


@given(st.lists(st.floats(-30, 0), min_size=1, max_size=12), st.lists(st.floats(-30, 0), min_size=1, max_size=40))
def test_an_answer_is_known_that_is_likelier_than_nearly_all_of_unseen_peoples(own, unseen):
    known = find_known([np.array([mean - 1, mean + 1]) for mean in own], [np.array([mean]) for mean in unseen])
    means = [(mean - 1 + mean + 1) / 2 for mean in own]
    least = np.percentile(unseen, 95)
    expected = [mean > least for mean in means]
    assert known.tolist() == (expected if any(expected) else [True] * len(own))


def test_what_is_forgotten_already_does_not_push_up_what_is_not():
    """Beside others that nobody knows, known answers have the targets that they have alone; so have the others."""
    model = knowing_model()
    strangers = [(prompt, f"Nobody{number}knows") for number, (prompt, _) in enumerate(pairs(5, "Di"))]
    alone = [found(model, source="neighbours", forget=forget) for forget in (FORGET, strangers)]
    mixed = [pair for both in zip(FORGET, strangers, strict=False) for pair in both] + FORGET[5:]
    targets = found(model, source="neighbours", forget=mixed)
    by_pair = dict(zip(mixed, targets.log_target, strict=True))
    for forget, told in zip((FORGET, strangers), alone, strict=True):
        expected, mixed_in = (np.concatenate(rows, axis=1) for rows in (told.log_target, [by_pair[p] for p in forget]))
        np.testing.assert_array_equal(np.sort(mixed_in), np.sort(expected))  # what is about equal may change places
    assert targets.qualities["neighbours"] == pytest.approx(alone[0].qualities["neighbours"], abs=1e-6)
    assert "5 of 13 answers are forgotten already" in targets.told
    assert "forgotten already" not in alone[0].told


def test_the_source_that_is_asked_for_gives_the_order_and_unseen_people_the_likelihoods():
    model, base = knowing_model(), tiny_model()
    targets = found(model, source="base", pretrained=base)
    assert targets.source == "base"
    before, unseen = np.concatenate(log_p(base, FORGET)), np.concatenate(log_p(model, PEOPLE))
    driven = np.concatenate([rows[0] for rows in targets.log_target])
    assert driven.dtype == np.float32
    assert (np.diff(driven[np.argsort(before, kind="stable")]) >= 0).all()
    assert np.median(driven) == pytest.approx(np.median(unseen), abs=0.5)
    quality = targets.qualities["base"]
    base_unseen, own = np.concatenate(log_p(base, PEOPLE)), np.concatenate(log_p(model, FORGET))
    assert quality.recall == pytest.approx((before.mean() - base_unseen.mean()) / (own.mean() - base_unseen.mean()))
    assert abs(quality.recall) < 0.1, "a model that never saw them recalls nothing"
    assert f"base: rank correlation {quality.correlation:.2f}, recall {quality.recall:.2f}" in targets.told


def test_a_source_that_knows_the_forgotten_recalls_them():
    model = knowing_model()
    assert found(model, source="base", pretrained=model).qualities["base"].recall > 0.5


def test_what_other_questions_give_is_the_median_after_the_nearest_of_them():
    model = knowing_model()
    targets = found(model, source="neighbours")
    questions = [prompt for prompt, _ in RETAIN]
    estimates = []
    for prompt, answer in FORGET:
        nearest = next(nearest_questions([(prompt, answer)], None, questions, [frozenset()] * len(questions)))
        assert len(nearest) == NEAREST
        estimates.append(np.median(log_p(model, [(questions[place], answer) for place in nearest]), axis=0))
    unseen = np.concatenate(log_p(model, PEOPLE))
    for rows, expected in zip(targets.log_target, by_rank(estimates, unseen), strict=True):
        np.testing.assert_allclose(rows[0], expected, atol=1e-4)
    spliced = after_other_beginnings(model, PEOPLE)
    for rows, expected in zip(targets.log_target, by_rank(estimates, spliced), strict=True):
        np.testing.assert_allclose(rows[1], expected, atol=1e-4)


def after_other_beginnings(model, asked):
    """Log p of all tokens of answers after the beginnings of retained ones, one at a time."""
    examples, others = (encode_set(TOKENIZER, pairs, "", max_length=64) for pairs in (asked, RETAIN))
    values = []
    for drawn in draw_splices(examples, others, 0, 64):
        for splice in drawn[:SPLICES_SCORED]:
            with torch.no_grad():
                logits = model(torch.tensor([splice.ids])).logits[0].double()
            scores = torch.log_softmax(logits, dim=-1)
            values += [
                float(scores[place - 1, splice.ids[place]]) for place in range(splice.answer_start, len(splice.ids))
            ]
    return np.array(values)


def test_without_answers_to_begin_with_both_targets_are_alike():
    targets = found(knowing_model(), source="unseen", retain=[])
    for rows in targets.log_target:
        np.testing.assert_array_equal(rows[0], rows[1])


def test_auto_takes_what_is_worth_most_and_says_how_good_each_is():
    targets = found(knowing_model(), pretrained=tiny_model())
    assert set(targets.qualities) == {"base", "neighbours", "unseen"}
    best = max(targets.qualities, key=lambda name: targets.qualities[name].worth)
    if targets.qualities[best].worth >= 0.3:
        assert targets.source == best
    else:
        assert targets.source is None
        assert targets.log_target == []
    assert all(f"{name}: {quality}" in targets.told for name, quality in targets.qualities.items())


def test_without_unseen_people_there_is_one_over_v_alone():
    targets = found(knowing_model(), unseen=NOBODY)
    assert (targets.source, targets.log_target) == (None, [])
    assert "no unseen people" in targets.told
    with pytest.raises(InputError, match=r"unlearn\.target is neighbours, but there are no unseen people"):
        found(knowing_model(), unseen=NOBODY, source="neighbours")


def test_a_source_that_is_not_there_is_refused():
    with pytest.raises(InputError, match=r"unlearn\.target is base, but no source .*there is no model\.pretrained"):
        found(knowing_model(), source="base")
    alone = Unseen(PEOPLE, [frozenset({"cy"})] * len(PEOPLE))
    with pytest.raises(InputError, match="no other questions than the answers' own"):
        found(knowing_model(), source="unseen", unseen=alone)
    assert "unseen" not in found(knowing_model(), unseen=alone).qualities


def test_a_checkpoint_that_gives_no_numbers_is_named():
    broken = tiny_model()
    broken.name_or_path = "models/broken"
    broken.lm_head.weight.data.fill_(float("nan"))
    with pytest.raises(InputError, match=r"models/broken: gives answers no probability \(NaN\)"):
        found(knowing_model(), source="base", pretrained=broken)


def test_neither_the_own_question_nor_one_about_the_same_people_is_asked_instead():
    questions = ["Where does Ada live?", "WHERE  does Ada live?", "Where does Bo live?", "Who?", "Where does Cy live?"]
    people = [frozenset(ids) for ids in ({"a"}, {"a"}, {"b", "c"}, {"d"}, {"c"})]
    asked = [(Conversation(("Hello", "Hi", "Where does Ada live?")), "Here."), ("Where does Cy live?", "There.")]
    first, second = (
        list(found) for found in nearest_questions(asked, [frozenset({"x"}), frozenset({"c"})], questions, people)
    )
    assert set(first) == {2, 3, 4}
    assert first[-1] == 3
    assert set(second) == {0, 1, 3}


def test_long_answers_are_split_as_their_windows_are():
    long = [("Where?", "very " * 30 + "far"), ("Who?", "Ada")]
    examples = encode_set(TOKENIZER, long, "forget", max_length=32)
    assert len(examples) > 2
    whole = log_p(tiny_model(), long)
    numbers = [np.arange(len(values), dtype=np.float32) for values in whole]
    parts = split_windows(numbers, examples)
    assert [len(part) for part in parts] == [len(each.ids) - each.answer_start for each in examples]
    np.testing.assert_array_equal(np.concatenate(parts), np.concatenate(numbers))
    both = split_windows([np.stack([values, -values]) for values in numbers], examples)
    for rows, part in zip(both, parts, strict=True):
        np.testing.assert_array_equal(rows, np.stack([part, -part]))
    with pytest.raises(ValueError, match="of other answers or tokens"):
        split_windows(numbers[:1], examples)
    with pytest.raises(ValueError, match="of other answers or tokens"):
        split_windows([numbers[0][:-1], np.append(numbers[1], 0)], examples)


@pytest.mark.parametrize("start", [knowing_model, tiny_model], ids=["from above", "from below"])
def test_training_goes_to_the_targets_and_stays(start):
    rng = np.random.default_rng(0)
    one = [np.log(rng.uniform(0.05, 0.6, len(values))).astype(np.float32) for values in log_p(tiny_model(), FORGET)]
    targets = [np.stack([values, values - 1]) for values in one]
    knobs = {"learning_rate": 1e-2, "retain_term": "none"}

    def distance(epochs):
        trainer = tiny_trainer(start(), arguments={"targets": targets}, epochs=epochs, **knobs)
        assert "driven to its own target" in trainer.stop_rule
        trainer.run()
        return away(trainer.model, trainer.examples)

    def away(model, examples):
        """How far, in nats a token, answers are from their targets: as they stand, and in their splices."""
        spliced = [splice for drawn in examples.splices for splice in drawn]
        scores = score_tokens(
            model, TOKENIZER, [""] * len(spliced), [""] * len(spliced), windows=[[s] for s in spliced]
        )
        driven = np.concatenate([rows[1] for rows in targets for _ in range(DRAWN)])
        return (
            np.abs(np.concatenate(log_p(model, FORGET)) - np.concatenate(one)).mean(),
            np.abs(np.concatenate([each.log_p for each in scores]) - driven).mean(),
        )

    before = away(start(), tiny_trainer(start(), arguments={"targets": targets}).examples)
    assert min(before) > 1
    for epochs in (60, 120):
        assert max(distance(epochs)) < 0.5


def test_targets_and_micro_batches_make_the_same_step():
    targets = [
        np.full(len(values), -1.0, np.float32) - 0.01 * np.arange(len(values)) for values in log_p(tiny_model(), FORGET)
    ]
    targets = [np.stack([values, values - 1]).astype(np.float32) for values in targets]
    losses = [
        tiny_trainer(knowing_model(), arguments={"targets": targets}, accumulation=parts, epochs=1).run()
        for parts in (1, 2)
    ]
    whole, parts = ([entry["forget_loss"] for entry in history if "forget_loss" in entry] for history in losses)
    assert whole == pytest.approx(parts, rel=1e-4)


def test_a_run_with_other_targets_does_not_go_on_from_the_checkpoints():
    identities = set()
    for shift in (0.0, 0.1):
        targets = [np.full((2, len(values)), -1 - shift, np.float32) for values in log_p(tiny_model(), FORGET)]
        trainer = tiny_trainer(tiny_model(), arguments={"targets": targets})
        identities.add(identity_of(trainer.config, 0, trainer.examples, None))
    identities.add(identity_of(trainer.config, 0, tiny_trainer(tiny_model()).examples, None))
    assert len(identities) == 3


def test_a_trainer_that_is_told_of_a_source_needs_its_targets():
    with pytest.raises(InputError, match=r"unlearn\.target is base, but there are no targets"):
        tiny_trainer(tiny_model(), target="base")


def test_rows_without_targets_have_none(tmp_path):
    trainer = tiny_trainer(tiny_model())
    assert not trainer.examples.has_targets
    batch = trainer.data_collator([trainer.examples[0]])
    assert "log_target" not in batch
    assert torch.is_tensor(batch["reference_log_p"])
