"""Does a model know what it was trained on? If it does not, it is asked in the wrong way, or it is the wrong model.

Told by how likely it finds the answers of its own training records. Knows nothing of files or of how that was measured.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

LEVEL = 0.05  # of the test that it knows its training records
GAIN = math.log(1.5)  # nats per token, from which on another format counts
SHARE = 0.75  # share of the records that are likelier in it


class Familiarity(NamedTuple):
    """What was found.

    Attributes:
        unfamiliar: what speaks against the model knowing its training records as it is asked, in words that go after
            its name; None where nothing does.
        told: what was compared, with the numbers; without anybody's data.
    """

    unfamiliar: str | None
    told: str


def find_familiarity(
    trained: np.ndarray,
    strangers: np.ndarray,
    *,
    are_unseen: bool,
    asked: np.ndarray,
    formats: Mapping[str, np.ndarray],
) -> Familiarity:
    """Compare records that a model was trained on with strange ones, and the format it is asked in with others.

    It does not know them where they are no likelier (Mann-Whitney, one-sided, at `LEVEL`). Another format is the better
    one where its answers gain `GAIN` per token in the mean, and `SHARE` of the records are likelier.

    Args:
        trained, strangers: [n] and [m], float64: NLL of answers, mean over their tokens, in nats.
        are_unseen: whether strangers are records of people whom the model never saw; else they are the trained
            records' prompts, each with the answer of another one.
        asked: [k], NLL of some of the trained records.
        formats: another format → NLL of the same records in it.
    """
    from scipy.stats import mannwhitneyu

    kind = "records of unseen people" if are_unseen else "their prompts with each other's answers"
    if not len(trained) or not len(strangers):
        return Familiarity(None, f"there are no {'training records' if not len(trained) else kind} to compare with")
    if not np.isfinite(np.r_[trained, strangers]).all():
        return Familiarity("gives answers no finite likelihood", "its likelihoods are not finite numbers")
    p_value = float(mannwhitneyu(trained, strangers, alternative="less").pvalue)
    told = (
        f"answers of {len(trained)} of its training records have probability {np.exp(-trained.mean()):.3f} per token,"
        f" {len(strangers)} {kind} {np.exp(-strangers.mean()):.3f} (p = {p_value:.1g})"
    )
    gains = {name: float((asked - nll).mean()) for name, nll in formats.items()}
    better = [name for name, nll in formats.items() if gains[name] >= GAIN and float((nll < asked).mean()) >= SHARE]
    if better:
        name = max(better, key=gains.__getitem__)
        unfamiliar = (
            f"knows its training records better in another format: asked by {name!r}, a token of their answers is"
            f" {np.exp(gains[name]):.1f} times as likely"
        )
        return Familiarity(unfamiliar, told)
    if p_value >= LEVEL:
        return Familiarity(f"finds its training records no likelier than {kind}", told)
    return Familiarity(None, told)
