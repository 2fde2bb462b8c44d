"""How long a ledger takes to take in a million requests, to find one, and to prove itself; and how much memory.

    python -m benchmarks.ledger --requests 1000000
    python -m benchmarks.ledger --url postgresql+psycopg://user@host/database --out ledger-postgresql.json

The requests are made while they are taken in, as they come from a validated file. Each count is measured in a process
of its own, a tenth first: memory must not grow with it. Writes benchmarks/results/ledger-cpu.json.
"""

import argparse
import hashlib
import multiprocessing
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from unilogit.data.requests import DeletionRequest
from unilogit.ledger import Ledger

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
LOOKUPS = 200
MEBIBYTE = 2**20


def request_id(number: int) -> str:
    """An id in no order, as most systems give them."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


def make_requests(count: int) -> Iterator[DeletionRequest]:
    for number in range(count):
        received_at = FIRST + timedelta(seconds=number)
        yield DeletionRequest.model_construct(
            request_id=request_id(number),
            reference=f"request-{number:016}" if number % 10 == 0 else request_id(number),
            received_at=received_at,
            due_at=received_at + timedelta(days=30),
            subject_id=f"person-{number}",
            aliases=[],
            record_ids=[],
            text=None,
            legal_basis="GDPR Art. 17(1)(b)",
            source="web form",
            file="requests.jsonl",
            row=number + 1,
        )


def timed(step: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def measure(location: Path | str, count: int) -> dict[str, float | int]:
    """Everything about a new ledger with `count` requests, in this process alone."""
    numbers = random.Random(0).sample(range(count), LOOKUPS)
    with Ledger(location) as ledger:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        processor = time.process_time()
        result: dict[str, float | int] = {
            "requests": count,
            "import_seconds": timed(
                lambda: ledger.receive("requests.jsonl", "0" * 64, make_requests(count), [], "run")
            ),
            "import_processor_seconds": time.process_time() - processor,
            "import_added_peak_mebibytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
        }
        lookups = [timed(lambda number=number: ledger.find(request_id(number))) for number in numbers]  # type: ignore[misc]
        result |= {
            "find_seconds_median": statistics.median(lookups),
            "find_seconds_max": max(lookups),
            "first_of_list_seconds": timed(lambda: next(ledger.requests("validated"))),
            "whole_list_seconds": timed(lambda: sum(1 for _ in ledger.requests("validated"))),
            "open_batch_of_1000_seconds": timed(lambda: ledger.open_batch(1000, "run", "0" * 64, 3)),
            "verify_audit_seconds": timed(ledger.verify_audit),
            "peak_mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    if isinstance(location, Path):
        result["file_mebibytes"] = location.stat().st_size / MEBIBYTE
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
        with tempfile.TemporaryDirectory() as folder, multiprocessing.get_context("spawn").Pool(1) as pool:
            sizes.append(pool.apply(measure, (options.url or Path(folder) / "ledger.db", count)))
        print(sizes[-1], flush=True)

    from benchmarks.measure import RESULTS, write_result  # it imports torch, which would count as memory

    path = options.out or RESULTS / "ledger-cpu.json"
    write_result(path, "cpu", {"database": "postgresql" if options.url else "sqlite", "sizes": sizes})
    print(path)


if __name__ == "__main__":
    main()
