"""Two batches of a model that is somebody's adapter, or gets one, from step to step: the base is never touched.

Real steps, MLflow on SQLite, DVC; a model whose tokenizer knows thirty words.
"""

import shutil
from contextlib import contextmanager

import mlflow
import pytest
import torch
import yaml

from tasks.dvc import stages as dvc_stages
from tasks.registry.connection import client, connect
from tasks.registry.reproduce import reproduce
from tasks.registry.versions import why_not_whole
from tasks.requests.promotion import promote
from tasks.stamp import digest
from tasks.steps.parent import STEP as PARENT
from tasks.steps.register import run_register
from tasks.steps.store import run_store
from tasks.steps.targets import STEP as TARGETS
from tasks.steps.unlearn import STEP as UNLEARN
from tasks.workspace import ParentModel, Place
from tests.adapted import merged_by_hand, save_random_adapter
from tests.tasks.conftest import PARAMS
from tests.tasks.steps.prepare import loader
from tests.tasks.workspaces import build_registrable, forget_set, save_model
from unilogit.adapters import CONFIG, find_adapter
from unilogit.errors import InputError
from unilogit.files import read_json, sha256_weights, write_json, write_parquet
from unilogit.model import load_model

pytestmark = pytest.mark.slow

NAME = "example-assistant"
WEIGHTS = "adapter_model.safetensors"
params = loader(
    *("unlearn.epochs=2", "unlearn.min_steps=1", "unlearn.batch_size=1", "unlearn.retain_per_forget=1"),
    *("unlearn.learning_rate=1e-2", "register.save=adapter"),
    file=PARAMS,
)


@pytest.fixture(scope="module")
def home(tmp_path_factory, empty_database):
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("UNILOGIT_HOME", str(folder / "var"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        (folder / "var").mkdir()
        shutil.copy(empty_database, folder / "var" / "mlflow.db")
        yield folder / "var"


@pytest.fixture(scope="module")
def base(home):
    """A base, and whose digest it had."""
    save_model(home / "base", 3)
    return home / "base"


@pytest.fixture(scope="module")
def own(home, base):
    """Somebody's adapter on it, which names it relatively."""
    folder = save_random_adapter(home / "own", base)
    write_json(folder / CONFIG, read_json(folder / CONFIG) | {"base_model_name_or_path": "../base"})
    return folder


def run_batch(home, batch, settings):
    """From the choice of the parent to a registered version."""
    workspace = build_registrable(home / "runs" / batch, settings)
    for place in (Place.PARENT, Place.TRAINING):
        workspace.path(place).unlink()
    shutil.rmtree(workspace.path(Place.MODEL))
    for place, count, column in ((Place.RETAIN, 6, {}), (Place.NEIGHBOURS, 2, {}), (Place.HOLDOUT, 3, {"use": "stop"})):
        write_parquet(workspace.path(place), forget_set([[f"{place.name}-{n}"] for n in range(count)]).assign(**column))
    PARENT.run(workspace, settings)
    TARGETS.run(workspace, settings)
    UNLEARN.run(workspace, settings)
    run_store(workspace, settings)
    return workspace, run_register(workspace, settings)


@pytest.fixture(scope="module")
def life(home, base, own):
    """Two batches; the first one's version was promoted."""
    settings = params(f"model.base={own}")
    first = run_batch(home, "batch-1", settings)
    promote(NAME, "1", "a reviewer")
    return first, run_batch(home, "batch-2", settings)


def weights(folder):
    return {name: tensor.cpu() for name, tensor in load_model(str(folder), own_dtype=True)[0].state_dict().items()}


def assert_same(one, other, tolerance):
    assert one.keys() == other.keys()
    assert max((one[name].double() - other[name].double()).abs().max().item() for name in one) <= tolerance


def test_each_version_is_an_adapter_of_other_weights_on_the_same_base(life, base, own):
    digests = [sha256_weights(own)]
    for workspace, registration in life:
        model = workspace.path(Place.MODEL)
        assert sorted(file.name for file in model.glob("*.safetensors")) == [WEIGHTS]
        assert find_adapter(str(model)).base == str(base.absolute())
        config = read_json(model / CONFIG)
        assert (config["r"], config["lora_alpha"], sorted(config["target_modules"])) == (3, 5, ["down_proj", "q_proj"])
        assert registration.tags["base_weights_sha256"] == sha256_weights(base)
        assert registration.tags["base_model"] == str(base.absolute())
        assert registration.tags["weights_sha256"] == sha256_weights(model)
        digests.append(sha256_weights(model))
        assert_same(weights(model), merged_by_hand(base, model, 5 / 3), 1e-6)
    assert len(set(digests)) == 3


def test_the_base_is_untouched_and_the_next_batch_starts_from_the_version_before(life, base, home, tmp_path):
    save_model(tmp_path / "again", 3)
    assert sha256_weights(base) == sha256_weights(tmp_path / "again")
    (first, _), (second, registration) = life
    parent = second.read(ParentModel)
    assert (parent.version, registration.tags["parent_version"]) == ("1", "1")
    assert sha256_weights(parent.model) == sha256_weights(first.path(Place.MODEL))
    assert_same(weights(parent.model), weights(first.path(Place.MODEL)), 0)
    assert (
        "an adapter on: UNILOGIT_HOME/base, which is as it was without it"
        in client().get_model_version(NAME, "2").description
    )


def test_what_mlflow_loads_is_what_was_evaluated(life, base, tmp_path):
    workspace, registration = life[1]
    evaluated = load_model(str(workspace.path(Place.MODEL)))[0].cpu()
    with connect():
        pipeline = mlflow.transformers.load_model(f"models:/{NAME}/{registration.version}")
        served = mlflow.pyfunc.load_model(f"models:/{NAME}/{registration.version}")
    ids = torch.tensor([[5, 9, 17]])
    with torch.no_grad():
        logits = pipeline.model.to("cpu")(input_ids=ids).logits
        torch.testing.assert_close(logits, evaluated(input_ids=ids).logits, rtol=1e-4, atol=1e-4)
    assert isinstance(served.predict("word3 word7")[0], str)
    with connect():
        files = mlflow.artifacts.download_artifacts(f"models:/{NAME}/2", dst_path=str(tmp_path))
        elsewhere = mlflow.transformers.load_model(
            f"models:/{NAME}/2", base_model_path=str(shutil.copytree(base, tmp_path / "elsewhere"))
        )
    assert_same(weights(f"{files}/peft"), weights(workspace.path(Place.MODEL)), 0)
    with torch.no_grad():
        torch.testing.assert_close(elsewhere.model.to("cpu")(input_ids=ids).logits, logits)
    assert pipeline.tokenizer("word3 word7")["input_ids"] == [5, 9]


def test_both_versions_are_reproduced_bit_for_bit(life):
    for version in ("1", "2"):
        assert reproduce(NAME, version, tell=[].append).is_same


def test_a_version_whose_files_or_base_changed_is_noticed(life, home, base, own):
    store = client()
    assert why_not_whole(store, NAME, "1") is None
    with other_weights(base):
        assert f"it is an adapter on {base}, whose weights are not those" in str(why_not_whole(store, NAME, "1"))
        workspace = build_registrable(home / "runs" / "batch-3", params())
        with pytest.raises(InputError, match=r"version 1 is an adapter on .*base, and .* has other weights"):
            PARENT.run(workspace, params(f"model.base={own}"))
        with pytest.raises(InputError, match=r"version 2 is an adapter on|version 1 is an adapter on"):
            reproduce(NAME, "2", tell=[].append)
    [file] = (home / "mlartifacts").rglob(
        f"{store.get_model_version(NAME, '1').source.rpartition('/')[2]}/**/{WEIGHTS}"
    )
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + b"x")
    assert "its weights are not those" in str(why_not_whole(store, NAME, "1"))
    file.write_bytes(whole)


@contextmanager
def other_weights(folder):
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + b"\x01")
    yield
    file.write_bytes(whole)


def test_a_champion_whose_base_was_moved_is_found_on_it(life, home, base, tmp_path):
    moved = shutil.copytree(base, tmp_path / "moved")
    workspace = build_registrable(home / "runs" / "batch-4", params())
    chosen = PARENT.run(workspace, params(f"model.base={moved}")).result
    assert (chosen.version, find_adapter(chosen.model).base) == ("1", str(moved))
    shutil.rmtree(workspace.root)


def test_changes_of_the_base_are_changes_of_the_adapter(base, own):
    before = digest(own)
    with other_weights(base):
        assert digest(own) != before
        assert digest(own.parent) != before
    assert digest(own) == before
    stages = yaml.safe_load(dvc_stages(params(f"model.base={own}")))["stages"]
    assert all({str(own), str(own / "../base")} <= set(stages[name]["deps"]) for name in ("parent", "retain_model"))


def test_a_champion_that_is_an_adapter_can_become_a_whole_model(life, home):
    settings = params("register.save=merged", f"model.base={home / 'own'}")
    workspace, registration = run_batch(home, "batch-5", settings)
    assert workspace.read(ParentModel).version == "1"
    assert (workspace.path(Place.MODEL) / "model.safetensors").is_file()
    assert "base_model" not in registration.tags
    shutil.rmtree(workspace.root)


def test_a_whole_model_gets_an_adapter_which_the_next_batch_trains_further(home, base):
    settings = params(f"model.base={base}", "unlearn.lora_rank=2", "register.registered_model=whole")
    first, _ = run_batch(home, "batch-6", settings)
    model = first.path(Place.MODEL)
    assert find_adapter(str(model)).base == str(base.absolute())
    assert_same(weights(model), merged_by_hand(base, model, 2.0), 1e-6)
    promote("whole", "1", "a reviewer")
    second, _ = run_batch(home, "batch-7", settings)
    assert second.read(ParentModel).version == "1"
    assert find_adapter(str(second.path(Place.MODEL))).base == str(base.absolute())
    assert read_json(second.path(Place.MODEL, CONFIG))["r"] == 2
    assert sha256_weights(second.path(Place.MODEL)) != sha256_weights(model)
    assert_same(weights(second.path(Place.MODEL)), merged_by_hand(base, second.path(Place.MODEL), 2.0), 1e-6)


def test_an_adapter_that_cannot_be_made_is_refused_before_anything_is_trained(home, base):
    workspace = build_registrable(home / "runs" / "batch-8", params())
    with pytest.raises(
        InputError, match=r"is a whole model and unlearn\.lora_rank is null; set unlearn\.lora_rank, or"
    ):
        PARENT.run(workspace, params(f"model.base={base}", "register.registered_model=none-yet"))
    merged = params(f"model.base={base}", "register.registered_model=merged", "register.save=merged")
    run_batch(home, "batch-9", merged)
    promote("merged", "1", "a reviewer")
    settings = params(f"model.base={base}", "register.registered_model=merged", "unlearn.lora_rank=2")
    with pytest.raises(InputError, match=r"the champion, version 1, is a whole model.*set register\.save to merged"):
        PARENT.run(workspace, settings)
