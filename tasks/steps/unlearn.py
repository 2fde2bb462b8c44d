"""Step: unlearn the forget set from the parent model. Resumes from its last checkpoint after a kill."""

import random
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pandas as pd

from tasks.curves import CurveWriter
from tasks.params import TOKENS, Params
from tasks.sets import pairs_of, sampled_retain
from tasks.step import Step
from tasks.steps.targets import read_targets
from tasks.workspace import ParentModel, Place, Training, Workspace
from unilogit.adapters import base_of, find_adapter, save_adapter
from unilogit.errors import InputError
from unilogit.files import read_json, sha256_weights, write_json, write_text

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor, nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from unilogit.training.launch import LaunchPlan
    from unilogit.training.trainer import UnlearningTrainer

MONITORED = 200  # records of each set that are watched at the most, and wherever a run stops by them
LEAST_MONITORED = 16


def run_unlearn(workspace: Workspace, params: Params) -> Training:
    """Unlearn the forget set from the parent model.

    With several GPUs, or as unlearn.processes says, in as many processes.

    Raises:
        InputError: the model is missing, or the method needs what model or records lack.
    """
    from unilogit.training.launch import is_launched, launch

    if params.unlearn.method == "none" or is_launched():
        return unlearn_into(workspace, workspace, params)
    plan = plan_processes(workspace.read(ParentModel).model, params)
    print(plan.reason, flush=True)
    if plan.processes == 1:
        return unlearn_into(workspace, workspace, params)
    write_json(workspace.path(Place.RUN_PARAMS), params.as_dict())
    where = ["--workspace", str(workspace.root), "--params", str(workspace.path(Place.RUN_PARAMS))]
    launch(plan, ["-m", STEP.module, *where])
    return workspace.read(Training)


def trains_further(parent: str, params: Params) -> bool:
    """Whether the parent is an adapter, and that adapter is what is trained and saved."""
    return params.register_.save == "adapter" and find_adapter(parent) is not None


def plan_processes(parent: str, params: Params) -> "LaunchPlan":
    """How many processes unlearn from a model on this machine; errors as of `plan_launch`."""
    from unilogit.training.launch import BYTES_PER_PARAMETER, count_parameters, gpu_memory, plan_launch

    config = params.unlearn
    adapters_alone = config.lora_rank is not None or trains_further(parent, params)
    return plan_launch(
        count_parameters(parent),
        gpu_memory(),
        config.processes,
        config.sharding,
        config.batch_size,
        1 if config.accumulation == "auto" else config.accumulation,
        bytes_per_parameter=4 if adapters_alone else BYTES_PER_PARAMETER,
    )


def unlearn_into(source: Workspace, output: Workspace, params: Params) -> Training:
    """Write the unlearned model, the history and the loss curves of `output`, in this process.

    Under `torchrun` or `accelerate launch` the processes share the work and the first one writes. Afterwards the memory
    that training took is free for measuring.

    Args:
        source: holds the sets and names the parent model.
    """
    from unilogit.memory import give_back

    try:
        _train_and_save(source, output, params)
    finally:
        give_back()
    return output.read(Training)


def _train_and_save(source: Workspace, output: Workspace, params: Params) -> None:
    import torch
    from accelerate import PartialState
    from transformers import set_seed

    from unilogit.model import load_adapted, load_model
    from unilogit.training.launch import is_launched
    from unilogit.training.progress import TellFigures

    processes = PartialState(cpu=not torch.cuda.is_available())
    processes.wait_for_everyone()  # or a late one would find the work of the others finished
    parent = source.read(ParentModel).model
    model, tokenizer = load_adapted(parent) if trains_further(parent, params) else load_model(parent, own_dtype=True)
    unlearned: nn.Module = model
    set_seed(params.seed)
    trainer = None
    if params.unlearn.method != "none":
        with processes.main_process_first():
            _drop_checkpoints_of_other_settings(source, output, params)
        trainer = make_trainer(source, output, params, model, params.model.formatted(tokenizer), _start(source, output))
        if processes.is_main_process:
            print(f"{params.unlearn.method}: {trainer.stop_rule}", flush=True)
            if (parts := trainer.args.gradient_accumulation_steps) > 1:
                print(f"each optimiser step is worked through in {parts} parts", flush=True)
            curves = CurveWriter(output.path(Place.CURVES), STEP.keeper(source, params).inputs)
            trainer.add_callback(TellFigures(curves.write))
        trainer.run()
        unlearned = trainer.model
    if processes.is_main_process:
        _save(unlearned, tokenizer, output.path(Place.MODEL), parent, params)
        _write_history(output, params.unlearn.method, trainer, processes.num_processes)
        shutil.rmtree(output.path(Place.CHECKPOINTS), ignore_errors=True)
    processes.wait_for_everyone()
    if is_launched():
        processes.destroy_process_group()  # or the processes would not end together


def _save(
    unlearned: "nn.Module", tokenizer: "PreTrainedTokenizerBase", folder: Path, parent: str, params: Params
) -> None:
    """Write a whole model, or the adapter alone; where weights were sharded, the first process has them whole."""
    from transformers import PreTrainedModel

    from unilogit.model import save_model
    from unilogit.training.lora import add_lora

    if params.register_.save == "merged":
        assert isinstance(unlearned, PreTrainedModel)
        save_model(unlearned, tokenizer, folder)
        return
    if isinstance(unlearned, PreTrainedModel):  # nothing was trained
        unlearned = add_lora(unlearned, params.unlearn, params.seed)
    save_adapter(cast("PeftModel", unlearned), tokenizer, folder, base_of(parent))


def _write_history(output: Workspace, method: str, trainer: "UnlearningTrainer | None", processes: int) -> None:
    history = trainer.state.log_history if trainer else []
    losses = [entry for entry in history if "forget_loss" in entry]
    curves = pd.DataFrame(losses, columns=["step", "forget_loss", "retain_loss"])
    write_text(output.path(Place.LOSS_CURVES), curves.to_csv(index=False))
    output.write(
        Training(
            method=method,
            epochs=trainer.epochs_done if trainer else 0.0,
            steps=trainer.state.global_step if trainer else 0,
            stop_rule=trainer.stop_rule if trainer else "nothing is unlearned",
            processes=processes,
            weights_sha256=sha256_weights(output.path(Place.MODEL)),
            history=history,
        )
    )


def monitored(params: Params, forget: int, has_targets: bool) -> dict[str, int]:
    """How many records of each set are measured after every epoch at the most, by the names of `Monitor`.

    Where nothing stops by them, so few that it costs about a tenth of the epoch: three sets are never empty, and to
    score an answer takes a third of training on it. Of unseen people, whom targets follow, there are twice as many.

    Args:
        forget: records to forget.
        has_targets: their tokens have targets of their own.
    """
    count = MONITORED
    if has_targets:
        config = params.unlearn
        met = config.passes(forget) * forget / config.epochs * (2 + config.retain_per_forget)  # each once more, spliced
        count = min(MONITORED, max(LEAST_MONITORED, round(0.1 * 3 * met / 4)))
    return {"forget": count, "earlier": count, "retain": count, "unseen": min(MONITORED, 2 * count)}


def make_trainer(
    source: Workspace,
    output: Workspace,
    params: Params,
    model: "PreTrainedModel | PeftModel",
    tokenizer: "PreTrainedTokenizerBase",
    start: "Mapping[str, Tensor] | None" = None,
) -> "UnlearningTrainer":
    """The trainer of a workspace's sets.

    Args:
        start: as of UnlearningTrainer.

    Raises:
        InputError: the method needs what model or records lack.
    """
    from unilogit.training.stopping import Monitor
    from unilogit.training.trainer import UnlearningTrainer

    forget, holdout, neighbours = (
        pd.read_parquet(source.path(place)) for place in (Place.FORGET, Place.HOLDOUT, Place.NEIGHBOURS)
    )
    targets = read_targets(source) if params.unlearn.method == "unilogit" else []
    counts = monitored(params, len(forget), bool(targets))
    drawn = params.unlearn.passes(len(forget)) * len(forget) * params.unlearn.retain_per_forget
    rng = random.Random(params.seed)
    retain, apart = _split_watched(sampled_retain(source, max(drawn, MONITORED) + MONITORED, params.seed), drawn, rng)
    # Apart: beside many forgotten records of earlier batches, the few of this batch would go unnoticed.
    watched = {
        "forget": forget[forget["batch"] == "current"],
        "retain": apart,
        "unseen": holdout[holdout["use"] == "stop"],
        "earlier": forget[forget["batch"] == "earlier"],
    }
    pairs = {name: pairs_of(frame) for name, frame in watched.items()}
    return UnlearningTrainer(
        model=model,
        tokenizer=tokenizer,
        forget=pairs_of(forget),
        retain=pairs_of(retain),
        neighbours=pairs_of(neighbours) if params.unlearn.neighbour_share else (),
        alternatives=_alternatives(forget) if params.unlearn.method == "dpo" else (),
        targets=targets,
        monitor=Monitor(**{name: rng.sample(rows, min(counts[name], len(rows))) for name, rows in pairs.items()}),
        config=params.unlearn,
        output_dir=output.path(Place.CHECKPOINTS),
        seed=params.seed,
        max_length=params.model.max_length,
        merges=params.register_.save == "merged",
        start=start,
    )


def _start(source: Workspace, output: Workspace) -> "Mapping[str, Tensor] | None":
    """The weights that unlearning goes on from; a model of another method, to compare with, starts from the parent."""
    from unilogit.model import load_model

    folder = source.read(ParentModel).start
    if folder is None or output != source:
        return None
    model, _ = load_model(folder, own_dtype=True)
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def _split_watched(retain: pd.DataFrame, drawn: int, rng: random.Random) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What is trained on, and what is watched: records apart where there are so many, else of those trained on.

    Args:
        retain: a sample of the retain set.
        drawn: how many are met in training.
    """
    if len(retain) < max(drawn, MONITORED) + MONITORED:
        return retain, retain
    apart = retain.index.isin(rng.sample(sorted(retain.index), MONITORED))
    return retain[~apart], retain[apart]


def _alternatives(forget: pd.DataFrame) -> Sequence[str]:
    """What the records say instead once they are forgotten."""
    answers = forget["alternative_response"] if "alternative_response" in forget else pd.Series([None] * len(forget))
    if missing := int(answers.isna().sum()):
        raise InputError(
            f"unlearn.method dpo: {missing} of {len(forget)} records to forget have no alternative_response; "
            "add it to the corpus, or use idk_dpo"
        )
    return list(answers)


def _drop_checkpoints_of_other_settings(source: Workspace, output: Workspace, params: Params) -> None:
    settings = STEP.keeper(source, params).inputs
    stamp = output.path(Place.CHECKPOINTS, "settings.json")
    if not (stamp.exists() and read_json(stamp)["settings"] == settings):
        shutil.rmtree(stamp.parent, ignore_errors=True)
        write_json(stamp, {"schema_version": 1, "settings": settings})


STEP = Step(
    name="unlearn",
    function=run_unlearn,
    reads=(Place.PARENT, Place.FORGET, Place.RETAIN, Place.HOLDOUT, Place.NEIGHBOURS, Place.TARGETS),
    writes=(Place.MODEL, Place.TRAINING, Place.LOSS_CURVES),
    params=("seed", "unlearn", "register.save", *TOKENS),
    timeout=168 * 3600,
)

if __name__ == "__main__":
    STEP.command()
