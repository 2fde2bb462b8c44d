"""Three models and what is measured of them, once for all tests that only read it."""

import pytest

from tests.evaluation.measured import blurred, build, measure, train


@pytest.fixture(scope="session")
def models():
    """One that knows most records, and two that know them less well."""
    model = train(build())
    return [model, blurred(model), blurred(model)]


@pytest.fixture(scope="session")
def evaluations(models):
    return [measure(model) for model in models]
