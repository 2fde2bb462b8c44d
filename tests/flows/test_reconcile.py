"""`unilogit reconcile` in this process: what people clicked is accepted or put back, and the exit code says which."""

from pathlib import Path

import pytest

from tasks.registry.connection import client
from tests.tasks.registry.family import NAME, Family

PARAMS = Path("params.yaml").absolute()
OVERRIDES = [f"register.registered_model={NAME}"]


@pytest.fixture
def family(tmp_path, monkeypatch):
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Family(client(), tmp_path / "weights")


@pytest.fixture
def reconcile(family, capfd):
    from flows.reconcile import reconcile_in_process

    def reconcile():
        code = reconcile_in_process(PARAMS, OVERRIDES)
        out, err = capfd.readouterr()
        told = [line for line in out.splitlines() if not line.startswith("Prefect does not record this run")]
        return code, "\n".join(told), err.strip()

    return reconcile


def test_a_click_is_accepted_or_put_back(family, reconcile):
    assert reconcile() == (0, "no version is champion; promote one", "")
    family.add(1)
    family.add(2, parent=1, gates="failed")
    family.click(1)
    code, out, _ = reconcile()
    assert code == 0
    assert out.endswith(f"{NAME} version 1 is champion; all of its requests were fulfilled before")
    family.click(2)
    code, _, err = reconcile()
    assert code == 2
    assert f"error: {NAME} version 2 may not be champion: it did not pass its gates; version 1 is champion again" in err
    assert family.aliases == {"champion": "1"}
    assert reconcile()[0] == 0
