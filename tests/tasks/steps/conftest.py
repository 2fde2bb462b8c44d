"""What tests of steps share: a state folder that is not the project's."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def own_home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNILOGIT_HOME", str(tmp_path_factory.mktemp("home")))
        yield
