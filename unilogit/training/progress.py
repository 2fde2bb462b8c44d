"""One progress bar for a training run, with the latest figures beside it."""

from typing import Any

from tqdm import tqdm
from transformers import Trainer, TrainerCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback

SHOWN = ("loss", "forget_loss", "retain_loss", "forget_nll", "unseen_nll", "retain_probability")


class FiguresBeside(TrainerCallback):
    """A tqdm bar over steps; what Trainer logs stands beside it instead of between the lines."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.bar: Any = None
        self.figures: dict[str, str] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc=self.title, unit="step")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if self.bar is not None and logs:
            self.figures |= {name: f"{float(logs[name]):.3g}" for name in SHOWN if name in logs}
            self.bar.set_postfix(self.figures)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.close()


def show_progress(trainer: Trainer, title: str) -> None:
    """Give `trainer` this bar in place of its own, which prints a line of figures for every log."""
    for callback in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(callback)
    trainer.add_callback(FiguresBeside(title))
