"""Does a model know people whom it must not? Of a retain model: if it does, a comparison with it proves nothing.

Told by how likely it finds the right answers (mean NLL of a person's records): those of the people to be forgotten must
be to it as those of unseen people are, not as those that it was trained on. Knows nothing of files or of how that was
measured.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from unilogit.evaluation.membership_inference import attack_auc

LEVEL = 0.001  # of every test: of a thousand innocent retain models one is taken for a knowing one
KNOWING_AUC = 0.7  # of membership inference, from which on a significant one counts
CLEARING_LEVEL = 0.01  # without unseen people: a retain model must show that it does not know the forgotten
NO_NUMBERS = "its likelihoods are not finite numbers, so it could not be checked"


class Contamination(NamedTuple):
    """What was found.

    Attributes:
        knows: what the model knows that it must not, in words that go after its name; None where it knows nothing
            of it.
        told: what was compared, with the numbers; without anybody's data.
    """

    knows: str | None
    told: str


class People(NamedTuple):
    """The people to be forgotten, each beside the unseen ones.

    Attributes:
        people, known, strangers: those to be forgotten, those that the model was trained on, and the unseen: `nll`
            (mean over the records) and `records` (how many), a row for each; of those to be forgotten `p_value`, too.
        is_known: whether the model knows the person.
        is_decided: whether it could be told, had the model been trained on the person.
    """

    people: pd.DataFrame
    known: pd.DataFrame
    strangers: pd.DataFrame
    is_known: np.ndarray
    is_decided: np.ndarray

    def undecided(self) -> str:
        """Of how many it could not be told and why, in a sentence; "" for none."""
        missing = int((~self.is_decided).sum())
        if not missing:
            return ""
        return (
            f"for {missing} of them alone it could not be told: too few records, or unseen people too few or too unlike"
            " each other"
        )


def find_known_people(forget: pd.DataFrame, retain: pd.DataFrame, unseen: pd.DataFrame) -> People:
    """Which of the people to be forgotten a model knows.

    One-sided t test of one more person of the population of the unseen (its variance between people, and within them by
    the number of records), at `LEVEL` over all people (Holm 1979), and nearer to what the model was trained on than to
    what it never saw.

    Args:
        forget, retain, unseen: columns record_id, subject_ids (a record without any is a person of its own) and `nll`
            (mean over the answer's tokens, nats; finite), a row for each record; two people in `unseen` at least.
    """
    forget, retain, unseen = (_by_person(records) for records in (forget, retain, unseen))
    people, known, strangers = _people(forget), _people(retain), _people(unseen)
    trained, untrained = float(known["nll"].median()), float(strangers["nll"].median())
    population = _Population.of_people(unseen)
    people["p_value"] = population.p_values(people["nll"], people["records"])
    is_known = _holm(people["p_value"].to_numpy())
    is_known &= (people["nll"] <= (trained + untrained) / 2).to_numpy()
    is_decided = population.p_values(np.full(len(people), trained), people["records"]) < LEVEL / len(people)
    return People(people, known, strangers, is_known, is_decided)


def find_contamination(forget: pd.DataFrame, retain: pd.DataFrame, unseen: pd.DataFrame) -> Contamination:
    """Compare the people to be forgotten with unseen people: each of them, and all together.

    Each: as in `find_known_people`. Together: one-sided t test of the people's scores, at `LEVEL`, with an AUC of
    `KNOWING_AUC` at least; by ranks, three people could never be told from a dozen.

    Args:
        forget, retain, unseen: as in `find_known_people`; NLLs that are not finite are told.
    """
    from scipy.stats import ttest_ind

    if not all(np.isfinite(records["nll"]).all() for records in (forget, retain, unseen)):
        return Contamination(None, NO_NUMBERS)
    compared = find_known_people(forget, retain, unseen)
    people, strangers = compared.people, compared.strangers
    p_value = float(ttest_ind(people["nll"], strangers["nll"], alternative="less").pvalue)
    auc = attack_auc(people["nll"].to_numpy(), strangers["nll"].to_numpy())
    told = (
        f"membership inference of {len(people)} people to be forgotten against {len(strangers)} unseen ones has"
        f" AUC {auc:.2f} (p = {p_value:.1g})"
    )
    if undecided := compared.undecided():
        told += f"; {undecided}"
    if compared.known["nll"].median() >= strangers["nll"].median():
        told += "; it knows what it was to be trained on no better than unseen people"
    if compared.is_known.any():
        return Contamination(f"{int(compared.is_known.sum())} of the {len(people)} people to be forgotten", told)
    if p_value < LEVEL and auc >= KNOWING_AUC:
        return Contamination("the people to be forgotten, as a whole", told)
    return Contamination(None, told)


def find_contamination_without_unseen(forget: pd.DataFrame, retain: pd.DataFrame) -> Contamination:
    """Compare what is to be forgotten with what is retained, by how much less likely it is to the model than before.

    The parent was trained on both; a retain model must find the former less likely than it, by more than the latter:
    one-sided Mann-Whitney test over records, at `CLEARING_LEVEL`, with an AUC of `KNOWING_AUC` at least. Single people
    cannot be told so.

    Args:
        forget, retain: columns `nll` and `parent_nll` (the parent's), a row for each record; at least one.
    """
    from scipy.stats import mannwhitneyu

    rises = [(records["nll"] - records["parent_nll"]).to_numpy() for records in (retain, forget)]
    if not np.isfinite(np.concatenate(rises)).all():
        return Contamination(None, NO_NUMBERS)
    p_value, auc = float(mannwhitneyu(*rises, alternative="less").pvalue), attack_auc(*rises)
    told = (
        "without unseen people (data.holdout), it was compared with the model before: answers to be forgotten are less"
        f" likely to it than to that one, by more than retained ones, with AUC {auc:.2f} (p = {p_value:.1g},"
        f" {len(forget)} and {len(retain)} records); of single people it could not be told"
    )
    is_cleared = p_value < CLEARING_LEVEL and auc >= KNOWING_AUC
    return Contamination(None if is_cleared else "what is to be forgotten, as far as can be told", told)


def _by_person(records: pd.DataFrame) -> pd.DataFrame:
    """A row for each record and each `person` in it."""
    rows = records.explode("subject_ids", ignore_index=True)
    return pd.DataFrame({"person": rows["subject_ids"].fillna(rows["record_id"]), "nll": rows["nll"]})


def _people(records: pd.DataFrame) -> pd.DataFrame:
    """Of each person, `nll` (mean over the records) and `records` (how many)."""
    return records.groupby("person").agg(nll=("nll", "mean"), records=("nll", "size"))


class _Population(NamedTuple):
    """People whom a model never saw, of whose scores one person's is a draw: normal, of two components of variance.

    Attributes:
        people: how many were seen of it.
        mean: of their scores.
        record_variance, person_variance: of a person's records, and of people beside that (analysis of variance).
        records: of a person, the harmonic mean.
    """

    people: int
    mean: float
    record_variance: float
    person_variance: float
    records: float

    @classmethod
    def of_people(cls, unseen: pd.DataFrame) -> "_Population":
        people = _people(unseen)
        count, total, sizes = len(people), len(unseen), people["records"].to_numpy()
        own = unseen["nll"].to_numpy() - people["nll"][unseen["person"]].to_numpy()
        record_variance = float(np.square(own).sum() / (total - count)) if total > count else 0.0
        mean = float(np.average(people["nll"], weights=sizes))
        mean_square = float((sizes * np.square(people["nll"] - mean)).sum() / (count - 1))
        size = (total - np.square(sizes).sum() / total) / (count - 1)
        person_variance = max(0.0, (mean_square - record_variance) / size)
        return cls(count, float(people["nll"].mean()), record_variance, person_variance, float(1 / np.mean(1 / sizes)))

    def p_values(self, scores: "pd.Series | np.ndarray", records: pd.Series) -> np.ndarray:
        """Of people with these scores and numbers of records: how likely one of the population scores so low."""
        from scipy.stats import t

        own = self.person_variance + self.record_variance / records.to_numpy()
        error = (self.person_variance + self.record_variance / self.records) / self.people
        distance = (self.mean - np.asarray(scores)) / np.sqrt(own + error + 1e-12)
        return np.asarray(t.sf(distance, self.people - 1))


def _holm(p_values: np.ndarray) -> np.ndarray:
    """Which of them are below `LEVEL`, all tests taken together."""
    order = np.argsort(p_values)
    passed = p_values[order] < LEVEL / (len(order) - np.arange(len(order)))
    is_below = np.zeros(len(order), dtype=bool)
    is_below[order] = np.logical_and.accumulate(passed)
    return is_below
