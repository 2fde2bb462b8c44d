"""What a study found, as one file."""

from collections.abc import Mapping
from pathlib import Path

from tasks.study.data import read_data
from tasks.study.measuring import Cell
from tasks.study.plan import StudyPlan
from unilogit.files import read_json, write_json


def write_study(plan: StudyPlan, measured: Mapping[tuple[str, int], Cell]) -> Path:
    """All cells, trials and the sizes of the sets, as `study.json` in the plan's folder."""
    data, file = read_data(plan), plan.folder / "study.json"
    trials = {
        method: read_json(tuned)["trials"]
        for method in plan.methods
        if (tuned := plan.tuned / f"{method}.json").exists()
    }
    write_json(
        file,
        {
            "schema_version": 1,
            "plan": plan.model_dump(mode="json", exclude={"work", "params"}),
            "records": {
                "forget": len(data.forget),
                **{name: len(records) for name, records in data.suite.sets.items()},
            },
            "trials": trials,
            "cells": [{"method": method, "seed": seed, **cell} for (method, seed), cell in measured.items()],
        },
    )
    return file
