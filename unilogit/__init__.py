"""Make a language model forget, and measure whether it did; README.md has an example of ten lines.

The names below are the library's surface. Each is imported when it is first used, so that what needs no model
(`unilogit.errors`, `unilogit.gates`, …) is there at once.

Importing this before torch makes torch's threads look for each other a thousand times and then sleep.
Spinning on, as they do by themselves, makes a run beside another busy process many times slower; sleeping at once, one
alone. After torch it is too late: then set GOMP_SPINCOUNT in the environment. What is set already is kept.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # of other runtimes than libgomp
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

if TYPE_CHECKING:
    from unilogit.adapters import save_adapter
    from unilogit.data.records import CorpusRecord
    from unilogit.errors import InputError
    from unilogit.evaluation.config import EvaluateConfig
    from unilogit.evaluation.evaluate import Evaluation, evaluate_model
    from unilogit.losses.registry import METHODS, RETAIN_TERMS
    from unilogit.model import checkpoint_dtype, load_adapted, load_model, save_model
    from unilogit.training.config import TrainConfig, UnlearnConfig
    from unilogit.training.from_scratch import train_from_scratch
    from unilogit.training.stopping import Monitor
    from unilogit.training.trainer import UnlearningTrainer

_MODULES = {
    "save_adapter": "unilogit.adapters",
    "CorpusRecord": "unilogit.data.records",
    "InputError": "unilogit.errors",
    "EvaluateConfig": "unilogit.evaluation.config",
    "Evaluation": "unilogit.evaluation.evaluate",
    "evaluate_model": "unilogit.evaluation.evaluate",
    "METHODS": "unilogit.losses.registry",
    "RETAIN_TERMS": "unilogit.losses.registry",
    "checkpoint_dtype": "unilogit.model",
    "load_adapted": "unilogit.model",
    "load_model": "unilogit.model",
    "save_model": "unilogit.model",
    "TrainConfig": "unilogit.training.config",
    "UnlearnConfig": "unilogit.training.config",
    "train_from_scratch": "unilogit.training.from_scratch",
    "Monitor": "unilogit.training.stopping",
    "UnlearningTrainer": "unilogit.training.trainer",
}

__all__ = [
    "METHODS",
    "RETAIN_TERMS",
    "CorpusRecord",
    "EvaluateConfig",
    "Evaluation",
    "InputError",
    "Monitor",
    "TrainConfig",
    "UnlearnConfig",
    "UnlearningTrainer",
    "checkpoint_dtype",
    "evaluate_model",
    "load_adapted",
    "load_model",
    "save_adapter",
    "save_model",
    "train_from_scratch",
]


if not TYPE_CHECKING:  # or a type checker would let any name pass

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module 'unilogit' has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
