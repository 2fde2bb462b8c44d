"""A study's data and models: what is forgotten, retained, held out for choosing and measured, and who learned it.

Records that a choice is made by are in no set that is measured, and retained ones among them in no training either.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from time import monotonic

import pandas as pd

from tasks.stamp import digest
from tasks.steps.train import train_model
from tasks.study.plan import EXAMPLE, StudyPlan
from tasks.workspace import ParentModel, Place, Workspace
from unilogit.data.corpus import read_records
from unilogit.data.example import generate_example
from unilogit.data.records import CorpusRecord
from unilogit.evaluation.benchmarks.registry import read_suite
from unilogit.evaluation.benchmarks.suite import Suite
from unilogit.files import read_json, write_json, write_parquet

VALIDATED = 100  # retained records that choices are made by


@dataclass(frozen=True)
class StudyData:
    """A benchmark, cut into what trains, what chooses and what measures.

    Attributes:
        suite: its sets are measured alone; `training` has "full" and "retain".
        forget: what is to be forgotten, as it was learned.
        retain: beside it in unlearning.
        steering: unseen people whom choices are made by; the suite's holdout are others.
        validation: retained records that choices are made by.
    """

    suite: Suite
    forget: list[CorpusRecord]
    retain: list[CorpusRecord]
    steering: list[CorpusRecord]
    validation: list[CorpusRecord]


@cache
def _data(source: str, split: str, folder: Path, limit: int, people: int, unseen: int, seed: int) -> StudyData:
    if source == EXAMPLE:
        suite = _example(folder, split, limit, people, unseen, seed)
    else:
        suite = read_suite("tofu", source, split)
        training = {name: read for name, read in suite.training.items() if name != "full"}
        suite = replace(suite, training={"full": suite.training["full"], "retain": next(iter(training.values()))})
    steering, measured = _halves(suite.sets["holdout"])
    measured_retain = {_content(record) for records in suite.sets.values() for record in records}
    retain = suite.training["retain"]()
    left = [record for record in retain if _content(record) not in measured_retain and not record.group]
    validation = random.Random(0).sample(left, min(VALIDATED, len(left) // 4))
    chosen = {record.record_id for record in validation}
    retained = {_content(record) for record in retain}
    return StudyData(
        suite=replace(suite, sets={**suite.sets, "holdout": measured}),
        forget=[record for record in suite.training["full"]() if _content(record) not in retained],
        retain=[record for record in retain if record.record_id not in chosen],
        steering=steering,
        validation=validation,
    )


def read_data(plan: StudyPlan) -> StudyData:
    """The data of a plan.

    Raises:
        InputError: the tables cannot be read.
    """
    params = plan.load(0)
    example = params.example
    folder = plan.folder / EXAMPLE
    limit = params.evaluate.max_examples
    return _data(plan.data, plan.split, folder, limit, example.people, example.unseen_people, example.seed)


def _example(folder: Path, split: str, limit: int, people: int, unseen: int, seed: int) -> Suite:
    """The example as a suite: the first of its people are forgotten, as many per cent as the split says."""
    generate_example(folder, people=people, unseen_people=unseen, seed=seed)
    corpus, holdout = read_records(folder / Place.EXAMPLE_CORPUS), read_records(folder / Place.EXAMPLE_HOLDOUT)
    everybody = sorted({subject for record in corpus for subject in record.subject_ids})
    asking = set(everybody[: max(1, round(len(everybody) * int(split.removeprefix("forget")) / 100))])
    forget = [record for record in corpus if asking.intersection(record.subject_ids)]
    retain = [record for record in corpus if not asking.intersection(record.subject_ids)]
    of_people = [record for record in retain if not record.group]
    groups = sorted({record.group for record in retain if record.group})
    return Suite(
        name=f"{EXAMPLE} {split}",
        sets={
            "forget": forget,
            "retain": random.Random(0).sample(of_people, min(limit, 3 * len(of_people) // 4)),
            **{group: [record for record in retain if record.group == group] for group in groups},
            "holdout": holdout,
        },
        utility_sets=("retain", *groups),
        training={"full": lambda: corpus, "retain": lambda: retain},
    )


def _halves(records: Sequence[CorpusRecord]) -> tuple[list[CorpusRecord], list[CorpusRecord]]:
    """Nobody is in both; records that name nobody are people in their order."""
    people = list(dict.fromkeys(tuple(record.subject_ids) or record.record_id for record in records))
    first = set(people[: len(people) // 2])
    is_first = [(tuple(record.subject_ids) or record.record_id) in first for record in records]
    return (
        [record for record, chosen in zip(records, is_first, strict=True) if chosen],
        [record for record, chosen in zip(records, is_first, strict=True) if not chosen],
    )


def _content(record: CorpusRecord) -> tuple[str, str]:
    return record.prompt, record.response


def frame(records: Sequence[CorpusRecord], **columns: str) -> pd.DataFrame:
    return pd.DataFrame([record.model_dump() for record in records]).assign(**columns)


@dataclass(frozen=True)
class Models:
    """A model that learned everybody and one that never saw the forgotten; the seconds that the latter took."""

    full: Path
    retain_model: Path
    seconds: float | None


def models_of(plan: StudyPlan, seed: int) -> Models:
    """Of a seed; trained where they are neither given nor there.

    Raises:
        InputError: they cannot be trained.
    """
    if plan.full is not None and plan.retain_model is not None:
        return Models(Path(plan.full), Path(plan.retain_model), None)
    data, params, folder = read_data(plan), plan.load(seed), plan.folder / f"seed-{seed}"
    full, retain_model, cost = folder / "full", folder / "retain_model", folder / "retain_model.json"
    for name, output in (("full", full), ("retain", retain_model)):
        if output.exists() and (name == "full" or cost.exists()):
            continue
        corpus, started = folder / f"{name}.parquet", monotonic()
        write_parquet(corpus, frame(data.suite.training[name]()))
        print(train_model(corpus, output, params, None if name == "full" else str(full)), flush=True)
        if name == "retain":
            write_json(cost, {"seconds": monotonic() - started})
    return Models(full, retain_model, float(read_json(cost)["seconds"]))


def _alternatives(data: StudyData) -> list[str]:
    """For AltPO, a plausible answer to each question: the true one to the retained question that reads most like it."""
    from unilogit.training.targets import nearest_questions

    pairs = [(record.context, record.response) for record in data.forget]
    asked, nobody = [record.context for record in data.retain], [frozenset[str]()] * len(data.retain)
    return [data.retain[numbers[0]].response for numbers in nearest_questions(pairs, None, asked, nobody)]


def make_workspace(plan: StudyPlan, seed: int, folder: Path) -> Workspace:
    """What the steps `targets` and `unlearn` read."""
    data, workspace, full = read_data(plan), Workspace(folder), models_of(plan, seed).full
    retain = frame(data.retain)
    forget = frame(data.forget, batch="current").assign(alternative_response=_alternatives(data))
    write_parquet(workspace.path(Place.FORGET), forget)
    write_parquet(workspace.path(Place.RETAIN), retain)
    write_parquet(workspace.path(Place.NEIGHBOURS), retain.iloc[:0])
    write_parquet(workspace.path(Place.HOLDOUT), frame(data.steering, use="stop"))
    workspace.write(ParentModel(model=str(full), version=None, files_sha256=str(digest(full))))
    return workspace
