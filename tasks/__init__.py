"""The steps, a file each; `python -m tasks.<step>` runs one alone.

Importing any of them first keeps every tool offline and quiet: Prefect, MLflow, DVC, Great Expectations and
transformers read their settings when they are imported. Settings already made are kept. unilogit does the same
for torch's threads, before torch is imported.

Every file and folder that a process of ours or one that it starts makes is for its owner's eyes only: it may hold what
somebody asked to be forgotten. DVC, too, reads the umask when it is imported.
"""

import os

import unilogit  # noqa: F401

_SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)

os.umask(0o077)
