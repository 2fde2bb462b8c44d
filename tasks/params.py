"""Every knob of the pipeline, validated as a whole before anything runs.

params.yaml holds the defaults; this module says what is allowed and reports all errors at once.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, ValidationError, field_validator

from tasks.workspace import pseudonyms
from unilogit.data.prompt_format import check_format, with_prompt_format
from unilogit.errors import InputError
from unilogit.evaluation.config import EvaluateConfig
from unilogit.gates import Gate
from unilogit.training.config import Config, PositiveInt, TrainConfig, UnlearnConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DEFAULT_PARAMS = Path("params.yaml")

TOKENS = ("model.max_length", "model.prompt_format", "model.system_prompt")
"""What it depends on, beside the model, which tokens a record has."""

Name = Annotated[str, Field(min_length=1)]


class Data(Config):
    corpus: Path
    requests: Name
    holdout: Path | None
    utility_groups: list[Name]
    neighbours: Annotated[int, Field(ge=0)]
    bad_corpus_rows: Literal["stop", "quarantine"]
    corpus_mapping: dict[Name, Name | None] | None
    request_mapping: dict[Name, Name] | Literal["opendsr", "data_rights_protocol"] | None

    @field_validator("utility_groups")
    @classmethod
    def _known_sets_are_not_groups(cls, groups: list[str]) -> list[str]:
        taken = {"forget", "forget_all", "retain", "neighbours", "holdout"}  # sets
        # What metrics.json has beside sets.
        taken |= {"model_utility", "membership_inference", "forget_quality", "retain_divergence", "privleak"}
        taken |= {"retained", "robustness", "general", "lm_eval"}
        if clash := sorted(taken.intersection(groups)):
            raise ValueError(f"a group may not be called {', '.join(clash)}")
        return groups


class Model(Config):
    base: Name
    pretrained: Name | None
    start: PositiveInt | None
    retain: Name | None
    unfamiliar: Literal["stop", "continue"]
    contaminated_retain: Literal["stop", "unavailable", "train"]
    max_length: PositiveInt
    prompt_format: Annotated[str, AfterValidator(check_format)]
    system_prompt: str | None

    def formatted(self, tokenizer: "PreTrainedTokenizerBase") -> "PreTrainedTokenizerBase":
        """The tokenizer by which prompts and answers are rendered so; errors as of `with_prompt_format`."""
        return with_prompt_format(tokenizer, self.prompt_format, self.system_prompt)


class Example(Config):
    people: Annotated[int, Field(ge=12, le=1500)]
    unseen_people: Annotated[int, Field(ge=4, le=500)]
    seed: int


class Requests(Config):
    watch_days: PositiveInt
    keep_days: Annotated[int, Field(ge=0)]
    hours_between_runs: Annotated[float, Field(gt=0)]


def _off(value: object) -> object:
    """YAML reads a bare `off` as false."""
    return "off" if value is False else value


class Extract(Config):
    near_duplicates: Annotated[Literal["forget", "review", "off"], BeforeValidator(_off)]
    near_duplicate_threshold: Annotated[float, Field(gt=0, le=1)]


class Batch(Config):
    max_requests: PositiveInt
    max_share_of_corpus: Annotated[float, Field(gt=0, le=1)]
    min_text_length: PositiveInt
    max_attempts: PositiveInt


class Register(Config):
    registered_model: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    experiment: Name
    log_generations: bool
    save: Literal["merged", "adapter"]


class Params(Config):
    """All of params.yaml; see the comments there for what each knob does."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    data: Data
    model: Model
    example: Example
    train: TrainConfig
    requests: Requests
    batch: Batch
    extract: Extract
    unlearn: UnlearnConfig
    evaluate: EvaluateConfig
    gates: Annotated[list[Gate], Field(min_length=1)]
    register_: Register = Field(alias="register")

    @field_validator("gates")
    @classmethod
    def _gate_names_are_unique(cls, gates: list[Gate]) -> list[Gate]:
        names = [gate.name for gate in gates]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"gate names must be unique; more than one is called {', '.join(repeated)}")
        return gates

    def value(self, key: str) -> JsonValue:
        """What stands under a dotted key, e.g. "model.base", as JSON."""
        value: Any = self.as_dict()
        for part in key.split("."):
            value = value[part]
        return value

    def as_dict(self) -> dict[str, Any]:
        """The parameters as plain JSON values, keyed as in params.yaml."""
        return self.model_dump(mode="json", by_alias=True)

    def shown(self) -> dict[str, Any]:
        """`as_dict` for where others see it: a request file goes by a pseudonym where its name may be somebody's."""
        values = self.as_dict()
        values["data"]["requests"] = pseudonyms().location(values["data"]["requests"])
        return values


def load_params(path: Path | str = DEFAULT_PARAMS, overrides: list[str] | None = None) -> Params:
    """Read and validate params.yaml.

    Args:
        path: the YAML file.
        overrides: `section.key=value` strings; the value is read as YAML.

    Raises:
        InputError: with one problem for *every* bad key: its name, its value and what is allowed.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; run from the project's folder or pass --params FILE")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or "not UTF-8 text"
        raise InputError(f"{place}: not valid YAML: {problem}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a mapping of sections, found {type(values).__name__}")
    problems = [problem for text in overrides or [] if (problem := _override(path, values, text))]
    try:
        params = Params.model_validate(values)
    except ValidationError as error:
        problems += [_describe(path, problem) for problem in error.errors()]
        raise InputError(*problems) from None
    if problems:
        raise InputError(*problems)
    return params


def _override(path: Path, values: dict[str, Any], text: str) -> str | None:
    """Set one `section.key=value` in place; a sentence when that cannot be done."""
    key, separator, raw = text.partition("=")
    *sections, last = key.split(".")
    if not separator or not last:
        return f"--set {text}: write it as section.key=value, e.g. unlearn.epochs=5"
    node: Any = values
    try:
        for section in sections:
            node = node[int(section)] if isinstance(node, list) else node[section]
        if isinstance(node, list):
            node[int(last)] = _yaml_value(raw)
        elif isinstance(node, dict):
            node[last] = _yaml_value(raw)
        else:
            raise KeyError(last)
    except (KeyError, IndexError, ValueError, TypeError):
        return f"--set {text}: there is no {key} in {path}"
    except yaml.YAMLError:
        return f"--set {text}: the value is not valid YAML"
    return None


def _yaml_value(raw: str) -> Any:
    value = yaml.safe_load(raw)
    if isinstance(value, str):
        try:
            return float(value)  # YAML 1.1 reads 1e-3 as text; people mean the number
        except ValueError:
            return value
    return value


def _describe(path: Path, problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "(top level)"
    kind = problem["type"]
    if kind == "missing":
        return f"{path}: {key}: is missing; add it"
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):  # of a model, of a method's dataclass
        return f"{path}: {key}: no such key; remove it or correct its spelling"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{path}: {key} = {problem['input']!r}: {message[:1].lower()}{message[1:]}"
