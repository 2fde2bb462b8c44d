"""The services of deploy/compose.yaml as processes of this machine: its commands, variables and health checks.

What Compose adds and this does not: images, volumes, networks, users. A service's host name and port, and the folder of
its volume, stand for what they are here.
"""

import re
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.deploy.servers import free_port, running
from tests.deploy.settings import DEPLOY, clean_environment

SERVICES = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
_VARIABLE = re.compile(r"\$\{(\w+)(?::[-?]([^}]*))?\}")
_STORE_PORTS = (1, 2, 3, 10000, 10001, 10002, 10003)


class Deployment:
    """Services on free ports of loopback.

    Args:
        folder: for their volumes and logs.
        project: where the project's files are, as in the image.
        database: the port of PostgreSQL.
        settings: what deploy/.env says.
    """

    def __init__(self, folder: Path, project: Path, database: int, settings: dict[str, str]) -> None:
        self.folder, self.project, self.database, self.settings = folder, project, database, settings
        self.ports = {
            "8333": free_port(_STORE_PORTS),
            **{port: free_port() for port in ("4200", "5000", "5055", "8080")},
        }

    def environment(self, name: str) -> dict[str, str]:
        """A service's variables, and the address of its volume."""
        declared = SERVICES[name].get("environment", {})
        ours = {variable: self._here(value) for variable, value in declared.items()}
        home = {"mlflow": "mlflow", "receiver": "receiver"}.get(name, "unilogit")
        return clean_environment() | {
            "UNILOGIT_HOME": str(self.folder / "var" / "lib" / home),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_WORKER_WEBSERVER_PORT": self._port("8080"),
            "UNILOGIT_WEBHOOK_PORT": self._port("5055"),
            "PGPORT": str(self.database),
            **ours,
        }

    def address(self, port: str) -> str:
        return f"http://127.0.0.1:{self._port(port)}"

    def finish(self, name: str) -> str:
        """Run a service that ends by itself; what it printed."""
        done = subprocess.run(
            self._command(SERVICES[name]["command"]),
            cwd=self.project,
            env=self.environment(name),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def up(self, name: str):
        """Run a service; begins when it is healthy."""
        log = self.folder / f"{name}.log"
        command, environment = self._command(SERVICES[name]["command"]), self.environment(name)
        with running(command, environment, log, self.project) as process:
            check = self._command(SERVICES[name]["healthcheck"]["test"][1:])
            deadline = time.monotonic() + 180
            while subprocess.run(check, cwd=self.project, env=environment, capture_output=True, check=False).returncode:
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"{name} is not healthy:\n{log.read_text()[-4000:]}")
                time.sleep(1)
            yield process

    def _command(self, words: list[str]) -> list[str]:
        return [self._here(word) for word in words]

    def _here(self, value: str | None) -> str:
        text = _VARIABLE.sub(lambda match: self.settings.get(match[1], match[2] or ""), str(value or ""))
        text = re.sub(r"\b(store|prefect|mlflow):(?=(8333|4200|5000)\b)", "127.0.0.1:", text)
        text = text.replace("0.0.0.0", "127.0.0.1").replace("@postgresql/", f"@127.0.0.1:{self.database}/")
        text = text.replace("/var/lib/", f"{self.folder}/var/lib/")
        text = "127.0.0.1" if text == "postgresql" else text
        return re.sub(r"\b(8333|4200|5000|5055|8080)\b", lambda match: self._port(match[1]), text)

    def _port(self, declared: str) -> str:
        return str(self.ports[declared])
