"""Does a retain model know the forgotten? Of populations of which that is known, and against other formulas."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import f_oneway, norm, ttest_ind

from unilogit.evaluation import contamination
from unilogit.evaluation.contamination import LEVEL, find_contamination, find_contamination_without_unseen

TRAINED, UNTRAINED = 0.05, 2.0  # mean NLL of an answer that the model was trained on, and of another


def people(random, name, count, mean, records=8, between=0.15, within=0.5):
    """Records of people, whose NLLs differ between people and within them."""
    sizes = np.broadcast_to(records, count)
    means = mean + between * random.standard_normal(count) * (mean > TRAINED)
    rows = [
        (f"{name}-{person}-{number}", [f"{name}-{person}"], abs(own + spread * random.standard_normal()))
        for person, (own, size) in enumerate(zip(means, sizes, strict=True))
        for number in range(size)
        for spread in [within if own > TRAINED else 0.02]
    ]
    return pd.DataFrame(rows, columns=["record_id", "subject_ids", "nll"])


def populations(seed=0, forget=20, unseen=30, **kind):
    random = np.random.default_rng(seed)
    return [
        people(random, "forget", forget, UNTRAINED, **kind),
        people(random, "retain", 40, TRAINED),
        people(random, "unseen", unseen, UNTRAINED, **{**kind, "records": 8}),
    ]


def learn(forget, *names):
    """The same people, of whom these are known to the model."""
    is_known = forget["subject_ids"].str[0].isin(names) if names else np.ones(len(forget), dtype=bool)
    return forget.assign(nll=forget["nll"].where(~is_known, TRAINED + forget["nll"] / 100))


def test_a_model_that_was_trained_on_nobody_of_them_knows_nobody():
    found = [find_contamination(*populations(seed)) for seed in range(100)]
    assert sum(one.knows is not None for one in found) <= 1
    assert "AUC 0." in found[0].told


def test_a_model_that_was_trained_on_them_knows_them():
    forget, retain, unseen = populations()
    found = find_contamination(learn(forget), retain, unseen)
    assert found.knows == "20 of the 20 people to be forgotten"
    assert "20 people to be forgotten against 30 unseen ones has AUC 1.00" in found.told


def test_a_model_that_knows_them_a_little_knows_them_as_a_whole():
    forget, retain, unseen = populations(between=0.3)
    found = find_contamination(forget.assign(nll=forget["nll"] - 0.5), retain, unseen)
    assert found.knows == "the people to be forgotten, as a whole"


def test_three_people_are_enough():
    forget, retain, unseen = populations(forget=3, unseen=12, between=0.4)
    found = find_contamination(forget.assign(nll=forget["nll"] - 1.2), retain, unseen)
    assert found.knows is not None


@pytest.mark.parametrize("names", [("forget-3",), ("forget-3", "forget-7", "forget-19")])
def test_single_people_are_counted(names):
    forget, retain, unseen = populations()
    found = find_contamination(learn(forget, *names), retain, unseen)
    assert found.knows == f"{len(names)} of the 20 people to be forgotten"


def test_a_batch_of_one_person_is_decided():
    forget, retain, unseen = populations(forget=1)
    assert find_contamination(forget, retain, unseen).knows is None
    assert find_contamination(learn(forget), retain, unseen).knows == "1 of the 1 people to be forgotten"


def test_people_who_cannot_be_told_are_counted_and_not_accused():
    forget, retain, unseen = populations(records=[1] * 5 + [8] * 15, within=0.9)
    found = find_contamination(learn(forget, "forget-0"), retain, unseen)
    assert found.knows is None
    assert "; for 5 of them alone it could not be told" in found.told


def test_one_who_is_likely_but_no_nearer_to_what_was_trained_on_is_not_accused():
    forget, retain, unseen = populations(between=0.01, within=0.01)
    likelier = forget.assign(nll=forget["nll"].where(forget["subject_ids"].str[0] != "forget-0", UNTRAINED - 0.5))
    assert find_contamination(likelier, retain, unseen).knows is None


def test_what_nobody_owns_is_a_person_of_its_own_and_what_two_own_counts_for_both():
    forget, retain, unseen = populations()
    nobody = forget.head(8).assign(subject_ids=[[] for _ in range(8)])
    assert "of 8 people" in find_contamination(nobody, retain, unseen).told
    both = forget.assign(subject_ids=[[*names, "forget-1"] for names in forget["subject_ids"]])
    assert "of 20 people" in find_contamination(both, retain, unseen).told


def test_a_model_that_learned_nothing_is_said_to():
    forget, _, unseen = populations()
    retain = people(np.random.default_rng(1), "retain", 40, UNTRAINED + 0.5)
    found = find_contamination(forget, retain, unseen)
    assert found.knows is None
    assert "it knows what it was to be trained on no better than unseen people" in found.told


def test_the_variance_components_are_those_of_balanced_groups():
    unseen = people(np.random.default_rng(3), "unseen", 12, UNTRAINED, records=5)
    rows = contamination._by_person(unseen)
    population = contamination._Population.of_people(rows)
    groups = [group["nll"].to_numpy() for _, group in rows.groupby("person")]
    within = np.mean([group.var(ddof=1) for group in groups])
    mean_square = 5 * np.var([group.mean() for group in groups], ddof=1)
    assert f_oneway(*groups).statistic == pytest.approx(mean_square / within)
    assert population.record_variance == pytest.approx(within)
    assert population.person_variance == pytest.approx(max(0, (mean_square - within) / 5))


def test_with_a_record_each_it_is_students_test_of_one_against_the_rest():
    unseen = people(np.random.default_rng(4), "unseen", 15, UNTRAINED, records=1)
    population = contamination._Population.of_people(contamination._by_person(unseen))
    [p_value] = population.p_values(np.array([0.9]), pd.Series([1]))
    assert p_value == pytest.approx(ttest_ind([0.9], unseen["nll"], alternative="less").pvalue)


def test_holm_takes_them_in_order():
    random = np.random.default_rng(5)
    for _ in range(50):
        p_values = norm.sf(random.uniform(0, 6, 7))
        expected, left = set(), list(range(7))
        while left:  # the procedure as it is defined
            smallest = min(left, key=lambda place: p_values[place])
            if p_values[smallest] >= LEVEL / len(left):
                break
            expected.add(smallest)
            left.remove(smallest)
        assert set(np.flatnonzero(contamination._holm(p_values))) == expected


@pytest.mark.parametrize(("knows", "nll"), [(False, UNTRAINED), (True, TRAINED)])
def test_without_unseen_people_the_model_before_is_what_it_is_compared_with(knows, nll):
    random = np.random.default_rng(6)
    forget = people(random, "forget", 3, nll).assign(parent_nll=TRAINED)
    retain = people(random, "retain", 40, TRAINED).assign(parent_nll=TRAINED)
    found = find_contamination_without_unseen(forget, retain)
    assert (found.knows is not None) == knows
    assert "24 and 320 records" in found.told
    assert "of single people it could not be told" in found.told


def test_without_unseen_people_harder_answers_are_no_proof_of_innocence():
    random = np.random.default_rng(7)
    forget = people(random, "forget", 3, UNTRAINED)
    forget["parent_nll"] = forget["nll"] * random.uniform(0.98, 1.02, len(forget))  # neither model learned them well
    retain = people(random, "retain", 40, TRAINED).assign(parent_nll=TRAINED)
    assert find_contamination_without_unseen(forget, retain).knows == "what is to be forgotten, as far as can be told"


def test_a_model_without_numbers_is_not_checked():
    forget, retain, unseen = populations()
    broken = retain.assign(nll=np.nan)
    assert find_contamination(forget, broken, unseen) == (None, contamination.NO_NUMBERS)
    forget, broken = (records.assign(parent_nll=TRAINED) for records in (forget, broken))
    assert find_contamination_without_unseen(forget, broken) == (None, contamination.NO_NUMBERS)
