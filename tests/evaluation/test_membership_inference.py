"""AUC against every pair compared by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unilogit.evaluation.membership_inference import loss_auc

nlls = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=15)  # few values: many ties


@given(member=nlls, other=nlls)
def test_auc_is_the_share_of_pairs_in_which_the_member_is_likelier(member, other):
    wins = sum((m < o) + 0.5 * (m == o) for m in member for o in other)
    assert loss_auc(np.array(member), np.array(other)) == pytest.approx(wins / (len(member) * len(other)))


def test_ends_of_the_scale():
    low, high = np.array([0.1, 0.2]), np.array([1.0, 2.0, 3.0])
    assert loss_auc(low, high) == 1
    assert loss_auc(high, low) == 0
    assert loss_auc(low, low) == 0.5
