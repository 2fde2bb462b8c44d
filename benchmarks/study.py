"""A study of the product's own, kept as a result: `unilogit study` with the same options, and the machine's name.

    python -m benchmarks.study --split forget10 --data DIR

Writes benchmarks/results/study-<data>-<split>.json for `python -m benchmarks.table`.
"""

import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.measure import RESULTS, write_result
from unilogit.files import read_json


def main() -> None:
    last, command = "", [sys.executable, "-m", "flows.cli", "study", *sys.argv[1:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line
    if process.returncode:
        raise SystemExit(process.returncode)
    result = read_json(Path(last.partition(": ")[0]))
    plan = result["plan"]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    data = "example" if plan["data"] == "example" else "tofu"
    file = RESULTS / f"study-{data}-{plan['split']}.json"
    write_result(file, device, {**result, "plan": {**plan, "data": data}})
    print(file)


if __name__ == "__main__":
    main()
