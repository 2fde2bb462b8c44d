"""deploy/compose.yaml by the Compose specification's own schema, and by what it promises. It is not run here."""

import re

import pytest
import yaml

from tests.deploy.settings import DEPLOY, ROOT, make_credentials

FILE = DEPLOY / "compose.yaml"
TEXT = FILE.read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
PERSONS = {"LEDGER_DATABASE_PASSWORD", "DVC_STORE_PASSWORD"}  # what opens the data of people


def variables(service: dict) -> set[str]:
    """Of deploy/.env that a service is given."""
    return set(re.findall(r"\$\{(\w+)", str(service.get("environment", {}))))


def test_it_is_what_the_specification_asks_for():
    from check_jsonschema.builtin_schemas import get_builtin_schema
    from jsonschema.validators import validator_for

    schema = get_builtin_schema("vendor.compose-spec")
    validator = validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(COMPOSE)] == []
    broken = COMPOSE | {"services": SERVICES | {"worker": SERVICES["worker"] | {"restarts": "always"}}}
    assert list(validator.iter_errors(broken))


def test_every_secret_that_it_needs_is_made(tmp_path):
    needed = set(re.findall(r"\$\{(\w+):\?run deploy/credentials.sh\}", TEXT))
    assert needed == make_credentials(tmp_path / ".env").keys()
    optional = set(re.findall(r"\$\{(\w+):-", TEXT))
    assert set(re.findall(r"\$\{(\w+)", TEXT)) == needed | optional
    described = (ROOT / "docs" / "production.md").read_text()
    assert [name for name in optional if f"`{name}`" not in described] == []


def test_nobody_but_the_worker_is_given_what_opens_the_data_of_people():
    allowed = {"worker", "worker-gpu", "store", "databases"}  # the last two keep it
    assert {name for name, service in SERVICES.items() if variables(service) & PERSONS} == allowed


def test_the_proxy_alone_is_reached_and_reaches_out():
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    for name, service in SERVICES.items():
        networks = service.get("networks", [])
        assert ("ports" in service, networks) == (
            (True, ["inside", "outside"]) if name == "proxy" else (False, networks)
        )
        assert name == "proxy" or networks == ["inside"] or service["network_mode"] == "service:mlflow"


def test_every_service_is_kept_running_without_rights_of_its_own():
    ending = {"databases", "deployments"}
    for name, service in SERVICES.items():
        assert service["restart"] == ("no" if name in ending else "unless-stopped"), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service
        assert name in ending | {"proxy"} or "healthcheck" in service, name


def test_every_image_is_pinned_and_every_volume_named():
    images = {service["image"] for service in SERVICES.values()}
    assert {image for image in images if not image.startswith("unilogit:")} == {
        "postgres:17.10",
        "caddy:2.11.4-alpine",
    }
    used = {
        volume.partition(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if not volume.startswith((".", "$"))
    }
    assert used == COMPOSE["volumes"].keys()


def test_a_service_waits_for_what_it_needs():
    for name, service in SERVICES.items():
        for needed, condition in service.get("depends_on", {}).items():
            ends = SERVICES[needed]["restart"] == "no"
            expected = "service_completed_successfully" if ends else "service_healthy"
            assert condition == {"condition": expected}, f"{name} on {needed}"


def test_a_gpu_is_reserved_by_a_profile():
    assert SERVICES["worker"]["profiles"] == ["cpu"]
    assert SERVICES["worker-gpu"]["profiles"] == ["gpu"]
    (device,) = SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert SERVICES["worker-gpu"]["environment"] == SERVICES["worker"]["environment"]


DOCKERFILE = (DEPLOY / "Dockerfile").read_text()


def test_the_image_runs_as_nobody_in_particular_and_makes_files_for_its_user_alone():
    assert re.findall(r"^USER (\w+)$", DOCKERFILE, re.MULTILINE) == ["unilogit"]
    assert "umask 077" in re.search(r"^ENTRYPOINT .*$", DOCKERFILE, re.MULTILINE)[0]
    assert "-c constraints.txt" in DOCKERFILE
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert all(re.search(r":\d+\.\d+", base) for base in bases)


def test_secrets_and_state_never_enter_the_image():
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert {"deploy/.env", "var", ".venv"} <= {*ignored}


@pytest.mark.parametrize("variable", ["DO_NOT_TRACK=1", "MLFLOW_DISABLE_TELEMETRY=true", "DVC_NO_ANALYTICS=1"])
def test_nothing_in_the_image_calls_home(variable):
    assert variable in DOCKERFILE
    assert "PREFECT_SERVER_ANALYTICS_ENABLED=false" in DOCKERFILE
