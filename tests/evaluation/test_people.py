"""Single people under a model: one who is remembered among a thousand is found, and what cannot be told is said."""

import numpy as np
import pandas as pd
import pytest

from tests.evaluation.test_contamination import TRAINED, learn, people, populations
from unilogit.evaluation.people import REMEMBERED, people_findings


def measured(forget, retain, unseen):
    """Examples as a model's evaluation has them, and whom each record is about."""
    parts = {"forget_all": forget, "retain": retain, "holdout": unseen}
    examples = pd.concat([part.assign(set=name) for name, part in parts.items()], ignore_index=True)
    examples["probability"] = np.exp(-examples["nll"])
    examples = examples.assign(**dict.fromkeys(REMEMBERED[1:], np.nan))
    return examples, dict(zip(examples["record_id"], examples["subject_ids"], strict=True))


def test_thirty_remembered_among_a_thousand_are_counted_though_the_mean_is_low():
    forget, retain, unseen = populations(forget=1030, records=3)
    remembered = [f"forget-{number}" for number in range(0, 1030, 35)]
    examples, subjects = measured(learn(forget, *remembered), retain, unseen)
    assert len(remembered) == 30
    assert examples.loc[examples["set"] == "forget_all", "probability"].mean() < 0.2
    findings, _ = people_findings(examples, subjects)
    assert findings.metrics["people"]["known"] == 30
    assert findings.metrics["people"]["worst_probability"] > 0.9


@pytest.mark.parametrize("seed", range(5))
def test_nobody_is_known_to_a_model_that_was_trained_on_nobody_of_them(seed):
    findings, _ = people_findings(*measured(*populations(seed)))
    assert findings.metrics["people"]["known"] == 0
    assert findings.unavailable == {}


def test_of_whom_it_cannot_be_told_is_said():
    random = np.random.default_rng(0)
    forget = pd.concat([people(random, "many", 9, 2.0), people(random, "one", 1, 2.0, records=1, within=3.0)])
    _, retain, unseen = populations(within=0.8)
    findings, _ = people_findings(*measured(forget, retain, unseen))
    assert findings.metrics["people"]["known"] == 0
    assert findings.incomplete["people.known"].startswith("for 1 of them alone it could not be told: too few records")


def test_a_count_of_which_nothing_could_be_told_is_not_available():
    forget, retain, unseen = populations(unseen=2)
    findings, _ = people_findings(*measured(forget, retain, unseen))
    assert findings.metrics["people"]["known"] is None
    assert findings.unavailable["people.known"].startswith("for 20 of them alone it could not be told")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda rows: rows[rows["set"] != "holdout"], "people whom the model never saw"),
        (lambda rows: rows[rows["set"] != "retain"], "or no retained record"),
        (lambda rows: rows[~rows["record_id"].str.match("unseen-[1-9]")], "fewer than two unseen"),
        (lambda rows: rows.assign(nll=np.nan, probability=np.nan), "not finite numbers"),
    ],
)
def test_without_anything_to_compare_with_it_says_why(change, why):
    examples, subjects = measured(*populations())
    findings, _ = people_findings(change(examples), subjects)
    assert findings.metrics["people"]["known"] is None
    assert why in findings.unavailable["people.known"]


def test_a_record_of_two_people_counts_for_both():
    forget, retain, unseen = populations(forget=3)
    both = pd.DataFrame([(f"both-{n}", ["forget-1", "forget-2"], TRAINED) for n in range(40)], columns=list(forget))
    findings, _ = people_findings(*measured(pd.concat([forget, both]), retain, unseen))
    assert findings.metrics["people"]["known"] == 2


@pytest.mark.parametrize("remembered", ["forget-7", "forget-0"])
def test_who_is_remembered_best_is_named_with_the_mean_over_their_own_records(remembered):
    forget, retain, unseen = populations()
    examples, subjects = measured(learn(forget, remembered), retain, unseen)
    is_theirs = examples["record_id"].map(subjects).map(lambda people: people == [remembered])
    examples["extraction_strength"] = np.where(is_theirs & (examples["set"] == "forget_all"), 0.5, 0.25)
    findings, worst = people_findings(examples, subjects)
    assert {path: who.person for path, who in worst.items()} == dict.fromkeys(
        (
            *("forget_all.probability", "forget_all.extraction_strength"),
            *("people.worst_probability", "people.known"),
        ),
        remembered,
    )
    own = np.mean([row.probability for row in examples[is_theirs].itertuples() if row.set == "forget_all"])
    assert worst["forget_all.probability"].value == pytest.approx(own)
    assert findings.metrics["people"]["worst_probability"] == pytest.approx(own)
    assert worst["forget_all.extraction_strength"].value == 0.5


def test_who_is_told_from_unseen_people_most_surely_is_worst_though_another_has_a_likelier_answer():
    """One lucky record is likelier than nine that were learnt."""
    random = np.random.default_rng(0)
    lucky = people(random, "lucky", 1, TRAINED, records=1, within=0.0)
    learnt = people(random, "learnt", 1, TRAINED + 0.2, records=9, within=0.1)
    _, retain, unseen = populations(within=1.0)
    _, worst = people_findings(*measured(pd.concat([lucky, learnt]), retain, unseen))
    assert worst["forget_all.probability"].person == "lucky-0"
    assert worst["people.known"].person == "learnt-0"
