"""Data under real DVC: what is pushed comes back bit for bit, and the hash is DVC's own."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from tasks.params import load_params
from tasks.steps import store
from tasks.workspace import Workspace
from unilogit.errors import InputError, TemporaryError

ROOT = Path(__file__).parents[3]
FILES = {"forget.parquet": b"\x00forget\r\n\xff", "retain.parquet": b"retain", "deeper/extraction.json": b"{}\r\n"}


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project of its own as the current folder, out of reach of the machine's DVC settings and caches."""
    for name in ("GLOBAL_CONFIG", "SYSTEM_CONFIG", "SITE_CACHE"):
        monkeypatch.setenv(f"DVC_{name}_DIR", str(tmp_path / name.lower()))
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path / "project" / "var"))
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def workspace(project):
    folder = project / "var" / "runs" / "batch-1"
    write(folder / "data", FILES)
    (folder / "metrics.json").write_text("{}")
    return folder


def store_data(folder):
    """The step's function: what it does when it is not kept."""
    return store.run_store(Workspace(folder), load_params(ROOT / "params.yaml"))


def data_md5(folder):
    return store.data_md5(Workspace(folder))


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def configure(project, url, remote="backup"):
    (project / ".dvc").mkdir(exist_ok=True)
    (project / ".dvc" / "config").write_text(f"[core]\n    remote = {remote}\n['remote \"backup\"']\n    url = {url}\n")


def files(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def md5_of_folder(contents):
    """As DVC defines it: MD5 of the sorted list of names and MD5s, as JSON."""
    entries = [{"md5": hashlib.md5(content).hexdigest(), "relpath": name} for name, content in sorted(contents.items())]
    return hashlib.md5(json.dumps(entries).encode()).hexdigest() + ".dir"


def pull(workspace):
    """As a person does it, with nothing but the pointer and the remote left."""
    shutil.rmtree(workspace / "data")
    shutil.rmtree(workspace.parent / ".dvc" / "cache")
    command = [sys.executable, "-m", "dvc", "pull", "--quiet", f"{workspace.name}/data.dvc"]
    subprocess.run(command, cwd=workspace.parent, check=True, env=os.environ | {"DVC_NO_ANALYTICS": "1"})


@pytest.mark.parametrize("is_relative", [True, False])
def test_data_goes_to_the_projects_remote_and_comes_back_bit_for_bit(project, workspace, is_relative):
    configure(project, "../../storage" if is_relative else project.parent / "storage")
    stored = store_data(workspace)
    assert stored.data_md5 == data_md5(workspace) == md5_of_folder(FILES)
    assert str(stored) == f"data {stored.data_md5} pushed to {stored.remote}"
    pushed = [content for file, content in files(project.parent / "storage").items() if not file.endswith(".dir")]
    assert sorted(pushed) == sorted(FILES.values())
    pull(workspace)
    assert files(workspace / "data") == FILES


def test_the_command_prints_one_line(workspace):
    command = [sys.executable, "-m", "tasks.steps.store", "--workspace", str(workspace)]
    command += ["--params", str(ROOT / "params.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = f"data {md5_of_folder(FILES)} pushed to {workspace.parents[1] / 'dvc-remote'}"
    assert done.stdout == f"{told}\n"


def test_the_hash_is_the_one_that_dvc_gives_elsewhere(project, workspace):
    stored = store_data(workspace)
    elsewhere = project.parent / "elsewhere"
    shutil.copytree(workspace / "data", elsewhere / "data")
    with Repo.init(str(elsewhere), no_scm=True) as repository:
        repository.add(str(elsewhere / "data"))
    pointer = yaml.safe_load((elsewhere / "data.dvc").read_text())
    assert stored.data_md5 == pointer["outs"][0]["md5"]


def test_without_a_remote_the_data_is_kept_at_home(project, workspace):
    stored = store_data(workspace)
    assert stored.remote == str(project / "var" / "dvc-remote")
    assert set(FILES.values()) <= set(files(project / "var" / "dvc-remote").values())


def test_the_remote_that_ships_moves_with_the_home(project, monkeypatch):
    (project / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc" / "config", project / ".dvc")
    for home in (project / "var", project.parent / "elsewhere"):
        monkeypatch.setenv("UNILOGIT_HOME", str(home))
        folder = home / "runs" / "batch-1"
        write(folder / "data", FILES)
        stored = store_data(folder)
        assert stored.remote == str(home / "dvc-remote")
        assert set(FILES.values()) <= set(files(home / "dvc-remote").values())
        pull(folder)
        assert files(folder / "data") == FILES
        again = Workspace(home / "reproductions" / "batch-1")
        store.check_out(stored.data_md5, again)
        assert files(again.root / "data") == FILES
        shutil.rmtree(home)
    assert not (project / "var").exists()


def test_a_remote_outside_the_default_home_stays_where_it_is(project, workspace, monkeypatch):
    configure(project, "../variety")
    monkeypatch.setenv("UNILOGIT_HOME", str(project.parent / "elsewhere"))
    assert store_data(workspace).remote == str(project / "variety") == str(store.configured_folder())


def test_repeating_is_harmless_and_pushes_what_is_missing(project, workspace):
    configure(project, project.parent / "storage")
    first = store_data(workspace)
    before, pointer = files(project.parent / "storage"), (workspace / "data.dvc").read_bytes()
    assert store_data(workspace) == first
    shutil.rmtree(project.parent / "storage")
    assert store_data(workspace) == first
    assert files(project.parent / "storage") == before
    assert (workspace / "data.dvc").read_bytes() == pointer
    assert files(workspace / "data") == FILES


def test_changed_data_has_another_hash_and_a_second_run_does_not_disturb_the_first(project, workspace):
    configure(project, project.parent / "storage")
    first = store_data(workspace)
    other = workspace.parent / "batch-2"
    write(other / "data", FILES | {"retain.parquet": b"other"})
    second = store_data(other)
    assert second.data_md5 == md5_of_folder(files(other / "data")) != first.data_md5
    assert data_md5(workspace) == first.data_md5

    configure(project, project.parent / "moved")
    (workspace / "data" / "retain.parquet").write_bytes(b"changed")
    assert store_data(workspace).data_md5 == md5_of_folder(FILES | {"retain.parquet": b"changed"})
    assert b"changed" in files(project.parent / "moved").values()


def test_a_hash_of_dvc_repro_is_read_from_its_lock(project):
    workspace = project / "work"
    assert data_md5(workspace) is None
    stage = {"cmd": "mkdir work/data && echo forget > work/data/forget.parquet", "outs": ["work/data"]}
    workspace.mkdir()
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"extract": stage}}))
    with Repo.init(str(project), no_scm=True) as repository:
        repository.reproduce()
    assert data_md5(workspace) == md5_of_folder({"forget.parquet": b"forget\n"})
    assert data_md5(project / "elsewhere") is None


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("http://127.0.0.1:9/storage", TemporaryError),
        ("ssh://127.0.0.1:9/storage", InputError),  # its package is not installed
        ("/dev/null/storage", InputError),
    ],
)
def test_an_unreachable_remote_is_one_clear_error_and_may_pass_where_it_can(project, workspace, url, kind):
    configure(project, url)
    with pytest.raises(kind) as error:
        store_data(workspace)
    problem = str(error.value)
    assert "batch-1" in problem
    assert url in problem
    assert problem.endswith("check .dvc/config")
    assert files(workspace / "data") == FILES

    configure(project, project.parent / "storage")
    assert store_data(workspace).data_md5 == md5_of_folder(FILES)


@pytest.mark.parametrize(
    "config",
    [
        "[core\n",
        "[core]\n    nonsense = 1\n",
        "[core]\n    remote = backup\n",
        "[core]\n    remote = backup\n['remote \"backup\"']\n    url = nonsense://nowhere\n",
    ],
)
def test_a_configuration_that_is_wrong_is_said_to_be_and_nothing_is_stored_elsewhere(project, workspace, config):
    (project / ".dvc").mkdir()
    (project / ".dvc" / "config").write_text(config)
    with pytest.raises(InputError, match=r"\.dvc/config"):
        store_data(workspace)
    assert not (project / "var" / "dvc-remote").exists()


def test_missing_data_is_an_error(workspace):
    shutil.rmtree(workspace / "data")
    with pytest.raises(InputError, match="data"):
        store_data(workspace)
