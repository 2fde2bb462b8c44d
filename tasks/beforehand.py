"""What would fail in the end, told before a batch is opened: absent models and data, gates that cannot pass, too little
memory or disk.

Knows params and what each metric needs; nothing of what a batch asks for.
"""

from collections.abc import Iterator
from pathlib import Path

from tasks.params import Params
from tasks.planning.plan import cannot_fit
from tasks.registry.connection import connect
from tasks.registry.lineage import read_registry
from tasks.registry.start import why_no_start
from tasks.registry.versions import BASE
from unilogit.adapters import base_of, find_adapter, tokenizer_of
from unilogit.errors import InputError
from unilogit.evaluation.registry import METRICS, Need
from unilogit.gates import Gate

_REMEDIES = {
    Need.HOLDOUT: "needs people whom the model never saw, and data.holdout is null: name their records there",
    Need.RETAIN_MODEL: "needs a retain model, and model.retain is null: set it to train, or to the folder of one",
    Need.GENERAL_QUESTIONS: "needs general questions, and evaluate.general.questions is 0: ask some",
    Need.GENERAL_TEXT: "needs the general text, and evaluate.general.text is false: set it to true",
}


def check_beforehand(params: Params, file: str) -> None:
    """Refuse parameters with which no batch can end well.

    Args:
        file: what the parameters were read from.

    Raises:
        InputError: a sentence for each thing that is missing, does not fit, or cannot be measured.
    """
    absent = list(_missing_models(params))
    # What is too large can be told of a model that is there.
    problems = [*_missing_data(params), *absent, *_impossible_target(params), *_impossible_gates(params)]
    problems += [] if absent else cannot_fit(params)
    if problems:
        raise InputError(*(f"{file}: {problem}" for problem in problems))


def _missing_data(params: Params) -> Iterator[str]:
    for name, path in (("corpus", params.data.corpus), ("holdout", params.data.holdout)):
        if path is not None and not path.exists():
            hint = "correct the path" if name == "corpus" else "correct the path, or set it to null"
            yield f"data.{name} = {str(path)!r}: there is no such file or folder; {hint}"


def _missing_models(params: Params) -> Iterator[str]:
    """The base model while no version is champion, a given retain model, and a version to go on from."""
    base, name = params.model.base, params.register_.registered_model
    with connect() as store:
        registry = read_registry(store, name)
    version = registry.accepted_version
    starts_from_base = version is None
    if starts_from_base and (reason := why_no_base(base)):
        yield reason
        return
    is_adapter = find_adapter(base) is not None if version is None else BASE in registry.versions.get(version, {})
    if reason := why_no_adapter(params, version, is_adapter):
        yield reason
    yield from why_no_start(params, registry, version)
    retain, pretrained = params.model.retain, params.model.pretrained
    if retain not in (None, "train"):
        folder = Path(str(retain))
        if not (folder / "config.json").is_file() and not find_adapter(str(folder)):
            yield (
                f"model.retain = {retain!r}: no model there (config.json is missing); give the folder of one, or set it"
                " to train or null"
            )
        elif starts_from_base and (reason := _why_unfit("model.retain", str(retain), base)):
            yield reason
    if pretrained is not None:
        reason = why_no_base(pretrained, "model.pretrained")
        if reason := reason or (_why_unfit("model.pretrained", pretrained, base) if starts_from_base else None):
            yield reason


def why_no_base(base: str, knob: str = "model.base") -> str | None:
    """Why a model cannot be started from, as a sentence; None where it can.

    Args:
        knob: that names it.
    """
    from transformers import AutoConfig

    from unilogit.model import why_no_model

    try:
        AutoConfig.from_pretrained(base_of(base))
    except InputError as error:
        return f"{knob}: {error}"
    except (OSError, ValueError) as error:
        return f"{knob} = {base!r}: no model there ({why_no_model(error)}); give a Hugging Face folder or hub name"
    return None


def why_no_adapter(params: Params, version: str | None, is_adapter: bool) -> str | None:
    """Why no adapter can come of a model, though register.save asks for one; None where one can.

    Args:
        version: that the model is; None for model.base.
        is_adapter: whether it is an adapter itself.
    """
    if params.register_.save == "merged" or is_adapter:
        return None
    if version is not None:
        return (
            f"register.save is adapter, but the champion, version {version}, is a whole model, of which there is a copy"
            " for a run alone: an adapter on it would lose its base; set register.save to merged"
        )
    if params.unlearn.lora_rank is None:
        return (
            f"register.save is adapter, but model.base = {params.model.base!r} is a whole model and unlearn.lora_rank"
            " is null; set unlearn.lora_rank, or register.save to merged"
        )
    return None


def _why_unfit(knob: str, name: str, base: str) -> str | None:
    """Why the model that a knob names cannot be compared with models that come of `base`."""
    from transformers import AutoTokenizer

    try:
        vocabularies = [AutoTokenizer.from_pretrained(tokenizer_of(model)).get_vocab() for model in (name, base)]
    except (OSError, ValueError) as error:
        return f"{knob} = {name!r}: its tokenizer or that of model.base cannot be read ({error})"
    if vocabularies[0] != vocabularies[1]:
        return (
            f"{knob} = {name!r}: its tokenizer is not that of model.base, so likelihoods cannot be compared; give a"
            " model of the same tokenizer, or set it to null"
        )
    return None


def _impossible_target(params: Params) -> Iterator[str]:
    """A source of targets that is asked for and cannot be there."""
    target = params.unlearn.target
    if params.unlearn.method != "unilogit" or target in ("auto", "uniform"):
        return
    if target == "base" and params.model.pretrained is None:
        yield "unlearn.target = 'base': model.pretrained is null; name the checkpoint before it learned the corpus"
    if params.data.holdout is None:
        yield (
            f"unlearn.target = {target!r}: needs people whom the model never saw, and data.holdout is null: name their"
            " records there, or set it to auto or uniform"
        )


def _impossible_gates(params: Params) -> Iterator[str]:
    for gate in params.gates:
        if reason := _why_impossible(gate, params):
            yield f"gate {gate.name}: {gate.metric} {reason}, or remove the gate, which can never pass"


def _why_impossible(gate: Gate, params: Params) -> str | None:
    """Why a gate's metric cannot be there, and what to change; None where it may."""
    metric = METRICS.get(gate.metric)
    if metric is None:
        return _why_unknown(gate.metric, params)
    lacking = _lacking(params)
    if unmet := [lacking[need] for need in metric.needs if need in lacking]:
        return unmet[0]
    if metric.attack is not None and metric.attack not in params.evaluate.robustness.attacks:
        return f"needs the attack {metric.attack}, which evaluate.robustness.attacks leaves out: add it there"
    return None


def _lacking(params: Params) -> dict[Need, str]:
    """What these parameters do not give, and what to change."""
    chat = params.evaluate.general
    lacking = {
        Need.HOLDOUT: params.data.holdout is None,
        Need.RETAIN_MODEL: params.model.retain is None,
        Need.GENERAL_QUESTIONS: not chat.questions,
        Need.GENERAL_TEXT: not chat.text,
    }
    return {need: _REMEDIES[need] for need, is_lacking in lacking.items() if is_lacking}


def _why_unknown(metric: str, params: Params) -> str | None:
    """Why no set has a metric of this name; None where one may."""
    part, _, name = metric.partition(".")
    if part == "lm_eval":
        named = params.evaluate.lm_eval_tasks
        return None if named else "is of a task of lm-eval, and evaluate.lm_eval_tasks is []: name it there"
    sets = ["forget", "forget_all", "retain", *params.data.utility_groups]
    sets += ["holdout"] if params.data.holdout else []
    sets += ["neighbours"] if params.data.neighbours else []
    names = [name for name in METRICS if "." not in name]
    if part not in sets:
        return f"is of no set that is measured: correct it, to one of {', '.join(sets)}"
    if name not in names:
        return f"is not measured: correct it, to one of {', '.join(names)}"
    return None
