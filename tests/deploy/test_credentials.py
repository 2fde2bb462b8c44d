"""deploy/credentials.sh: every password once, for its owner's eyes only, as the servers and clients read them."""

import base64
import os
import stat
import subprocess

import pytest

from tests.deploy.settings import DEPLOY, make_credentials

PAIRS = {
    "PREFECT_SERVER_API_AUTH_STRING": "PREFECT_API_AUTH_STRING",
    "MLFLOW_AUTH_ADMIN_USERNAME": "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_AUTH_ADMIN_PASSWORD": "MLFLOW_TRACKING_PASSWORD",
}


def test_a_second_run_changes_nothing_and_the_file_is_its_owners_alone(tmp_path):
    file = tmp_path / ".env"
    credentials = make_credentials(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)
    assert make_credentials(file) == credentials
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_every_secret_is_its_own_and_none_is_made_twice(tmp_path):
    first, second = (make_credentials(tmp_path / name) for name in ("a", "b"))
    secrets = [first[name] for name in first if name not in PAIRS.values() and not name.endswith("USERNAME")]
    assert len(secrets) == len(set(secrets)) == 10
    assert not {*secrets} & {*second.values()}
    assert all(len(secret) >= 44 for secret in secrets)  # 32 bytes in base64, or 24 in hexadecimal


def test_clients_have_what_the_servers_ask_for(tmp_path):
    credentials = make_credentials(tmp_path / ".env")
    for server, client in PAIRS.items():
        assert credentials[client] == credentials[server]
    assert len(base64.urlsafe_b64decode(credentials["MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"])) == 32


@pytest.mark.parametrize("kept", [0, 1, 5, 13])
def test_what_a_kill_left_is_gone_on_from(tmp_path, kept):
    whole = make_credentials(tmp_path / "whole")
    lines = [f"{name}={value}" for name, value in whole.items()][:kept]
    file = tmp_path / ".env"
    file.write_text("\n".join(["TLS=me@example.org", *lines]))  # nor did an editor end the last line
    credentials = make_credentials(file)
    assert credentials.items() >= dict(line.split("=", 1) for line in lines).items()
    assert credentials["TLS"] == "me@example.org"
    assert credentials.keys() == {"TLS", *whole}
    assert all(credentials[client] == credentials[server] for server, client in PAIRS.items())


def test_several_at_once_make_one_set(tmp_path):
    file = tmp_path / ".env"
    runs = [subprocess.Popen([DEPLOY / "credentials.sh", file]) for _ in range(6)]
    assert [run.wait(timeout=30) for run in runs] == [0] * 6
    names = [line.partition("=")[0] for line in file.read_text().splitlines()]
    assert len(names) == len(set(names)) == 14


def test_a_shell_reads_the_file_as_it_stands(tmp_path):
    credentials = make_credentials(tmp_path / ".env")
    command = f"set -a; . {tmp_path / '.env'}; env -0"
    printed = subprocess.run(["sh", "-c", command], env={"PATH": os.environ["PATH"]}, capture_output=True, check=True)
    read = dict(line.split("=", 1) for line in printed.stdout.decode().split("\0") if "=" in line)
    assert read.items() >= credentials.items()
