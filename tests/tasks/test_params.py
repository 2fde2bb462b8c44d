"""params.yaml: what is shipped is valid, and every error is shown at once."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tasks.params import load_params
from unilogit.errors import InputError

SHIPPED = Path("params.yaml")


def test_the_shipped_file_is_valid_and_all_of_it_is_read():
    params = load_params(SHIPPED)
    assert params.as_dict() == yaml.safe_load(SHIPPED.read_text())


def test_all_errors_are_shown_at_once_with_key_value_and_what_is_allowed(tmp_path):
    values = yaml.safe_load(SHIPPED.read_text())
    values["unlearn"]["method"] = "magic"
    values["unlearn"]["epochs"] = 0
    values["data"]["bad_corpus_rows"] = "ignore"
    values["train"]["heads"] = 3
    values["gates"][0]["op"] = "=="
    values["evaluate"]["batchsize"] = 3
    del values["seed"]
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(values))
    with pytest.raises(InputError) as caught:
        load_params(file)
    text = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 7
    for expected in (
        "unlearn.method = 'magic': one of: ceu, dpo, grad_diff, gradient_ascent, ",
        "unlearn.epochs = 0: input should be greater than 0",
        "data.bad_corpus_rows = 'ignore': input should be 'stop' or 'quarantine'",
        "train.heads = 3: must divide hidden_size (128)",
        "gates.0.op = '=='",
        "evaluate.batchsize: no such key",
        "seed: is missing",
    ):
        assert expected in text


def test_bad_overrides_and_bad_values_are_shown_together():
    with pytest.raises(InputError) as caught:
        load_params(SHIPPED, ["nonsense", "unlearn.typo.deep=1", "unlearn.epochs=-1"])
    assert len(caught.value.problems) == 3


def test_overrides_reach_sections_and_lists():
    params = load_params(SHIPPED, ["unlearn.learning_rate=1e-3", "gates.0.threshold=0.5", "data.holdout=null"])
    assert params.unlearn.learning_rate == 1e-3
    assert params.gates[0].threshold == 0.5
    assert params.data.holdout is None


def test_an_override_of_what_the_given_file_lacks_names_that_file(tmp_path):
    ours = tmp_path / "ours.yaml"
    ours.write_bytes(SHIPPED.read_bytes())
    with pytest.raises(InputError) as error:
        load_params(ours, ["unlern.epochs=3"])
    assert error.value.problems == [f"--set unlern.epochs=3: there is no unlern.epochs in {ours}"]


def test_two_gates_of_one_name_are_refused():
    name = load_params(SHIPPED).gates[0].name
    with pytest.raises(InputError, match="must be unique"):
        load_params(SHIPPED, [f"gates.1.name={name}"])


def test_broken_yaml_names_the_line(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("seed: 0\ndata: [1, 2\nmodel: x\n")
    with pytest.raises(InputError, match=r"params\.yaml:3: not valid YAML"):
        load_params(file)


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match="--params FILE"):
        load_params(tmp_path / "params.yaml")


@given(st.binary(max_size=200))
def test_any_file_is_params_or_an_input_error(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("params") / "params.yaml"
    file.write_bytes(content)
    with pytest.raises(InputError):
        load_params(file)


def test_a_misspelt_knob_of_a_method_is_named():
    with pytest.raises(InputError) as error:
        load_params(SHIPPED, ["unlearn.npo={betta: 0.1}"])
    assert error.value.problems == [f"{SHIPPED}: unlearn.npo.betta: no such key; remove it or correct its spelling"]


@pytest.mark.parametrize("name", ["retained", "robustness", "privleak", "retain_divergence", "forget", "general"])
def test_a_group_may_not_take_the_name_of_what_is_measured(name):
    with pytest.raises(InputError, match=f"a group may not be called {name}"):
        load_params(SHIPPED, [f"data.utility_groups=[{name}]"])


def test_what_others_see_names_no_request_file_that_may_be_called_after_somebody(tmp_path, monkeypatch):
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path))
    for location, is_told in (("inbox/requests.csv", True), ("inbox/ann-lee", True), ("inbox/ann-lee.csv", False)):
        params = load_params(SHIPPED, [f"data.requests={location}"])
        shown = params.shown()
        assert (shown["data"]["requests"] == location) == is_told
        assert shown | {"data": None} == params.as_dict() | {"data": None}
