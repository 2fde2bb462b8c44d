"""What `unilogit run --retry-failed` costs beside the run whose gates failed: the example, in a home of its own.

    python -m benchmarks.retry

The first run forgets too little, at a tenth of the learning rate; the second one has the shipped parameters. Processor
time counts, of all processes. Prints; writes nothing.
"""

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

import yaml

from benchmarks.flow_cost import BIN, ROOT, in_home, make_example
from benchmarks.servers import free_port

GATES_FAILED = 1  # exit code


def run(home: Path, words: list[str], settings: list[str], expected: int) -> dict[str, float]:
    """Seconds of a `unilogit run` that ends with the expected exit code."""
    nobody = {"PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api"}
    options = [word for setting in settings for word in ("--set", setting)]
    begin = time.time()
    process = subprocess.Popen(
        [BIN / "unilogit", "run", *words, *options], env={**os.environ, "UNILOGIT_HOME": str(home), **nobody}
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != expected:
        raise SystemExit(f"unilogit run ended with exit code {process.returncode}, not {expected}")
    return {"wall_seconds": time.time() - begin, "processor_seconds": usage.ru_utime + usage.ru_stime}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", action="append", default=[], help="section.key=value, of params.yaml, in both runs")
    options = parser.parse_args()
    rate = yaml.safe_load((ROOT / "params.yaml").read_text())["unlearn"]["learning_rate"]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        settings = [*options.set, *in_home(home)]
        make_example(home, [word for setting in settings for word in ("--set", setting)])
        too_slow = [*settings, f"unlearn.learning_rate={rate / 10}", "unlearn.unmoved=continue"]
        first = run(home, [], too_slow, GATES_FAILED)
        second = run(home, ["--retry-failed"], settings, 0)
    share = second["processor_seconds"] / first["processor_seconds"]
    print(f"first run: {first}; retry: {second}; {share:.1%} of the first run's processor time")


if __name__ == "__main__":
    main()
