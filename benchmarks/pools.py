"""Do gates tell a model that never knew from one that knows, or shows that it forgot? Each gate over pools of models.

    python -m benchmarks.pools --seeds 3
    python -m benchmarks.pools --seeds 2 --set batch.max_requests=1 --work var/pools-few \\
        --out benchmarks/results/pools-few-cpu.json

The batch is the example's, or a part of it. Of each seed there are a model that was trained on everybody, a retain
model of its own, and what became of the former by ways that hide badly or forget too much; all are judged beside one
retain model, of yet another seed. Each is judged once more after it was trained on a tenth of the forget set, by the
gates that need no attack. Works in a folder of its own (--work), where what is there already is not made again. Writes
benchmarks/results/pools-cpu.json, or --out, for `python -m benchmarks.table`.
"""

import argparse
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.batches import make_example, make_params
from benchmarks.measure import RESULTS, write_result
from tasks.params import Params, load_params
from tasks.sets import current_forget_set, pairs_of
from tasks.steps import load_step
from tasks.steps.train import train_model
from tasks.workspace import ParentModel, Place, RetainModel, Workspace, run_folder
from unilogit.evaluation.attacks.measure import RobustnessSettings
from unilogit.evaluation.attacks.relearning import relearn
from unilogit.files import read_json
from unilogit.gates import GateReport
from unilogit.model import load_model, save_model
from unilogit.training.encoding import encode_set

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
BLIND = {"over-forgotten"}  # made without unseen people to compare with, or it would end where it was nearest to them
CHEAP = ["evaluate.general.questions=0", "evaluate.general.text=false"]


class Judged(NamedTuple):
    """What the gates on forgetting say of a model of a pool."""

    pool: str
    seed: int
    relearned: bool
    report: GateReport


def judged_pools(batch: Workspace, work: Path, file: Path, seeds: int) -> Iterator[Judged]:
    """Each model of each pool, as it is and relearned.

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
            yield from _judged(name, seed, workspace, file, [])
        for name, settings in POOLS.items():
            params = load_params(file, [f"seed={seed}", *CHEAP, *settings])
            workspace = _workspace(batch, work / f"{name.replace(' ', '-')}-{seed}", trained[KNOWN], yardstick)
            if name in BLIND:
                _hide_unseen_people(workspace)
            for step in ("targets", "unlearn"):
                load_step(step).run(workspace, params)
            yield from _judged(name, seed, workspace, file, settings)


def _workspace(batch: Workspace, folder: Path, parent: Path, retain_model: Path) -> Workspace:
    """The batch's sets beside other models."""
    workspace = Workspace(folder)
    shutil.copytree(batch.path(Place.DATA), workspace.path(Place.DATA), dirs_exist_ok=True)
    workspace.write(batch.read(ParentModel).model_copy(update={"model": str(parent), "files_sha256": parent.name}))
    workspace.write(batch.read(RetainModel).model_copy(update={"model": str(retain_model)}))
    return workspace


def _hide_unseen_people(workspace: Workspace) -> None:
    """Those that training may look at."""
    holdout = pd.read_parquet(workspace.path(Place.HOLDOUT))
    holdout[holdout["use"] != "stop"].to_parquet(workspace.path(Place.HOLDOUT), index=False)


def _judged(pool: str, seed: int, workspace: Workspace, file: Path, settings: list[str]) -> Iterator[Judged]:
    params = load_params(file, [f"seed={seed}", *CHEAP, *settings])
    yield Judged(pool, seed, False, _judge(workspace, params))
    again = Workspace(workspace.root.with_name(f"relearned-{workspace.root.name}"))
    shutil.copytree(workspace.path(Place.DATA), again.path(Place.DATA), dirs_exist_ok=True)
    again.write(workspace.read(ParentModel))
    again.write(workspace.read(RetainModel))
    if not again.path(Place.MODEL).exists():
        _relearn(workspace, again.path(Place.MODEL), params)
    params = load_params(file, [f"seed={seed}", *CHEAP, *settings, "evaluate.robustness.attacks=[]"])
    yield Judged(pool, seed, True, _judge(again, params))


def _relearn(workspace: Workspace, output: Path, params: Params) -> None:
    """What the attack `relearning` makes of a model, at its hardest."""
    hard = RobustnessSettings()
    model, tokenizer = load_model(str(workspace.path(Place.MODEL)))
    random = np.random.default_rng(params.seed)
    pairs = pairs_of(current_forget_set(workspace))
    chosen = random.permutation(len(pairs))[: max(1, round(hard.relearning_share * len(pairs)))]
    windows = encode_set(params.model.formatted(tokenizer), [pairs[place] for place in chosen], "", max_length=None)
    for _ in relearn(
        model.requires_grad_(True),
        windows,
        steps=[max(hard.relearning_steps)],
        learning_rate=params.evaluate.robustness.relearning_rate,
        step_size=hard.relearning_step_size,
        random=random,
        pad_token_id=tokenizer.pad_token_id,
    ):
        save_model(model, tokenizer, output)


def _judge(workspace: Workspace, params: Params) -> GateReport:
    left_out = {"utility"} if params.evaluate.robustness.attacks else {"utility", "robustness"}
    kept = [gate for gate in params.gates if gate.scope not in left_out]
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
    batch = Workspace(run)
    result: dict[str, Any] = {"seeds": options.seeds, "forgotten": len(current_forget_set(batch))}
    result |= {"pools": {}, "relearned": {}}
    for pool, seed, relearned, report in judged_pools(batch, work / "models", file, options.seeds):
        pools = result["relearned" if relearned else "pools"]
        pools.setdefault(pool, []).append({gate.name: gate.model_dump() for gate in report.gates})
        failed = [f"{gate.name} {gate.value}" for gate in report.gates if not gate.passed]
        when = ", relearned" if relearned else ""
        print(f"{pool}, seed {seed}{when}: failed {', '.join(failed) or 'none'}", flush=True)
        write_result(options.out or RESULTS / "pools-cpu.json", "cpu", result)


if __name__ == "__main__":
    main()
