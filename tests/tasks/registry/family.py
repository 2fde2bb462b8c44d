"""A registered model in a real registry: each version is a few bytes of weights, made for a batch of its own."""

import shutil

import numpy as np
from safetensors.numpy import save_file

from unilogit.files import sha256_weights

NAME = "assistant"


class Family:
    """Adds versions to a registered model.

    Args:
        store: a client of the registry.
        folder: where their files lie.
    """

    def __init__(self, store, folder):
        self.store, self.folder = store, folder
        store.create_registered_model(NAME)

    def add(self, number, parent="", gates="passed", **tags):
        """Register version `number`; its batch is batch-<number>. Tags that are None are left out."""
        weights = self.weights(number)
        weights.parent.mkdir(parents=True)
        save_file({"weight": np.full(3, number)}, weights)
        known = {"gates": gates, "batch_id": f"batch-{number}", "parent_version": str(parent or "")}
        known |= {"weights_sha256": sha256_weights(weights.parent), **tags}
        kept = {key: value for key, value in known.items() if value is not None}
        version = self.store.create_model_version(NAME, (self.folder / str(number)).as_uri(), tags=kept)
        assert int(version.version) == number
        return str(number)

    def weights(self, number):
        return self.folder / str(number) / "model" / "model.safetensors"

    def lose_files(self, number):
        shutil.rmtree(self.folder / str(number))

    def click(self, version, alias="champion"):
        """What a person does on MLflow's pages; None removes the alias."""
        if version is None:
            self.store.delete_registered_model_alias(NAME, alias)
        else:
            self.store.set_registered_model_alias(NAME, alias, str(version))

    @property
    def aliases(self):
        return {alias: str(number) for alias, number in self.store.get_registered_model(NAME).aliases.items()}

    def tags(self, version):
        return self.store.get_model_version(NAME, str(version)).tags
