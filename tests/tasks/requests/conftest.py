"""A home in which people were forgotten: built once, and a copy of it for each test."""

import shutil

import pytest

from tests.tasks.requests.forgetting_home import build, life


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GLOBAL_CONFIG", "SYSTEM_CONFIG", "SITE_CACHE"):
            patch.setenv(f"DVC_{name}_DIR", str(folder.parent / f"dvc-{name.lower()}"))
        patch.setenv("UNILOGIT_HOME", str(folder / "var"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(folder)
        build(folder)
    return folder


@pytest.fixture
def project(built, tmp_path, monkeypatch):
    """A copy of the home, which is the present one."""
    folder = tmp_path / "project"
    shutil.copytree(built, folder)
    for name in ("GLOBAL_CONFIG", "SYSTEM_CONFIG", "SITE_CACHE"):
        monkeypatch.setenv(f"DVC_{name}_DIR", str(tmp_path / name.lower()))
    monkeypatch.setenv("UNILOGIT_HOME", str(folder / "var"))
    monkeypatch.chdir(folder)
    return life(folder)
