"""One machine as docs/production.md sets it up: `unilogit up` with the credentials in its environment."""

import shutil
import signal
import subprocess

import pytest

from tests.deploy.guide import blocks
from tests.deploy.servers import answer, free_port
from tests.deploy.settings import DEPLOY, clean_environment
from tests.e2e.conftest import make_project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """The project's folder, what is typed in a terminal before anything else, and both servers' addresses."""
    folder = tmp_path_factory.mktemp("machine")
    project = make_project(folder / "project")
    shutil.copytree(DEPLOY, project.folder / "deploy")
    (folder / "etc").mkdir()
    block = blocks("One machine")[0].replace("/etc/unilogit", f"{folder}/etc").replace("/var/lib", f"{folder}/lib")
    (folder / "lib").mkdir()
    make, *lines, start = block.splitlines()
    assert (make.split()[0], start) == ("deploy/credentials.sh", "unilogit up")
    ports = {f"UNILOGIT_{name}_PORT": str(free_port()) for name in ("PREFECT", "MLFLOW", "WEBHOOK")}
    environment = {**project.environment, **ports}
    for name in set(environment) - set(clean_environment()) - set(ports):
        environment.pop(name)
    subprocess.run(["sh", "-euc", make], cwd=project.folder, env=environment, check=True)
    terminal = "\n".join([*lines, ""])
    process = subprocess.Popen(
        ["sh", "-euc", f"{terminal}exec {start}"],
        cwd=project.folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line.startswith("Up."):
            break
    else:
        pytest.fail(f"`unilogit up` ended with code {process.wait()}")
    prefect, mlflow = (f"http://127.0.0.1:{ports[f'UNILOGIT_{name}_PORT']}" for name in ("PREFECT", "MLFLOW"))
    environment |= {"PREFECT_API_URL": f"{prefect}/api", "MLFLOW_TRACKING_URI": mlflow}

    def type_in(command: str, *, knows: bool = True) -> subprocess.CompletedProcess[str]:
        script = ["sh", "-euc", (terminal if knows else "") + command]
        return subprocess.run(script, cwd=project.folder, env=environment, capture_output=True, text=True, check=False)

    yield type_in, prefect, mlflow
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=90) == 0


def test_a_stranger_on_the_machine_is_refused(machine):
    type_in, prefect, mlflow = machine
    assert answer(f"{prefect}/api/admin/settings") == 401
    assert answer(f"{mlflow}/version") == 401
    assert answer(mlflow) == 401
    assert type_in("prefect deployment ls", knows=False).returncode != 0
    assert type_in("mlflow experiments search", knows=False).returncode != 0


def test_who_has_the_credentials_sees_all(machine):
    type_in, _, _ = machine
    for command, words in (
        ("prefect deployment ls", "unlearn/production"),
        ("mlflow experiments search", "Default"),
        ("unilogit doctor", " answers"),
    ):
        done = type_in(command)
        assert words in done.stdout, f"{command}: {done.stdout}{done.stderr}"


def test_a_run_of_the_worker_is_a_run_in_both_servers(machine):
    type_in, _, _ = machine
    demo = type_in("unilogit demo")
    assert demo.returncode == 0, demo.stdout + demo.stderr
    again = type_in("prefect deployment run unlearn/production --watch")
    assert again.returncode == 0, again.stdout + again.stderr
