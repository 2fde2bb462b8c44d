"""A batch's sets as MLflow has them: what they are called, their digests and how many records they hold; no content.

MLflow is imported inside functions.
"""

import json
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from tasks.registry.points import FORGET, HOLDOUT, NEIGHBOURS, RETAIN
from tasks.stamp import digest
from tasks.steps.store import data_md5
from tasks.workspace import Place, Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SETS = {
    FORGET: (Place.FORGET, "training"),
    RETAIN: (Place.RETAIN, "training"),
    NEIGHBOURS: (Place.NEIGHBOURS, "evaluation"),
    HOLDOUT: (Place.HOLDOUT, "evaluation"),
}
_DIGITS = 32  # of a digest: MLflow takes 36


def log_datasets(store: "MlflowClient", run_id: str, workspace: Workspace) -> None:
    """Name the run's sets as its inputs; repeating it changes nothing."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data = data_md5(workspace)
    inputs = []
    for name, (place, context) in _SETS.items():
        if not workspace.has(place):
            continue
        source = {"path": str(place), **({"md5": data} if data else {})}
        records = pq.read_metadata(workspace.path(place)).num_rows
        dataset = Dataset(
            name=name,
            digest=dataset_digests(workspace)[name],
            source_type="dvc" if data else "local",
            source=json.dumps(source),
            profile=json.dumps({"num_rows": records}),
        )
        inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", context)]))
    store.log_inputs(run_id, inputs)


def dataset_digests(workspace: Workspace) -> dict[str, str]:
    """Name of each set that there is → its digest, as MLflow has it."""
    digests = {name: digest(workspace.path(place)) for name, (place, _) in _SETS.items()}
    return {name: value[:_DIGITS] for name, value in digests.items() if value}
