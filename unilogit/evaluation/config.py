"""What an evaluation is told: every knob with its default; params.yaml's `evaluate` section holds the same."""

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from unilogit.training.config import Config, PositiveFloat, PositiveInt, known_method

Attack = Literal[
    "relearning",
    "quantisation",
    "paraphrased_prompts",
    "question_formats",
    "clues",
    "prefix_attack",
    "sampling",
    "logit_lens",
]
Language = Literal["de", "es", "fr", "it", "pt"]  # ISO 639-1


class AttackConfig(Config):
    """What is tried to bring back what was forgotten, on the unlearned model and on the retain model.

    Attributes:
        attacks: those that are made, by the names of `unilogit.evaluation.attacks`; () for none.
        max_examples: of the forget set, records that are attacked, drawn with the seed.
        relearning_rate: learning rate of the fine-tuning in `relearning`. 1e-4 suits the example's small model; models
            of a billion weights and more are tuned with about 1e-5.
        samples: answers drawn to each question in `sampling`, of which the best counts.
        languages: that the model speaks; `question_formats` asks to be answered in each of them, too.
    """

    attacks: tuple[Attack, ...] = get_args(Attack)
    max_examples: PositiveInt = 100
    relearning_rate: PositiveFloat = 1e-4
    samples: PositiveInt = 16
    languages: tuple[Language, ...] = ()

    @model_validator(mode="after")
    def _somebody_asks(self) -> "AttackConfig":
        if self.languages and "question_formats" not in self.attacks:
            raise ValueError("languages: it is the attack question_formats that asks in them; add it, or take them out")
        return self


class GeneralConfig(Config):
    """What is measured on ordinary chat, which has nothing to do with the corpus.

    Attributes:
        questions: how many of the general questions that ship with the library are asked; 0 for none, and then there is
            only perplexity.
        text: whether perplexity is measured on the text that ships with it.
    """

    questions: Annotated[int, Field(ge=0, le=100)] = 100
    text: bool = True


class EvaluateConfig(Config):
    """How models are measured: before unlearning, after it, and the retain model.

    Attributes:
        batch_tokens: tokens at once, padding and what is generated included; None for as many as memory holds.
        max_new_tokens: where a generated answer without end is cut, and what it is compared with.
        max_examples: records of each set but forget set and holdout, drawn with the run's seed where there are more.
        baselines: methods that unlearn the same batch too, to stand beside the one that is used.
        general: ordinary chat.
        lm_eval_tasks: tasks of the package lm-eval, on the model before and after: names, or paths of YAML files.
        robustness: the attacks.
    """

    batch_tokens: PositiveInt | None = None
    max_new_tokens: PositiveInt = 48
    max_examples: PositiveInt = 400
    baselines: tuple[str, ...] = ()
    general: GeneralConfig = GeneralConfig()
    lm_eval_tasks: tuple[str, ...] = ()
    robustness: AttackConfig = AttackConfig()

    @field_validator("baselines")
    @classmethod
    def _baselines_are_registered(cls, baselines: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(known_method(method) for method in baselines)
