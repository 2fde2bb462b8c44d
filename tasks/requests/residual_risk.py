"""What may remain of a person in a model that forgot, in sentences made of the tests' numbers. Holds words only."""

from collections.abc import Sequence

from tasks.report.names import number
from unilogit.certificates import Measurement, Person, Search

_LIMIT = (
    "Unlearning is no proof of absence. The tests bound what the attacks that were made could bring back from the"
    " weights of this version; another attack, or more effort, may bring back more."
)
_SEARCH_LIMIT = (
    "What names the person otherwise than the request does, and reads unlike every record that was found, was not found"
    " and is still known to the model."
)
_NO_COPIES_SOUGHT = "Copies of the person's records under no or another name were not looked for."
_NOT_TESTED = "None of the person's records was tested; the numbers are those of the whole batch."
_ATTACKS = {  # metric of robustness → what the attacker does
    "relearned_probability": "After fine-tuning this version on a tenth of what was forgotten",
    "quantised_8_bit_probability": "With weights of 8 bits",
    "quantised_4_bit_probability": "With weights of 4 bits",
    "paraphrased_probability": "Asked in other words",
    "paraphrased_rouge_l_recall": "Asked in other words",
    "question_formats_probability": "Asked for another form of answer",
    "question_formats_rouge_l_recall": "Asked for another form of answer",
    "clues_probability": "Told other things about the same people before",
    "clues_rouge_l_recall": "Told other things about the same people before",
    "prefix_attack_rouge_l_recall": "Given the start of the answer",
    "sampling_rouge_l_recall": "As the best of many sampled answers",
    "logit_lens_probability": "By the output of the layer that gives most away",
}


def residual_risk(person: Person, search: Search, tests: Sequence[Measurement]) -> list[str]:
    """What an attacker still could, as far as was tested, and what was not."""
    sentences = [_LIMIT, _SEARCH_LIMIT]
    if search.near_duplicate_threshold is None:
        sentences.append(_NO_COPIES_SOUGHT)
    if not person.measured_records:
        sentences.append(_NOT_TESTED)
    elif person.measured_records < person.records:
        sentences.append(f"Of {person.records} forgotten records, {person.measured_records} were tested.")
    if person.highest_probability is not None:
        sentences.append(
            "Of all the person's answers, the one that is remembered best has a probability of"
            f" {number(person.highest_probability)}."
        )
    return [*sentences, *_attacks(tests), *_exceptions(tests)]


def _attacks(tests: Sequence[Measurement]) -> list[str]:
    """A sentence for each metric that was measured under attack, with the person's value where there is one."""
    told: dict[str, str] = {}
    for test in tests:
        family, _, metric = test.metric.partition(".")
        is_own = test.person.after is not None
        value, owner = (test.value if test.person.after is None else test.person.after), "person" if is_own else "batch"
        if family == "membership_inference":
            told[test.metric] = (
                f"Shown one of the {owner}'s records and one of somebody whom the model never saw, the attack"
                f" {metric.removesuffix('_auc').replace('_', ' ')} takes the former for what the model was trained on"
                f" in {value:.0%} of cases; 50% is guessing."
            )
        elif family == "robustness" and metric in _ATTACKS:
            unit = "probability" if metric.endswith("probability") else "word-for-word share (ROUGE-L)"
            unseen = test.person.retain_model if is_own else None
            compared = "" if unseen is None else f", beside {number(unseen)} of a model that never saw them"
            told[test.metric] = f"{_ATTACKS[metric]}, the {owner}'s answers have a {unit} of {number(value)}{compared}."
    if not any(metric.startswith("robustness.") for metric in told):
        told[""] = "No attack that changes the model or the question was tested."
    return list(told.values())


def _exceptions(tests: Sequence[Measurement]) -> list[str]:
    """Where the person's own value lies beyond the threshold that the batch as a whole keeps."""
    return [
        f"{test.name}: over the person's records, {test.metric} is {number(test.person.after)}, where the batch as"
        f" a whole keeps {test.demands()}."
        for test in tests
        if test.person_is_beyond()
    ]
