"""The commands of docs/production.md that back up and put back, on the three databases and a home of one machine."""

import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest

from tests.deploy.guide import blocks
from tests.deploy.servers import running_database
from tests.deploy.settings import DEPLOY, clean_environment, make_credentials
from tests.e2e.conftest import make_project

pytestmark = pytest.mark.slow

TABLES = {"ledger": "ledger_requests", "mlflow": "registered_models", "prefect": "flow"}  # and many others


class Machine:
    """A project whose databases are on a PostgreSQL server; its commands have the credentials of all."""

    def __init__(self, folder: Path, port: int, credentials: dict[str, str]) -> None:
        self.project, self.port, self.credentials = make_project(folder / "project"), port, credentials
        shutil.copytree(DEPLOY, self.project.folder / "deploy")
        self.environment = clean_environment() | {
            "UNILOGIT_HOME": str(folder / "home"),
            "UNILOGIT_LEDGER": self._url("postgresql+psycopg", "ledger"),
            "MLFLOW_BACKEND_STORE_URI": self._url("postgresql+psycopg", "mlflow"),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": self._url("postgresql+asyncpg", "prefect"),
            "PREFECT_HOME": str(folder / "prefect"),
            **{"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "postgres"},
            **{"PGPASSWORD": credentials["POSTGRES_PASSWORD"]},
            **{name: credentials[name] for name in credentials if name.endswith("DATABASE_PASSWORD")},
        }

    def _url(self, driver: str, name: str) -> str:
        return f"{driver}://{name}:{self.credentials[f'{name.upper()}_DATABASE_PASSWORD']}@127.0.0.1:{self.port}/{name}"

    def type_in(self, script: str) -> str:
        done = subprocess.run(
            ["bash", "-euc", script],
            cwd=self.project.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def rows(self) -> dict[str, list[tuple[object, ...]]]:
        """Of a table of each database, as its own user sees them."""
        return {
            name: psycopg.connect(
                host="127.0.0.1",
                port=self.port,
                user=name,
                dbname=name,
                password=self.credentials[f"{name.upper()}_DATABASE_PASSWORD"],
            )
            .execute(f"SELECT * FROM {table}")
            .fetchall()
            for name, table in TABLES.items()
        }


def test_what_was_saved_is_put_back_and_used_by_its_own_users(tmp_path):
    save, restore = blocks("Back up, and put back")
    credentials = make_credentials(tmp_path / ".env")
    with running_database(credentials["POSTGRES_PASSWORD"]) as port:
        machine = Machine(tmp_path, port, credentials)
        machine.type_in("python deploy/databases.py")
        machine.type_in("unilogit requests add --subject P-0001 && unilogit requests import var/example/requests")
        machine.type_in('mlflow db upgrade "$MLFLOW_BACKEND_STORE_URI"; prefect server database upgrade --yes')
        for name, table in (("mlflow", "registered_models"), ("prefect", "flow")):
            machine.type_in(f"psql -d {name} -c \"SET ROLE {name}; INSERT INTO {table} (name) VALUES ('kept')\"")
        machine.type_in("unilogit certificates keygen")
        rows = machine.rows()
        assert all(rows.values())
        key = (tmp_path / "home" / "keys").glob("*")
        keys = {file.name: file.read_bytes() for file in key if file.is_file()}

        machine.type_in(save)
        for name in TABLES:
            machine.type_in(f"dropdb --force {name}")
        shutil.rmtree(tmp_path / "home")
        machine.type_in('python deploy/databases.py; mkdir "$UNILOGIT_HOME"')
        assert "are as they were written" in machine.type_in(restore)

        after = machine.rows()
        assert [row for name in rows for row in rows[name] if row not in after[name]] == []
        assert {name: (tmp_path / "home" / "keys" / name).read_bytes() for name in keys} == keys
        machine.type_in("unilogit requests add --subject P-0002")  # and it goes on from there
        machine.type_in('mlflow db upgrade "$MLFLOW_BACKEND_STORE_URI"; prefect server database upgrade --yes')
        assert len(machine.rows()["ledger"]) == len(rows["ledger"])  # it waits in the inbox
