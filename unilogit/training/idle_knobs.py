"""Which retain term an unlearning run has, and which of its knobs it would not heed. Knows configuration alone."""

from unilogit.losses.registry import METHODS, RETAIN_TERMS, Method
from unilogit.training.config import UnlearnConfig

RETAIN_KNOBS = ("retain_term", "retain_weight", "retain_per_forget", "neighbour_share")
LORA_KNOBS = ("lora_alpha", "lora_targets")
DEFAULTS = UnlearnConfig()


def retain_method(config: UnlearnConfig) -> Method | None:
    """The retain term; None where the configuration, or the method as published, has none."""
    return None if _why_no_retain_term(config) else RETAIN_TERMS[_retain_term(config)]


def idle_knobs(config: UnlearnConfig) -> list[str]:
    """A sentence for each knob that is not at its default and would do nothing in this run.

    Knobs in a method's own section are never idle: the section says whose they are. With method "none" there is
    no run.
    """
    if config.method == "none":
        return []
    of_adapters = [
        f"unlearn.{name} is {value}, which would do nothing, as unlearn.lora_rank is null; leave it at"
        f" {_written(getattr(DEFAULTS, name))}, or set unlearn.lora_rank"
        for name in LORA_KNOBS
        if config.lora_rank is None and (value := getattr(config, name)) != getattr(DEFAULTS, name)
    ]
    idle = [*of_adapters, *_idle_target(config)]
    if not (reason := _why_no_retain_term(config)):
        return idle
    if METHODS[config.method].limits_retain:
        idle.append(
            f"unlearn.method {config.method} holds the retain term under a limit, and there is none, as {reason};"
            " name one in unlearn.retain_term and give it weight"
        )
    return idle + [
        f"unlearn.{name} is {value}, which would do nothing, as {reason}; "
        f"leave it at {getattr(DEFAULTS, name)}, or name a retain term in unlearn.retain_term and give it weight"
        for name in RETAIN_KNOBS
        if (value := getattr(config, name)) not in (0, "none", getattr(DEFAULTS, name))
    ]


def knobs_of_uniform(config: UnlearnConfig) -> list[str]:
    """The knobs, each with its value, that are not at their defaults and heeded with 1/V as the target alone."""
    told = [
        ("unilogit.direction", config.unilogit.direction, DEFAULTS.unilogit.direction),
        ("retain_recovery", config.retain_recovery, DEFAULTS.retain_recovery),
        ("pause_forgotten", config.pause_forgotten, DEFAULTS.pause_forgotten),
    ]
    return [f"unlearn.{name} is {value}" for name, value, default in told if value != default]


def _idle_target(config: UnlearnConfig) -> list[str]:
    """Targets of their own are unilogit's alone; with them, there is no KL and no early stop."""
    if config.target in ("auto", "uniform"):
        return []
    named = f"unlearn.target is {config.target}"
    if config.method != "unilogit":
        return [f"{named}, which would do nothing, as unlearn.method is {config.method}; leave it at auto"]
    return [
        f"{knob}, which would do nothing, as {named}; set unlearn.target to uniform"
        for knob in knobs_of_uniform(config)
    ]


def _written(value: object) -> str:
    """As params.yaml has it."""
    return "null" if value is None else str(value)


def same_run_by(method: str, config: UnlearnConfig) -> UnlearnConfig:
    """The configuration with another method, as for a baseline, however little that may forget.

    Knobs that it would not heed are at their defaults, and so are those of a retain term that it cannot do without.
    """
    changed = config.model_copy(update={"method": method, "unmoved": "continue"})
    needed = METHODS[method].limits_retain
    reset = {
        name: getattr(DEFAULTS, name) for name in RETAIN_KNOBS if needed or getattr(config, name) not in (0, "none")
    }
    return changed.model_copy(update=reset) if idle_knobs(changed) else changed


def _retain_term(config: UnlearnConfig) -> str:
    return METHODS[config.method].retain_term if config.retain_term == "published" else config.retain_term


def _why_no_retain_term(config: UnlearnConfig) -> str:
    """Empty where there is one."""
    if config.retain_term == "none":
        return "unlearn.retain_term is none"
    for name in ("retain_weight", "retain_per_forget"):
        if getattr(config, name) == 0:
            return f"unlearn.{name} is 0"
    if _retain_term(config) == "none":
        return f"{config.method} is published without a retain term"
    return ""
