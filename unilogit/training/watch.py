"""What watches a training run: each callback is of a module of its own, and here they come in their order."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from unilogit.training.nearest import KeepNearest, aims_of
from unilogit.training.rate_search import RateSearch, steps_to_targets
from unilogit.training.stopping import Monitor, Pair, StopWhenForgotten

if TYPE_CHECKING:
    from unilogit.training.trainer import UnlearningTrainer

PROBED = 16  # forget answers that are scored after each step while a learning rate is looked for


def watch(
    trainer: "UnlearningTrainer",
    monitor: Monitor,
    forget: Sequence[Pair],
    targets: Sequence[np.ndarray],
    epoch_steps: int,
    max_length: int | None,
) -> None:
    """Have a trainer watched: for when to stop, for which weights it keeps, and for its rate where that is to be found.

    Args:
        forget, targets: as of the trainer.
        epoch_steps: from one measurement to the next.
        max_length: as of the trainer.

    Raises:
        InputError: the run has too few steps to find a rate.
    """
    stop = StopWhenForgotten(trainer, monitor, epoch_steps, max_length)
    trainer.add_callback(stop)
    trainer.add_callback(KeepNearest(trainer, aims_of(monitor, forget, targets)))
    if trainer.config.learning_rate == "auto":
        probed = (monitor.forget or forget)[:PROBED]
        steps = len(trainer.examples) // trainer.config.batch_size
        goes_on = trainer.config.unmoved == "continue"
        steps_a_pass = len(trainer.examples.forget) / trainer.config.batch_size
        way_steps = steps_to_targets(steps, steps_a_pass) if trainer.examples.has_targets else None
        trainer.add_callback(
            RateSearch(trainer.log, lambda: float(stop.score(probed)["nll"].mean()), steps, goes_on, way_steps)
        )
