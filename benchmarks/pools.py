"""Do gates tell a model that never knew from one that knows, or shows that it forgot? Each gate over pools of models.

    python -m benchmarks.pools --seeds 3

The batch is the example's. Of each seed there are a model that was trained on everybody, a retain model of its own, and
what became of the former by ways that hide badly or forget too much; all are judged beside one retain model, of yet
another seed. Works in a folder of its own (--work), where what is there already is not made again. Writes
benchmarks/results/pools-cpu.json for `python -m benchmarks.table`.
"""

import argparse
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.batches import make_example, make_params
from benchmarks.measure import RESULTS, write_result
from tasks.params import Params, load_params
from tasks.steps import load_step
from tasks.steps.train import train_model
from tasks.workspace import ParentModel, Place, RetainModel, Workspace, run_folder
from unilogit.files import read_json
from unilogit.gates import GateReport

NEVER, KNOWN = "never known", "known"
POOLS = {  # name → how a model that knows everybody comes into it; none: as it is
    "half forgotten": ["unlearn.target=uniform", "unlearn.min_steps=8", "unlearn.epochs=1", "unlearn.unmoved=continue"],
    "refusing": ["unlearn.method=idk_dpo", "unlearn.unmoved=continue"],
    "over-forgotten": [
        *("unlearn.target=uniform", "unlearn.pause_forgotten=false", "unlearn.retain_recovery=1.0"),
        *("unlearn.min_steps=400", "unlearn.epochs=50"),
    ],
    "default": [],
}
CHEAP = ["evaluate.general.questions=0", "evaluate.general.text=false"]


def judged_pools(batch: Workspace, work: Path, file: Path, seeds: int) -> Iterator[tuple[str, int, GateReport]]:
    """Pool, seed and what the gates on forgetting say of a model of it.

    Args:
        batch: with its sets and its retain model, which all are compared with.
        work: where models are made.
        file: of parameters.
    """
    yardstick = batch.path(Place.RETAIN_MODEL_FILES)
    architecture = batch.read(ParentModel).model
    for seed in range(1, seeds + 1):
        params = load_params(file, [f"seed={seed}", *CHEAP])
        corpora = {KNOWN: params.data.corpus, NEVER: batch.path(Place.RETAIN)}
        trained = {name: work / f"{name.replace(' ', '-')}-{seed}" / "model" for name in corpora}
        for name, model in trained.items():
            if not model.exists():
                train_model(corpora[name], model, params, architecture)
        for name, model in trained.items():
            workspace = _workspace(batch, work / f"judged-{model.parent.name}", trained[KNOWN], yardstick)
            shutil.copytree(model, workspace.path(Place.MODEL), dirs_exist_ok=True)
            yield name, seed, _judge(workspace, params)
        for name, settings in POOLS.items():
            params = load_params(file, [f"seed={seed}", *CHEAP, *settings])
            workspace = _workspace(batch, work / f"{name.replace(' ', '-')}-{seed}", trained[KNOWN], yardstick)
            for step in ("targets", "unlearn"):
                load_step(step).run(workspace, params)
            yield name, seed, _judge(workspace, params)


def _workspace(batch: Workspace, folder: Path, parent: Path, retain_model: Path) -> Workspace:
    """The batch's sets beside other models."""
    workspace = Workspace(folder)
    shutil.copytree(batch.path(Place.DATA), workspace.path(Place.DATA), dirs_exist_ok=True)
    workspace.write(batch.read(ParentModel).model_copy(update={"model": str(parent), "files_sha256": parent.name}))
    workspace.write(batch.read(RetainModel).model_copy(update={"model": str(retain_model)}))
    return workspace


def _judge(workspace: Workspace, params: Params) -> GateReport:
    kept = [gate for gate in params.gates if gate.scope != "utility"]
    params = params.model_copy(update={"gates": kept})
    for step in ("attack", "evaluate", "gate"):
        load_step(step).run(workspace, params)
    return GateReport.model_validate(read_json(workspace.path(Place.GATES)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("var/pools"))
    parser.add_argument("--set", action="append", default=[], help="section.key=value, as of `unilogit run`")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/pools-cpu.json")
    options = parser.parse_args()
    work = options.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    os.environ["UNILOGIT_HOME"] = str(work / "home")
    file = make_params(work, [f"data.requests={work}/example/requests", *options.set])
    make_example(work, file)
    from flows.unlearn import run_in_process

    if not run_folder("x").parent.exists():
        run_in_process(None, file)
    [run] = run_folder("x").parent.glob("2*")
    pools: dict[str, list[dict[str, Any]]] = {}
    for name, seed, report in judged_pools(Workspace(run), work / "models", file, options.seeds):
        pools.setdefault(name, []).append({gate.name: gate.model_dump() for gate in report.gates})
        failed = [f"{gate.name} {gate.value}" for gate in report.gates if not gate.passed]
        print(f"{name}, seed {seed}: failed {', '.join(failed) or 'none'}", flush=True)
        write_result(options.out or RESULTS / "pools-cpu.json", "cpu", {"seeds": options.seeds, "pools": pools})


if __name__ == "__main__":
    main()
