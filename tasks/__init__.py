"""The steps, a file each; `python -m tasks.<step>` runs one alone.

Importing any of them first keeps every tool offline and quiet: Prefect, MLflow, DVC, Great Expectations and
transformers read their settings when they are imported. Settings already made are kept. unilogit does the same
for torch's threads, before torch is imported.

A proxy that the environment names is for the world outside: what listens on this machine is spoken to directly.

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
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # 7 are minutes; what may pass is tried again by the step
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
if any(os.environ.get(_name) or os.environ.get(_name.upper()) for _name in _PROXIES):
    _hosts = [_host.strip() for _host in (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").split(",")]
    if "*" not in _hosts:  # which stands for all, but only where it stands alone
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(dict.fromkeys(filter(None, [*_hosts, *_LOOPBACK])))

os.umask(0o077)
