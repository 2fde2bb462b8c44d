"""When to stop unlearning: what is watched, and the rule. Sees training data and unseen people alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase, Trainer, TrainerCallback

from unilogit.evaluation.probability import score_answers

Pair = tuple[str, str]  # prompt, response


@dataclass(frozen=True)
class Monitor:
    """What is watched after every epoch to decide when to stop; None when it cannot be watched.

    Attributes:
        forget, retain: pairs from the training data, a sample of them.
        unseen: pairs about people never trained on: the likelihood that forgetting aims at.
    """

    forget: Sequence[Pair]
    retain: Sequence[Pair]
    unseen: Sequence[Pair]


class StopWhenForgotten(TrainerCallback):
    """Stop when forget answers are no likelier than unseen people's and retention has recovered.

    Stopping at the first alone leaves retention damaged; going on after both over-forgets.
    """

    def __init__(
        self,
        trainer: Trainer,
        monitor: Monitor,
        tokenizer: PreTrainedTokenizerBase,
        epoch_steps: int,
        retain_recovery: float,
    ) -> None:
        self.trainer, self.tokenizer, self.epoch_steps = trainer, tokenizer, epoch_steps
        self.pairs = {"forget": monitor.forget, "retain": monitor.retain, "unseen": monitor.unseen}
        self.retain_recovery = retain_recovery

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 0:
            self.trainer.log(self.measure())

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self.epoch_steps:
            return
        now = self.measure()
        self.trainer.log(now)
        first = next(entry for entry in state.log_history if "retain_probability" in entry or "forget_nll" in entry)
        forgotten = "unseen_nll" in now and now["forget_nll"] >= now["unseen_nll"]
        recovered = now.get("retain_probability", 1.0) >= self.retain_recovery * first.get("retain_probability", 0.0)
        if forgotten and recovered:
            control.should_training_stop = True

    def measure(self) -> dict[str, float]:
        """Mean NLL per answer token of forget and unseen answers (nats) and probability of retain answers."""
        measured = {}
        for name, pairs in self.pairs.items():
            if pairs:
                scores = score_answers(
                    self.trainer.model,
                    self.tokenizer,
                    [prompt for prompt, _ in pairs],
                    [response for _, response in pairs],
                    batch_size=64,
                )
                if name == "retain":
                    measured["retain_probability"] = float(scores["probability"].mean())
                else:
                    measured[f"{name}_nll"] = float(scores["nll"].mean())
        return measured
