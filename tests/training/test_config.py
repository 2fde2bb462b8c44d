"""Every default is one, in params.yaml and in the library; what cannot be is refused by name."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from unilogit.evaluation.config import EvaluateConfig
from unilogit.losses.npo import Npo
from unilogit.losses.registry import METHODS
from unilogit.training.config import Config, TrainConfig, UnlearnConfig

PARAMS = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("section", "config"), [("unlearn", UnlearnConfig), ("train", TrainConfig), ("evaluate", EvaluateConfig)]
)
def test_params_yaml_holds_the_librarys_defaults(section, config):
    assert config().model_dump(mode="json") == PARAMS[section]
    assert config.model_validate(PARAMS[section]) == config()


@pytest.mark.parametrize("section", ["unlearn", "train"])
def test_every_knob_has_a_comment_or_a_name_that_says_it(section):
    """Layers and heads are what they are called."""
    lines = Path("params.yaml").read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"{section}:"))
    block = []
    for line in lines[start + 1 :]:
        if line and not line.startswith(" "):
            break
        block.append(line)
    bare = [line.split(":")[0].strip() for line in block if ": " in line and "#" not in line]
    assert set(bare) <= {"layers", "heads"}


@pytest.mark.parametrize("config", [UnlearnConfig, TrainConfig])
def test_every_knob_is_documented(config: type[Config]):
    documented = config.__doc__.split("Attributes:")[1]
    names = {name.strip() for line in documented.splitlines() for name in line.split(":")[0].split(",")}
    own = {method.section for method in METHODS.values()}  # documented with the method
    assert set(config.model_fields) - own <= names


def test_a_method_by_its_name_alone_has_every_default():
    assert UnlearnConfig(method="npo") == UnlearnConfig().model_copy(update={"method": "npo"})
    assert UnlearnConfig(method="npo", npo=Npo(beta=0.5)).npo.beta == 0.5
    assert UnlearnConfig.model_validate({"npo": {"beta": 0.5}}).npo == Npo(beta=0.5)


@pytest.mark.parametrize(
    ("values", "place", "message"),
    [
        ({"method": "npoo"}, ("method",), "one of: ceu, "),
        ({"npo": {"beta": 0}}, ("npo", "beta"), "greater than 0"),
        ({"npo": {"beta": float("nan")}}, ("npo", "beta"), "finite number"),
        ({"npo": {"betta": 1}}, ("npo", "betta"), "Unexpected keyword argument"),
        ({"unilogit": {"direction": "up"}}, ("unilogit", "direction"), "'reverse' or 'forward'"),
        ({"rmu": {"layer": -1}}, ("rmu", "layer"), "greater than or equal to 0"),
        ({"wga": {"beta": -1}}, ("wga", "beta"), "greater than or equal to 0"),
        ({"direction": "reverse"}, ("direction",), "not permitted"),
        ({"bf16": "maybe"}, ("bf16",), "one of: auto, true, false"),
        ({"processes": 0}, ("processes",), "one of: auto, a whole number above 0"),
        ({"sharding": "ddp"}, ("sharding",), "'auto', 'none' or 'fsdp'"),
        ({"batch_size": 8, "accumulation": 3}, ("accumulation",), r"must divide batch_size \(8\)"),
    ],
)
def test_what_cannot_be_is_one_problem_that_names_the_knob(values, place, message):
    with pytest.raises(ValidationError, match=message) as error:
        UnlearnConfig.model_validate(values)
    assert [problem["loc"] for problem in error.value.errors()] == [place]


@pytest.mark.parametrize(("heads", "hidden_size"), [(3, 128), (4, 12)])
def test_heads_share_the_width_evenly(heads, hidden_size):
    with pytest.raises(ValidationError, match="heads of even size"):
        TrainConfig(heads=heads, hidden_size=hidden_size)


@pytest.mark.parametrize("value", ["auto", True, False])
def test_bf16_is_auto_or_a_decision(value):
    assert UnlearnConfig(bf16=value).bf16 is value


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        UnlearnConfig().epochs = 3
    with pytest.raises(AttributeError):
        UnlearnConfig().npo.beta = 3.0
