"""How long a million requests take from a CSV file into the ledger, by `unilogit requests import`; how much memory.

    python -m benchmarks.ledger --requests 1000000
    python -m benchmarks.ledger --url postgresql+psycopg://user@host/database --out ledger-postgresql.json

Then how long it takes to find one, by its id and by what it is called, and to prove the ledger. A tenth as many are
imported first: memory must not grow with their number. Writes benchmarks/results/ledger-cpu.json.
"""

import argparse
import csv
import hashlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.measure import RESULTS, write_result
from unilogit.data.request_fields import FIELDS
from unilogit.ledger import Ledger

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
LOOKUPS = 200
MEBIBYTE = 2**20


def request_id(number: int) -> str:
    """An id in no order, as most systems give them; a tenth name a person, and are called otherwise in the ledger."""
    name = hashlib.sha256(str(number).encode()).hexdigest()[:32]
    return f"{name}@sample.example" if number % 10 == 0 else name


def write_requests(file: Path, count: int) -> None:
    """An export of requests by people's ids, some with other names, records or a text beside them."""
    with open(file, "w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(FIELDS)
        for number in range(count):
            row = {
                "request_id": request_id(number),
                "received_at": f"{FIRST + timedelta(seconds=number):%Y-%m-%dT%H:%M:%SZ}",
                "subject_id": f"person-{number}",
                "aliases": f"p{number}@sample.example;Jane Doe {number}" if number % 4 == 0 else "",
                "record_ids": f"record-{number}" if number % 3 == 0 else "",
                "text": f"Zo\u00eb number {number} lives here" if number % 10 == 1 else "",
                "legal_basis": "GDPR Art. 17(1)(b)",
                "source": "web form",
            }
            rows.writerow([row.get(name, "") for name in FIELDS])


def timed(step: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def measure_import(file: Path, environment: dict[str, str]) -> dict[str, float]:
    """`unilogit requests import` in a process of its own, from its start to its end; its memory is its own alone."""
    start = time.perf_counter()
    command = [Path(sys.executable).parent / "unilogit", "requests", "import", file]
    process = subprocess.Popen(command, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"the import ended with exit code {process.returncode}")
    return {
        "import_seconds": seconds,
        "import_processor_seconds": usage.ru_utime + usage.ru_stime,
        "import_peak_mebibytes": usage.ru_maxrss / 1024,
    }


def measure(folder: Path, count: int, url: str | None) -> dict[str, float | int]:
    """Everything about a new ledger with `count` requests."""
    file = folder / "requests.csv"
    write_requests(file, count)
    environment = {**os.environ, "UNILOGIT_HOME": str(folder)} | ({"UNILOGIT_LEDGER": url} if url else {})
    result: dict[str, float | int] = {"requests": count, **measure_import(file, environment)}
    ids = [request_id(number) for number in random.Random(0).sample(range(count), LOOKUPS)]
    with Ledger(url or folder / "ledger.db") as ledger:
        references = [ledger.find(name).reference for name in ids]
        for kind, names in {"id": ids, "reference": references}.items():
            lookups = [timed(lambda name=name: ledger.find(name)) for name in names]  # type: ignore[misc]
            result[f"find_by_{kind}_seconds_median"] = statistics.median(lookups)
            result[f"find_by_{kind}_seconds_max"] = max(lookups)
        result |= {
            "first_of_list_seconds": timed(lambda: next(ledger.requests("validated"))),
            "whole_list_seconds": timed(lambda: sum(1 for _ in ledger.requests("validated"))),
            "open_batch_of_1000_seconds": timed(lambda: ledger.open_batch(1000, "run", "0" * 64, 3)),
            "verify_audit_seconds": timed(ledger.verify_audit),
        }
    if not url:
        result["file_mebibytes"] = (folder / "ledger.db").stat().st_size / MEBIBYTE
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--url", help="an empty PostgreSQL database, for --requests alone; default: an SQLite file")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/ledger-cpu.json")
    options = parser.parse_args()
    counts = [options.requests] if options.url else [options.requests // 10, options.requests]
    sizes = []
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            sizes.append(measure(Path(folder), count, options.url))
        print(sizes[-1], flush=True)

    path = options.out or RESULTS / "ledger-cpu.json"
    write_result(path, "cpu", {"database": "postgresql" if options.url else "sqlite", "sizes": sizes})
    print(path)


if __name__ == "__main__":
    main()
