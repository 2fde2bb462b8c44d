"""The progress of a training run: its steps, with the latest figures beside them."""

from collections.abc import Callable, Mapping
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from unilogit.progress import ProgressBar

SHOWN = ("loss", "forget_loss", "retain_loss", "forget_nll", "unseen_nll", "retain_probability")


class FiguresBeside(TrainerCallback):
    """Shows a `ProgressBar` over steps; what Trainer logs stands beside it instead of between the lines."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.bar = ProgressBar(0, None)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.bar = ProgressBar(state.max_steps, self.title, "step", done=state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.bar.update(state.global_step - self.bar.done)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        self.bar.update(0, {name: float(value) for name, value in (logs or {}).items() if name in SHOWN})

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.bar.close()


class TellFigures(TrainerCallback):
    """Hands on what Trainer logs, as it is logged: to who wants to follow a run. Of several processes the first does.

    Args:
        tell: called with the step and its figures.
    """

    def __init__(self, tell: Callable[[int, Mapping[str, float]], None]) -> None:
        self.tell = tell

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if state.is_world_process_zero:
            self.tell(state.global_step, logs or {})


def show_progress(trainer: Trainer, title: str) -> None:
    """Give `trainer` this bar in place of its own, which prints a line of figures for every log."""
    for callback in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(callback)
    trainer.add_callback(FiguresBeside(title))
