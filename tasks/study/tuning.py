"""Each method tuned alike: the same settings are tried of all, of which the best is taken by what nobody measures.

A trial is judged by records held out for that: the forget set against unseen people who are in no measured set, and
retained records that are in no training of it. Neither the retain model nor a metric of the study is seen.
"""

import shutil
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import numpy as np

from tasks.params import Params
from tasks.steps.targets import STEP as TARGETS
from tasks.steps.unlearn import STEP as UNLEARN
from tasks.study.data import StudyData, make_workspace, models_of, read_data
from tasks.study.plan import DEFAULT, StudyPlan, settings_of
from tasks.workspace import Place
from unilogit.data.records import CorpusRecord
from unilogit.errors import InputError
from unilogit.files import read_json, write_json, write_text

WORST = 2.0  # of `Validated.loss`; a trial that diverged has it
SEEN = 200  # forget records that a trial is judged by, at the most


class Validated(NamedTuple):
    """What a trial is judged by.

    Attributes:
        auc: of the LOSS attack, forget set against unseen people; 0.5: neither remembered nor over-forgotten.
        retain: probability of retained answers, as a share of what it was before.
    """

    auc: float
    retain: float

    @property
    def loss(self) -> float:
        """0 is perfect: |2·AUC − 1|, which is how well an attacker does, and what was lost of retained answers."""
        return abs(2 * self.auc - 1) + max(0.0, 1 - self.retain)


def validate(model: str, data: StudyData, params: Params, before: float | None = None) -> Validated | None:
    """Judge one model; None where it gives answers no probability (NaN).

    Args:
        before: probability of retained answers to compare with; None: of this model itself.
    """
    from unilogit.evaluation.membership_inference import attack_auc
    from unilogit.evaluation.probability import score_answers
    from unilogit.model import load_model

    loaded, tokenizer = load_model(model)
    formatted = params.model.formatted(tokenizer)

    def scores(records: list[CorpusRecord]) -> Any:
        prompts, answers = [record.context for record in records], [record.response for record in records]
        return score_answers(loaded, formatted, prompts, answers, batch_tokens=params.evaluate.batch_tokens)

    forget, unseen = (scores(records[:SEEN])["nll"].to_numpy() for records in (data.forget, data.steering))
    retain = float(scores(data.validation)["probability"].mean())
    if not np.isfinite([*forget, *unseen, retain]).all():
        return None
    return Validated(attack_auc(forget, unseen), retain if before is None else retain / before)


def tune(plan: StudyPlan, method: str) -> list[str]:
    """The settings of a method that do best on the first seed; those of params.yaml for the recipe as shipped.

    Every trial is written down as it ends, so that a killed study repeats one at the most.

    Raises:
        InputError: the package optuna is not installed, or no trial has an outcome.
    """
    if method == DEFAULT:
        return []
    chosen = plan.tuned / f"{method}.json"
    if chosen.exists():
        return list(read_json(chosen)["settings"])
    study, seed = _open(plan, method), plan.seeds[0]
    data, params = read_data(plan), plan.load(seed)
    model = models_of(plan, seed).full
    if (known := validate(str(model), data, params)) is None:
        raise InputError(f"{model}: gives answers no probability (NaN); use another model")
    while (done := len(_ended(study))) < plan.trials:
        started, trial = monotonic(), study.ask()
        settings = settings_of(
            method,
            trial.suggest_categorical("learning_rate", plan.rates),
            trial.suggest_categorical("epochs", plan.epochs),
            trial.suggest_categorical("retain_weight", plan.retain_weights),
        )
        validated = _try(plan, method, seed, settings, known.retain)
        told = "diverged" if validated is None else f"AUC {validated.auc:.3f}, retained {validated.retain:.3f}"
        trial.set_user_attr("seconds", monotonic() - started)
        study.tell(trial, WORST if validated is None else validated.loss)
        print(f"{plan.name}, {method}, trial {done + 1} of {plan.trials}: {' '.join(settings[3:])}: {told}", flush=True)
    best = min(_ended(study), key=lambda trial: trial.value)
    if best.value >= WORST:
        raise InputError(f"{method}: all {plan.trials} trials diverged; give lower rates")
    settings = settings_of(method, *(best.params[name] for name in ("learning_rate", "epochs", "retain_weight")))
    trials = [{"loss": trial.value, **trial.params, **trial.user_attrs} for trial in _ended(study)]
    write_json(chosen, {"settings": settings, "trials": trials})
    return settings


def _try(plan: StudyPlan, method: str, seed: int, settings: list[str], before: float) -> Validated | None:
    """The outcome of one trial; None where its loss or its weights were no numbers."""
    folder, params = plan.folder / "trials" / method, plan.load(seed, settings)
    shutil.rmtree(folder, ignore_errors=True)
    workspace = make_workspace(plan, seed, folder)
    try:
        for step in (TARGETS, UNLEARN):
            step.run(workspace, params)
        return validate(str(workspace.path(Place.MODEL)), read_data(plan), params, before)
    except InputError as error:
        if "of no use" not in str(error):  # diverged; anything else is to be told
            raise
        return None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _drop_half_a_line(file: Path) -> None:
    """Of a journal whose last line a full disk cut, the rest: nothing after such a line could be read."""
    if file.exists() and not (content := file.read_bytes()).endswith(b"\n"):
        write_text(file, content[: content.rfind(b"\n") + 1].decode())


def _ended(study: Any) -> list[Any]:
    return list(study.get_trials(states=[_optuna().trial.TrialState.COMPLETE]))


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError:
        raise InputError("a study needs the package optuna: pip install 'unilogit[study]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _open(plan: StudyPlan, method: str) -> Any:
    """The trials of a method, as far as they got; one that was under way when the process died has failed."""
    optuna = _optuna()
    file = plan.tuned / f"{method}.log"
    file.parent.mkdir(parents=True, exist_ok=True)
    _drop_half_a_line(file)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
    space = {"learning_rate": plan.rates, "epochs": plan.epochs, "retain_weight": plan.retain_weights}
    sampler = optuna.samplers.GridSampler(space, seed=0)  # never the same twice, and the same ones of every method
    study = optuna.create_study(storage=storage, study_name=method, sampler=sampler, load_if_exists=True)
    for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study
