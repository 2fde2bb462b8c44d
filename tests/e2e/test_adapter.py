"""Whole runs whose model is an adapter: what is registered, what the next batch starts from, what is certified."""

import shutil

import pytest

from tests.adapted import save_random_adapter
from tests.e2e.conftest import make_project
from tests.e2e.quick import QUICK, pass_all_gates
from unilogit.adapters import find_adapter
from unilogit.files import read_json, sha256_weights

pytestmark = pytest.mark.slow
WEIGHTS = ["adapter_model.safetensors"]


@pytest.mark.parametrize("start", ["a whole model", "somebody's adapter"])
def test_two_batches_with_adapters(tmp_path, start):
    project = make_project(tmp_path)
    project.change_params(**QUICK)
    project.change_params(register={"save": "adapter"}, unlearn={"method": "npo"})
    project.change_params(
        evaluate={"robustness": QUICK["evaluate"]["robustness"] | {"attacks": ["relearning", "quantisation"]}}
    )
    pass_all_gates(project)
    base = tmp_path / "var/example/model"
    project.succeed("python", "-m", "tasks.steps.example", "--workspace", "var/example")
    project.succeed("python", "-m", "tasks.steps.train", "--workspace", "var/example")
    before = sha256_weights(base)
    if start == "a whole model":
        project.change_params(unlearn={"lora_rank": 4, "lora_targets": ["q_proj", "v_proj"]})
    else:
        save_random_adapter(tmp_path / "own", base)
        project.change_params(model={"base": "own"})
    requests = project.folder / "var/example/requests"
    told = project.succeed("unilogit", "run", "--set", f"data.requests={requests}")
    assert "version 1 as candidate" in told or "version 1, candidate" in told
    project.succeed("unilogit", "models", "promote", "example-assistant", "1")
    project.succeed("unilogit", "certificates", "keygen")
    project.succeed("unilogit", "reconcile")
    project.succeed("unilogit", "requests", "add", "--subject", "P-0003")
    project.succeed("unilogit", "run")
    runs = sorted((tmp_path / "var/runs").glob("2*"))
    assert len(runs) == 2
    digests = {sha256_weights(run / "model") for run in runs}
    assert len(digests) == 2
    for run in runs:
        assert [file.name for file in (run / "model").glob("*.safetensors")] == WEIGHTS
        assert find_adapter(str(run / "model")).base == str(base.resolve())
        assert read_json(run / "evaluation/metrics.json")["after"]["robustness"]["relearned_probability"] is not None
    assert read_json(runs[1] / "parent.json")["version"] == "1"
    assert sha256_weights(base) == before
    assert project.succeed("unilogit", "reproduce", "2").count("bit for bit") == 1
    [*certificates] = (tmp_path / "var/certificates").glob("*.json")
    assert certificates
    shutil.rmtree(tmp_path / "var")
