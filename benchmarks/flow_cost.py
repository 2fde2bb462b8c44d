"""What the flow costs beside the model work, start included, and what takes it: the example, in a home of its own.

    python -m benchmarks.flow_cost            # `unilogit run`, where no server answers
    python -m benchmarks.flow_cost --servers  # and the deployment unlearn/production, at `unilogit up`'s servers

The example's model is trained first, and is no part of it; nor are the servers' start and what their processes do
beside the flow. Model work is training, unlearning, measuring and attacking: what is inside unilogit.training and
unilogit.evaluation. Writes benchmarks/results/flow-cost-cpu.json for `python -m benchmarks.table`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import RESULTS, write_result
from benchmarks.servers import free_port

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[1]
MODEL_WORK, REST = "model work", "everything else"  # as the sampler calls them


def environment(home: Path, samples: Path, **more: str) -> dict[str, str]:
    path = os.pathsep.join([str(Path(__file__).parent / "sampler"), str(ROOT)])
    paths = {"PYTHONPATH": path, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    return {**os.environ, **paths, "UNILOGIT_HOME": str(home), "FLOW_COST_FOLDER": str(samples), **more}


def make_example(home: Path, settings: list[str]) -> None:
    """The example's people and their model, in the home."""
    for step in ("example", "train"):
        command = [sys.executable, "-m", f"tasks.steps.{step}", "--workspace", str(home / "example"), *settings]
        subprocess.run(command, env={**os.environ, "UNILOGIT_HOME": str(home)}, check=True)


def in_home(home: Path) -> list[str]:
    """Settings that find the example there."""
    example = home / "example"
    places = {"corpus": "corpus.jsonl", "requests": "requests", "holdout": "holdout.jsonl"}
    return [f"data.{name}={example / file}" for name, file in places.items()] + [f"model.base={example / 'model'}"]


def in_process(home: Path, settings: list[str]) -> dict[str, Any]:
    """`unilogit run`, from its start to its end."""
    samples = home / "samples"
    samples.mkdir()
    nobody = {"PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api"}
    options = [word for setting in settings for word in ("--set", setting)]
    begin = time.time()
    subprocess.run([BIN / "unilogit", "run", *options], env=environment(home, samples, **nobody), check=True)
    return cost(samples, begin, time.time())


def at_servers(home: Path, settings: list[str]) -> dict[str, Any]:
    """`prefect deployment run unlearn/production --watch`, from its start to its end."""
    samples = home / "samples"
    samples.mkdir()
    ports = {name: free_port() for name in ("UNILOGIT_PREFECT_PORT", "UNILOGIT_MLFLOW_PORT")}
    api = {"PREFECT_API_URL": f"http://127.0.0.1:{ports['UNILOGIT_PREFECT_PORT']}/api"}
    variables = environment(home, samples, **ports)
    servers = subprocess.Popen([BIN / "unilogit", "up"], env=variables, stdout=subprocess.PIPE, text=True)
    try:
        assert servers.stdout is not None
        assert any(line.startswith("Up.") for line in servers.stdout), "`unilogit up` ended"
        command = ["prefect", "deployment", "run", "unlearn/production", "--watch"]
        command += ["--param", f"overrides={json.dumps(settings)}"]
        begin = time.time()
        subprocess.run(command, env=variables | api, check=True)
        end = time.time()
    finally:
        servers.terminate()
        servers.wait()
    return cost(samples, begin, end)


def cost(samples: Path, begin: float, end: float) -> dict[str, Any]:
    """The parts of the time between, by the process that did the model work; what was before and after it are parts."""
    processes = [json.loads(file.read_text()) for file in samples.glob("*.json")]
    flow = max(processes, key=lambda process: float(process["seconds"].get(MODEL_WORK, 0)))
    parts = {name: float(seconds) for name, seconds in flow["seconds"].items()}
    parts["until the flow's process starts"] = float(flow["began"]) - begin
    parts["after the flow's process has ended"] = end - float(flow["ended"])
    work, wall = parts.pop(MODEL_WORK), end - begin
    parts[REST] = wall - work - sum(parts.values()) + parts.get(REST, 0.0)
    processor = {name: float(seconds) for name, seconds in flow["processor_seconds"].items() if name != MODEL_WORK}
    return {
        "wall_seconds": wall,
        "model_seconds": work,
        "own_seconds": wall - work,
        "own_processor_seconds": sum(processor.values()),
        "parts": dict(sorted(parts.items(), key=lambda item: -item[1])),
        "processor_parts": processor,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", action="store_true", help="through `unilogit up` as well")
    parser.add_argument("--set", action="append", default=[], help="section.key=value, of params.yaml")
    parser.add_argument("--shared", action="store_true", help="other work ran on this machine: say so in the result")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/flow-cost-cpu.json")
    options = parser.parse_args()
    ways = {"unilogit run": in_process} | ({"deployment at servers": at_servers} if options.servers else {})
    measured = {}
    for name, way in ways.items():
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            settings = [*options.set, *in_home(home)]
            make_example(home, [word for setting in settings for word in ("--set", setting)])
            measured[name] = way(home, settings)
        print(json.dumps({name: measured[name]}, indent=2), flush=True)
    path = options.out or RESULTS / "flow-cost-cpu.json"
    result = {"cores": os.cpu_count(), "settings": options.set, "shared": options.shared, "ways": measured}
    write_result(path, "cpu", result)
    print(path)


if __name__ == "__main__":
    main()
