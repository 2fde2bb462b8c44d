"""Where state lives."""

import os
from pathlib import Path


def home() -> Path:
    """UNILOGIT_HOME, `./var` by default, as an absolute path."""
    return Path(os.environ.get("UNILOGIT_HOME", "var")).absolute()


def use_home() -> Path:
    """Make `home()` and let Prefect keep its state there too; call it before Prefect is imported."""
    folder = home()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PREFECT_HOME", str(folder / "prefect"))
    return folder


def run_folder(batch_id: str) -> Path:
    """The workspace of a batch."""
    return home() / "runs" / batch_id
