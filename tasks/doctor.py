"""`unilogit doctor`: what is installed, where state lives, whether a GPU is there, which servers answer.

What is stuck is found by `flows.health`, which knows of runs.
"""

import os
import platform
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tasks.workspace import home, ledger_location

PREFECT_PORT = 4200  # where it is served unless UNILOGIT_PREFECT_PORT says otherwise; prefect.toml names it, too
PACKAGES = {  # package → which extra brings it
    "torch": "",
    "transformers": "",
    "accelerate": "",
    "pandas": "",
    "duckdb": "",
    "SQLAlchemy": "",
    "prefect": "server",
    "mlflow": "server",
    "dvc": "server",
    "great_expectations": "server",
}


@dataclass(frozen=True)
class Finding:
    """Something that was looked at.

    Attributes:
        remedy: what a person can do about it; empty where nobody has to.
    """

    subject: str
    state: str
    remedy: str = ""


def examine(findings: Callable[[], Iterable[Finding]]) -> int:
    """Print what is installed and what answers, then what is going on.

    Args:
        findings: tells what is going on; only called when all is installed.

    Returns:
        0, or 1 when something that a run needs is missing, or something needs a person.
    """
    console, missing = Console(), []
    table = Table("what", "found", title="unilogit doctor", title_justify="left")
    table.add_row("Python", platform.python_version())
    for package, extra in PACKAGES.items():
        try:
            table.add_row(package, version(package))
        except PackageNotFoundError:
            fix = f"pip install -c constraints.txt -e '.[{extra}]'" if extra else "pip install -e ."
            table.add_row(package, f"[red]not installed[/]: {fix}")
            missing.append(package)
    table.add_row("GPU", _gpu() if "torch" not in missing else "–")
    table.add_row("state (UNILOGIT_HOME)", _home())
    table.add_row("requests", _requests() if "SQLAlchemy" not in missing else "–")
    table.add_row("Prefect server", _server(prefect_api(), "/health"))
    table.add_row("MLflow server", _server(os.environ.get("MLFLOW_TRACKING_URI") or mlflow_address(), "/health"))
    console.print(table)
    if missing:
        return 1
    current = Table("what", "state", "what to do", title="now", title_justify="left")
    told = list(findings())
    for finding in told:
        current.add_row(escape(finding.subject), escape(finding.state), escape(finding.remedy))
    console.print(current)
    return int(any(finding.remedy for finding in told))


def _gpu() -> str:
    """From nvidia-smi where it is: importing torch takes seconds and this says the same."""
    if shutil.which("nvidia-smi") is None:
        return "none; runs on the CPU"
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, check=False)
    return "; ".join(done.stdout.split("\n")).strip("; ") or "nvidia-smi finds none"


def _home() -> str:
    folder = home()
    if not folder.exists():
        return f"{folder} (made by the first run)"
    free = shutil.disk_usage(folder).free / 2**30
    writable = "writable" if os.access(folder, os.W_OK) else "[red]not writable[/]"
    return f"{folder} ({writable}, {free:.0f} GiB free)"


def _requests() -> str:
    location = ledger_location()
    if isinstance(location, Path) and not location.exists():
        return "no ledger yet"
    from tasks.requests.batches import open_ledger

    with open_ledger() as ledger:
        return ", ".join(f"{count} {state}" for state, count in ledger.counts().items() if count) or "none"


def prefect_address() -> str:
    """Where `unilogit up` serves Prefect."""
    return f"http://127.0.0.1:{os.environ.get('UNILOGIT_PREFECT_PORT', PREFECT_PORT)}"


def prefect_api() -> str:
    """PREFECT_API_URL, or that of `unilogit up`."""
    return os.environ.get("PREFECT_API_URL") or f"{prefect_address()}/api"


def mlflow_address() -> str:
    """Where `unilogit up` serves MLflow."""
    return f"http://127.0.0.1:{os.environ.get('UNILOGIT_MLFLOW_PORT', '5000')}"


def webhook_address() -> str:
    """Where `unilogit up` serves the receiver of MLflow's webhooks."""
    return f"http://127.0.0.1:{os.environ.get('UNILOGIT_WEBHOOK_PORT', '5055')}"


def answers(url: str, timeout: float = 5.0) -> bool:
    """Whether an HTTP server answers at `url`, be it that it asks who we are. Never through a proxy on loopback."""
    is_here = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
    opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if is_here else []))
    try:
        with opener.open(url, timeout=timeout) as response:
            return bool(200 <= response.status < 300)
    except urllib.error.HTTPError as error:
        return error.code in (401, 403)
    except OSError:
        return False


def _server(url: str, path: str) -> str:
    if not url.startswith("http"):
        return url
    return (
        f"{url} answers"
        if answers(url + path)
        else f"{url} does not answer; `unilogit up` starts one (not needed by `unilogit run`)"
    )
