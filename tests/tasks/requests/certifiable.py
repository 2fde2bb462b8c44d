"""A registered workspace whose requests can be certified: weights, corpus, and what was measured of each record."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from tasks.requests.evidence import Promotion
from tasks.sets import PARENT, RETAIN_MODEL, UNLEARNED
from tasks.workspace import (
    CorpusCounts,
    Extraction,
    Metrics,
    ParentModel,
    Place,
    Registration,
    Training,
    Workspace,
    WorstPerson,
)
from tests.tasks.workspaces import gate
from unilogit.data.requests import DeletionRequest
from unilogit.evaluation.examples import COLUMNS
from unilogit.files import sha256_weights, write_json, write_parquet
from unilogit.gates import judge

PERSONAL = ("Odalys", "Quenneville", "secret-", "record-", "wdrvbnt@", "unseen-")  # parts of ids and texts
REQUESTS = {
    name: DeletionRequest(
        request_id=name, received_at="2026-01-02T03:04:05+01:00", reference=f"ref-{place}", **selectors
    )
    for place, (name, selectors) in enumerate(
        {
            "wdrvbnt@sample.example": {
                "subject_id": "secret-ada",
                "aliases": ["Odalys Quenneville", "secret-ada-2"],
                "legal_basis": "GDPR Art. 17(1)(b)",
                "source": "letter of Odalys",
            },
            "R-bob": {"record_ids": ["record-3"], "source": "dsr-desk"},
            "R-nothing": {"subject_id": "secret-eve"},
        }.items()
    )
}
ADA, BOB, NOTHING = REQUESTS.values()
RECORDS_OF = {"record-0": [ADA], "record-1": [ADA], "record-2": [ADA], "record-3": [ADA, BOB], "record-4": []}
GATES = [
    gate(),
    gate("nobody-comes-back", "forget_all.probability", scope="forget_all"),
    gate("robust", "robustness.quantised_4_bit_probability", scope="robustness"),
    gate("forget-quality", "forget_quality.log10_p_value", ">=", -4),
    gate("useful", "model_utility", ">=", 0.8, "utility"),
]
AFTER = {"record-0": 0.01, "record-1": 0.02, "record-2": 0.09, "record-3": 0.04, "record-4": 0.03}  # probability
QUANTISED = {"record-0": 0.015, "record-1": 0.025, "record-4": 0.035}  # of those that were attacked
LIKELIEST = "subject-00112233445566ff"
DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)
PROMOTION = Promotion(
    version="4",
    aliases=("champion", "candidate"),
    approved_by="officer",
    approved_at=DAY,
    parent_versions=("3", "1"),
    older_versions={"3": ("previous",), "1": ()},
)


def build_certifiable(root: Path, gates=tuple(GATES)) -> Workspace:
    """Records 0 to 3 are Ada's, 3 is Bob's too, and 4 was forgotten in an earlier batch."""
    workspace = Workspace(root)
    model = workspace.path(Place.MODEL)
    model.mkdir(parents=True)
    for place in (1, 2):
        save_file({"weight": np.full(3, place)}, model / f"model-{place}.safetensors")
    rows = [
        {"record_id": record_id, "subject_ids": ["secret-ada"], "prompt": f"Where is Odalys {record_id}?"}
        | {"response": "At Quenneville.", "batch": "current" if asked else "earlier"}
        | {"request_ids": [request.reference for request in asked or [ADA]]}
        for record_id, asked in RECORDS_OF.items()
    ]
    write_parquet(workspace.path(Place.FORGET), pd.DataFrame(rows))
    write_parquet(workspace.path(Place.CORPUS), pd.DataFrame(rows)[["record_id", "prompt", "response"]])
    workspace.write(CorpusCounts(rows=95, quarantined=0, good=95, expectations=[], warnings=[], response_length=15.0))
    counts = {"requests": 3, "forget": 4, "retain": 90, "earlier": 1, "holdout": 5, "neighbours": 0}
    matches = {"ref-0": {"subject_id": 3, "near_duplicate": 1}, "ref-1": {"record_id": 1}}
    workspace.write(Extraction(**counts, not_found=[NOTHING.reference], warnings=[], matches=matches))
    workspace.write(ParentModel(model="some/base", version="3", files_sha256="cd" * 32))
    weights = sha256_weights(model)
    training = {"epochs": 1.5, "steps": 48, "stop_rule": "once forgotten", "processes": 1, "history": []}
    workspace.write(Training(method="unilogit", weights_sha256=weights, **training))
    for role, scale in ((PARENT, 10.0), (UNLEARNED, 1.0), (RETAIN_MODEL, 0.5)):
        write_parquet(workspace.measured(role)[1], measured(scale))
        if role != PARENT:
            attacked = pd.DataFrame({"record_id": QUANTISED.keys(), "bits": 4, "nll": 1.0})
            attacked["probability"] = [value * scale for value in QUANTISED.values()]
            write_parquet(workspace.attacked(role, "quantisation"), attacked)
    metrics = Metrics(
        before={},
        after={
            "forget": {"probability": 0.04, "n": 4},
            "forget_all": {"probability": 0.038},
            "forget_quality": {"log10_p_value": -0.5},
            "membership_inference": {"loss_auc": 0.55, "zlib_auc": None},
            "robustness": {"quantised_4_bit_probability": 0.02, "sampling_rouge_l_recall": 0.3},
            "model_utility": 0.95,
        },
        retain_model=None,
        unavailable={},
        worst={"forget.probability": WorstPerson(person=LIKELIEST, value=0.09)},
    )
    workspace.write(metrics)
    write_json(workspace.path(Place.GATES), judge(gates, metrics.model_dump()).model_dump())
    tags = {"weights_sha256": weights, "params_md5": "0" * 32, "data_md5": "1" * 32 + ".dir", "git_commit": "f" * 40}
    workspace.write(
        Registration(
            registered_model="example-assistant",
            version="4",
            run_id="run",
            alias="candidate",
            gates="passed",
            tags=tags | {"unilogit_version": "0.1.0"},
        )
    )
    return workspace


def measured(scale: float) -> pd.DataFrame:
    """A row for each forgotten record in its sets, and for five unseen people; `scale` is of the probabilities."""
    forget = [("forget", name) for name, asked in RECORDS_OF.items() if asked]
    everybody = [("forget_all", name) for name in RECORDS_OF]
    holdout = [("holdout", f"unseen-{place}") for place in range(5)]
    unseen = {f"unseen-{place}": 0.005 + place / 100 for place in range(5)}
    rows = [
        {"set": group, "record_id": name, "probability": probability * scale, "truth_ratio": probability}
        | {"nll": -np.log(probability * scale), "attack_loss": -np.log(probability * scale)}
        | {"rouge_l_recall": probability * 2, "n_tokens": 4, "n_perturbed": 0 if name == "record-1" else 3}
        for group, name in [*forget, *everybody, *holdout]
        if (probability := (AFTER | unseen)[name])
    ]
    frame = pd.DataFrame(rows).reindex(columns=COLUMNS)
    numeric = [name for name in COLUMNS if name not in ("set", "record_id", "generated")]
    return frame.astype(dict.fromkeys(numeric, "float64"))
