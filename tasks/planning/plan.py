"""`unilogit plan`: what a run with these parameters needs on this machine, step by step, and what does not fit.

Puts together needs, the corpus and the pace that was measured; prints nothing.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.params import Params
from tasks.planning.machine import Machine, look_around
from tasks.planning.needs import Need, find_needs, share_of_step
from tasks.planning.sketch import Sketch, draw_sketch
from tasks.report.sizes import tell_bytes
from tasks.steps.familiarity import SAMPLE
from tasks.steps.targets import UNSEEN, has_targets
from tasks.steps.unlearn import monitored, plan_processes
from unilogit.data.corpus import SUFFIXES
from unilogit.data.rows import input_files
from unilogit.errors import InputError

if TYPE_CHECKING:
    from unilogit.pace import Pace

RELEARNED = 20 * 8  # records that the relearning attack trains on: steps by records of each
SCORED_BY = {
    "relearning": 6,
    "quantisation": 3,
    "paraphrased_prompts": 2,
    "question_formats": 3,
    "clues": 3,
    "logit_lens": 2,
}  # attack → times a record is scored
ANSWERED_BY = {"prefix_attack": 5, "paraphrased_prompts": 2, "question_formats": 3, "clues": 3}  # and answered

SCORED_AS_OTHERS = 18  # times that an answer is scored after other questions, and after its own


@dataclass(frozen=True)
class Plan:
    """What a run needs.

    Attributes:
        machine: what there is.
        sketch: what is to be worked on.
        needs: of each step.
        steps: optimiser steps of unlearning, at the most.
        processes: how many unlearn, and why, as a sentence.
        pace: seconds of a step, a token, an answer; None where nothing was measured.
        unmeasured: why not, as a clause; empty where it was.
        seconds: step → how long it takes; empty where nothing was measured.
        problems: a sentence for all that does not fit, with what to change.
    """

    machine: Machine
    sketch: Sketch
    needs: list[Need]
    steps: int
    processes: str
    pace: "Pace | None"
    unmeasured: str
    seconds: dict[str, float]
    problems: list[str]


def make_plan(params: Params, forget: int | None, measure: bool) -> Plan:
    """Look at the machine, the model's configuration and the corpus, and time a few steps.

    Args:
        forget: how many records will be forgotten; None for those that waiting requests name.
        measure: whether to load the model and time it.

    Raises:
        InputError: the model, the corpus or the requests cannot be read.
    """
    machine, sketch = look_around(), draw_sketch(params, forget)
    launch = plan_processes(params.model.base, params)
    load = share_of_step(params, launch.processes, sketch.longest)
    corpus = sum(Path(file).stat().st_size for file in input_files(params.data.corpus, SUFFIXES))
    needs = find_needs(params, machine, load, corpus)
    problems = list(too_much(needs, machine))
    pace, why = None, "it was not asked for"
    if measure and (problems or launch.fsdp):
        why = "it does not fit" if problems else "one process cannot hold what several share"
    elif measure:
        pace, why = _measure(params, sketch, launch.processes), ""
    config = params.unlearn
    examples = config.passes(sketch.forget) * sketch.forget
    steps = 0 if config.method == "none" else math.ceil(examples / config.batch_size)
    return Plan(
        machine=machine,
        sketch=sketch,
        needs=needs,
        steps=steps,
        processes=launch.reason,
        pace=pace,
        unmeasured=why,
        seconds={} if pace is None else dict(_seconds(params, sketch, pace, steps)),
        problems=problems,
    )


def too_much(needs: list[Need], machine: Machine) -> Iterator[str]:
    """A sentence for each step that the machine's memory does not hold, and for a disk that is too full."""
    for need in needs:
        if (total := sum(need.memory.values())) > machine.memory:
            parts = ", ".join(f"{name} {tell_bytes(size)}" for name, size in need.memory.items())
            yield (
                f"{need.step} needs {tell_bytes(total)} of memory ({parts}), and {machine.device} has"
                f" {tell_bytes(machine.memory)}; what helps: {'; '.join(need.remedies)}"
            )
    written = {need.step: sum(need.disk.values()) for need in needs}
    if (total := sum(written.values())) > machine.free_disk:
        parts = ", ".join(f"{step} {tell_bytes(size)}" for step, size in written.items() if size)
        yield (
            f"a run writes up to {tell_bytes(total)} under UNILOGIT_HOME ({parts}), and its disk has"
            f" {tell_bytes(machine.free_disk)} left; free some, move UNILOGIT_HOME to a larger disk, or train adapters"
            " (unlearn.lora_rank), whose checkpoints are small"
        )


def cannot_fit(params: Params) -> Iterator[str]:
    """What is too much for this machine however short the records are; cheap: nothing is loaded or read.

    Raises:
        InputError: as `find_needs`.
    """
    machine = look_around()
    yield from too_much(find_needs(params, machine, None), machine)


def _measure(params: Params, sketch: Sketch, processes: int) -> "Pace":
    from unilogit.model import load_model
    from unilogit.pace import measure_pace

    if len(sketch.pairs) < 2:
        raise InputError(f"{params.data.corpus}: has a single record, which is too few to measure; add --no-measure")
    model, tokenizer = load_model(params.model.base, own_dtype=True)
    share = params.unlearn.batch_size // processes
    return measure_pace(
        model,
        params.model.formatted(tokenizer),
        sketch.pairs,
        params.unlearn.model_copy(update={"batch_size": share}),
        has_targets=has_targets(params),
        max_length=params.model.max_length,
        max_new_tokens=params.evaluate.max_new_tokens,
        batch_tokens=params.evaluate.batch_tokens,
    )


def _seconds(params: Params, sketch: Sketch, pace: "Pace", steps: int) -> Iterator[tuple[str, float]]:
    evaluate, limit, count = params.evaluate, params.evaluate.max_examples, sketch.forget
    apart = {group: sketch.groups.get(group, 0) for group in params.data.utility_groups}
    rest = sketch.records - sum(apart.values()) - count
    kept = min(limit, max(0, rest)) + sum(min(limit, size) for size in apart.values())
    kept += min(limit, params.data.neighbours * count, max(0, rest))
    unseen = sketch.holdout // 2
    record = sketch.tokens * pace.scored  # seconds to score its response
    yield "familiarity", min(2 * SAMPLE, 2 * sketch.records) * record
    if params.model.retain is not None:
        watched = 2 * (count + kept + sketch.holdout) * record
        passes = params.train.epochs if params.model.retain == "train" else 0
        yield "retain_model", watched + passes * sketch.records * sketch.tokens * pace.trained
    if has_targets(params):
        yield "targets", (count + min(UNSEEN, unseen)) * SCORED_AS_OTHERS * record
    if pace.step is not None:
        limits = monitored(params, count, has_targets(params))
        watched = min(limits["forget"], count) + min(limits["retain"], rest) + min(limits["unseen"], unseen)
        whole = steps * pace.step + (params.unlearn.epochs + 1) * watched * record
        yield "unlearn", whole
        if evaluate.baselines:
            yield "baselines", len(evaluate.baselines) * whole
    with_retain = params.model.retain is not None
    attacked = min(count, evaluate.robustness.max_examples)
    languages = len(set(evaluate.robustness.languages))
    scored = (sum(SCORED_BY.get(attack, 0) for attack in evaluate.robustness.attacks) + languages) * attacked
    answered_by = ANSWERED_BY | {"sampling": evaluate.robustness.samples}
    answered = (sum(answered_by.get(attack, 0) for attack in evaluate.robustness.attacks) + languages) * attacked
    relearned = RELEARNED * ("relearning" in evaluate.robustness.attacks)
    attack = scored * record + answered * pace.answer + relearned * sketch.tokens * pace.trained
    yield "attack", (1 + with_retain) * attack
    scoring = ((count + kept) * sketch.scored + unseen) * record
    gradients = (count + unseen) * sketch.tokens * pace.trained
    model = scoring + gradients + (count + kept + evaluate.general.questions / 2) * pace.answer
    yield "evaluate", (2 + with_retain + len(evaluate.baselines)) * model
