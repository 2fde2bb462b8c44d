"""Between ledger and workspace: which requests a run takes, and what it tells the ledger afterwards.

The only step code that knows the ledger. Every function can be repeated after a kill.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

from tasks.home import home, run_folder
from tasks.intake import run_intake
from tasks.validate import validate_requests
from unilogit.data.request_files import request_files
from unilogit.errors import InputError
from unilogit.files import read_json, sha256_file, write_json, write_parquet
from unilogit.ledger import Ledger, RequestState
from unilogit.params import Params


@contextmanager
def one_run_at_a_time() -> Iterator[None]:
    """Hold this home's lock; the system frees it when the process dies.

    Raises:
        InputError: another run holds it.
    """
    home().mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(home() / "unlearn.lock", timeout=0):
            yield
    except Timeout:
        raise InputError(f"another run is at work in {home()}; wait for it to end, then try again") from None


def open_ledger() -> Ledger:
    return Ledger(home() / "ledger.db")


def golden_store() -> Path:
    """Where golden targets that runs trained are kept."""
    return home() / "golden"
