"""Where state lives, and the settings that keep every tool offline and inside it.

Import this before Prefect, MLflow, DVC or Great Expectations: they read their settings when imported.
"""

import os
from pathlib import Path

_QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def home() -> Path:
    """UNILOGIT_HOME, `./var` by default, as an absolute path."""
    return Path(os.environ.get("UNILOGIT_HOME", "var")).absolute()


def use_home() -> Path:
    """Point every tool at `home()` and turn off whatever phones home; settings already made are kept."""
    folder = home()
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in {**_QUIET, "PREFECT_HOME": str(folder / "prefect")}.items():
        os.environ.setdefault(name, value)
    return folder


def run_folder(batch_id: str) -> Path:
    """The workspace of a batch."""
    return home() / "runs" / batch_id
