"""deploy/kubernetes by Kubernetes' own schemas, and by what it promises. It is not run here."""

import json
import re

import kubernetes_validate
import pytest
import yaml
from jsonschema.validators import Draft202012Validator
from prefect.utilities.templating import apply_values

from tests.deploy.settings import DEPLOY, ROOT, make_credentials

FOLDER = DEPLOY / "kubernetes"
TEMPLATE = json.loads((FOLDER / "base-job-template.json").read_text())
VARIABLES = TEMPLATE["variables"]["properties"]
MANIFESTS = list(yaml.safe_load_all((FOLDER / "unilogit.yaml").read_text()))
VERSIONS = ["1.31", "1.37"]


def render(**values) -> dict:
    """The job that a flow run gets, as Prefect fills the template in; a command is a list by then."""
    defaults = {name: variable["default"] for name, variable in VARIABLES.items() if variable["default"] is not None}
    filled = apply_values(TEMPLATE["job_configuration"], defaults | {"name": "run", "command": ["prefect"]} | values)
    return filled["job_manifest"]


def pod(manifest: dict) -> dict:
    return manifest["spec"]["template"]["spec"]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_what_kubernetes_asks_for(version):
    for manifest in MANIFESTS:
        kubernetes_validate.validate(manifest, version, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(MANIFESTS[0] | {"metadate": {}}, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("gpus", [0, 1, 8])
def test_every_job_is_what_kubernetes_asks_for(version, gpus):
    job = render(gpus=gpus)
    # Prefect's worker takes these two from the Job, where its own template has them, too.
    spec = {name: value for name, value in pod(job).items() if name not in ("parallelism", "completions")}
    assert pod(job)["parallelism"] == pod(job)["completions"] == 1
    job["spec"]["template"]["spec"] = spec
    kubernetes_validate.validate(job, version, strict=True)
    (container,) = spec["containers"]
    assert {container["resources"][kind]["nvidia.com/gpu"] for kind in ("requests", "limits")} == {gpus}
    assert "{{" not in json.dumps(job)


def test_its_variables_are_a_schema_that_every_default_keeps():
    Draft202012Validator.check_schema(TEMPLATE["variables"])
    validator = Draft202012Validator(TEMPLATE["variables"])
    validator.validate({name: variable["default"] for name, variable in VARIABLES.items()})
    assert not validator.is_valid({"gpus": -1})
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(TEMPLATE["job_configuration"])))
    assert used == VARIABLES.keys()
    assert all(variable["description"] for variable in VARIABLES.values())


def test_every_secret_that_they_name_is_made(tmp_path):
    text = json.dumps([MANIFESTS, TEMPLATE])
    needed = set(re.findall(r'"secretKeyRef": \{"name": "unilogit", "key": "(\w+)"', text))
    assert needed
    assert needed <= make_credentials(tmp_path / ".env").keys()


def test_no_server_is_given_what_opens_the_data_of_people():
    for manifest in MANIFESTS:
        assert not {"LEDGER_DATABASE_PASSWORD", "DVC_STORE_PASSWORD"} & set(re.findall(r"\w+", json.dumps(manifest)))


def test_every_pod_keeps_to_the_restricted_standard():
    pods = [pod(manifest) for manifest in MANIFESTS if manifest["kind"] == "Deployment"] + [pod(render())]
    assert len(pods) == 4
    for spec in pods:
        security = spec["securityContext"]
        assert security["runAsNonRoot"]
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]
    assert not pod(render())["automountServiceAccountToken"]


def test_what_they_name_is_there():
    named = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in MANIFESTS}
    for volume in pod(render())["volumes"]:
        if claim := volume.get("persistentVolumeClaim"):
            assert ("PersistentVolumeClaim", claim["claimName"]) in named
    assert ("ServiceAccount", VARIABLES["service_account_name"]["default"]) in named
    files = re.findall(r"(?:deploy|mlflow)/[\w./-]+", json.dumps(MANIFESTS))
    assert files
    assert all((ROOT / file).is_file() for file in files)
    image = {VARIABLES["image"]["default"]}
    for manifest in MANIFESTS:
        if manifest["kind"] == "Deployment":
            image |= {container["image"] for container in pod(manifest)["containers"]}
    assert len(image) == 1
