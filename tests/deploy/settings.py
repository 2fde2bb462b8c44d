"""What the kit says: its folder, and the credentials that its script makes."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def make_credentials(file: Path) -> dict[str, str]:
    """Run the script, and read its file as systemd and Compose do: NAME=VALUE, a line each."""
    subprocess.run([DEPLOY / "credentials.sh", file], check=True)
    return dict(line.split("=", 1) for line in file.read_text().splitlines())


def clean_environment() -> dict[str, str]:
    """The tests' own environment without what would point a server or client elsewhere."""
    prefixes = ("AWS_", "MLFLOW_", "PREFECT_", "UNILOGIT_", "PG")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
