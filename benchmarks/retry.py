"""What `unilogit run --retry-failed` costs beside the run whose gates failed.

    python -m benchmarks.retry                             the example, unlearned anew
    python -m benchmarks.retry --project var/real \\
        --first unlearn.learning_rate=0.0003 --first unlearn.unmoved=continue \\
        --retry model.start=1 --retry unlearn.learning_rate=0.0025 --retry unlearn.min_steps=12

The project is that of `make real`. Without one, the first run forgets too little, at a tenth of the learning rate, and
the second one has the shipped parameters. Each has a home of its own that knows nothing yet. Processor time counts, of
all processes. Prints; writes nothing.
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


def run(project: Path, home: Path, words: list[str], settings: list[str], expected: int) -> dict[str, float]:
    """Seconds of a `unilogit run` in a folder that ends with the expected exit code."""
    nobody = {"PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api"}
    options = [word for setting in settings for word in ("--set", setting)]
    begin = time.time()
    process = subprocess.Popen(
        [BIN / "unilogit", "run", *words, *options],
        cwd=project,
        env={**os.environ, "UNILOGIT_HOME": str(home), **nobody},
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != expected:
        raise SystemExit(f"unilogit run ended with exit code {process.returncode}, not {expected}")
    return {"wall_seconds": time.time() - begin, "processor_seconds": usage.ru_utime + usage.ru_stime}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, help="a folder with params.yaml and what it names; else the example")
    parser.add_argument("--set", action="append", default=[], help="section.key=value, of params.yaml, in both runs")
    parser.add_argument("--first", action="append", default=[], help="the same, in the run whose gates fail")
    parser.add_argument("--retry", action="append", default=[], help="the same, in the retry")
    options = parser.parse_args()
    rate = yaml.safe_load((ROOT / "params.yaml").read_text())["unlearn"]["learning_rate"]
    with tempfile.TemporaryDirectory() as folder:
        home, project, shared = Path(folder), options.project or ROOT, options.set
        if options.project is None:
            shared = [*shared, *in_home(home)]
            make_example(home, [word for setting in shared for word in ("--set", setting)])
        too_slow = [f"unlearn.learning_rate={rate / 10}", "unlearn.unmoved=continue"]
        first = run(project, home, [], [*shared, *(options.first or too_slow)], GATES_FAILED)
        second = run(project, home, ["--retry-failed"], [*shared, *options.retry], 0)
    shares = [f"{second[clock] / first[clock]:.1%}" for clock in ("processor_seconds", "wall_seconds")]
    print(
        f"first run: {first}; retry: {second}; {shares[0]} of the first run's processor time, {shares[1]} by the clock"
    )


if __name__ == "__main__":
    main()
