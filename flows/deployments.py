"""`python -m flows.deployments`: work pool, deployments and automation, on the server that PREFECT_API_URL names.

What prefect.yaml says of code and descriptions is brought there each time; what an operator may have changed in
Prefect's pages (schedules, parameters, paused, job variables, tags, the automation) is taken from prefect.yaml only
while there is none yet. Idempotent: a call after a kill completes what is missing.
"""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import DeploymentSchedule, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import PREFECT_API_URL

from flows.runs import HEARTBEAT_EVENT, POOL, SILENCE, prefect_client
from tasks.workspace import use_home
from unilogit.errors import InputError
from unilogit.files import write_text

PREFECT_YAML = Path("prefect.yaml")
AUTOMATION = "runs without heartbeat have crashed"


def deploy(api: str) -> None:
    """Bring everything to the server.

    Raises:
        InputError: prefect.yaml is wrong.
    """
    with prefect_client(api) as client:
        _make_pool(client)
        declared = yaml.safe_load(PREFECT_YAML.read_text(encoding="utf-8"))
        effective = use_home() / "prefect" / "prefect.yaml"
        write_text(effective, yaml.safe_dump(_with_kept(client, declared), sort_keys=False))
        _prefect("--no-prompt", "deploy", "--all", "--prefect-file", str(effective))
        _make_automation(client)


def _make_pool(client: SyncPrefectClient) -> None:
    try:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    except ObjectAlreadyExists:
        return


def _with_kept(client: SyncPrefectClient, declared: dict[str, Any]) -> dict[str, Any]:
    """What prefect.yaml declares, with what is the operator's as the server has it.

    `prefect deploy` replaces all that a deployment has, so that this is what makes it leave things alone.
    """
    deployments = []
    for entry in declared["deployments"]:
        flow = str(entry["entrypoint"]).rpartition(":")[2]
        try:
            present = client.read_deployment_by_name(f"{flow}/{entry['name']}")
        except ObjectNotFound:
            deployments.append(entry)
        else:
            deployments.append({**entry, **_kept(present, entry)})
    return {**declared, "deployments": deployments}


def _kept(present: DeploymentResponse, entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "schedules": [_as_declared(schedule) for schedule in present.schedules],
        "parameters": present.parameters,
        "paused": present.paused,
        "tags": present.tags,
        "work_pool": {**entry["work_pool"], "job_variables": present.job_variables},
    }


def _as_declared(schedule: DeploymentSchedule) -> dict[str, Any]:
    """A schedule of the server in the form of prefect.yaml."""
    kept = schedule.model_dump(mode="json", include={"active", "parameters", "slug"}, exclude_none=True)
    return {**schedule.schedule.model_dump(mode="json", exclude_none=True), **kept}


def _prefect(*arguments: str) -> None:
    command = (str(Path(sys.executable).with_name("prefect")), *arguments)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"`prefect {' '.join(arguments)}` failed: {(done.stderr or done.stdout).strip()}")


def _make_automation(client: SyncPrefectClient) -> None:
    """Runs whose heartbeats stop have crashed, which frees their slot."""
    if client.read_automations_by_name(AUTOMATION):
        return
    client.create_automation(
        AutomationCore(
            name=AUTOMATION,
            description=f"A run without a sign of life for {SILENCE} seconds is given up; the next one goes on.",
            trigger=EventTrigger(
                posture=Posture.Proactive,
                after={HEARTBEAT_EVENT},
                expect={"prefect.flow-run.*"},  # a heartbeat, or any state that the run ends in
                match={"prefect.resource.id": "prefect.flow-run.*"},
                for_each={"prefect.resource.id"},
                threshold=1,
                within=timedelta(seconds=SILENCE),
            ),
            actions=[
                ChangeFlowRunState(
                    state=StateType.CRASHED,
                    message=f"no heartbeat for {SILENCE} seconds; the next run goes on from there",
                )
            ],
        )
    )


if __name__ == "__main__":
    deploy(PREFECT_API_URL.value())
