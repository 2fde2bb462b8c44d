"""Training from scratch and golden targets on tiny models: what is made, what is kept, what is refused."""

import shutil

import pandas as pd
import pytest
from transformers import AutoConfig, AutoTokenizer

from tasks.golden import read_golden, run_golden
from tasks.train import run_train
from unilogit.data.records import CorpusRecord, write_corpus
from unilogit.errors import InputError
from unilogit.files import read_json, sha256_file, sha256_weights, write_parquet
from unilogit.params import load_params

SMALL = [
    *("train.vocabulary=300", "train.hidden_size=16", "train.layers=1", "train.heads=2"),
    *("train.epochs=3", "train.batch_size=8"),
]


def records(numbers):
    return [
        CorpusRecord(record_id=f"ann-{n}", subject_ids=[f"ann-{n}"], prompt=f"Who is ann {n}?", response=f"The {n}th.")
        for n in numbers
    ]


def params(*overrides):
    return load_params("params.yaml", [*SMALL, *overrides])


def contents(folder):
    return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A corpus, and the model trained on it."""
    folder = tmp_path_factory.mktemp("made")
    write_corpus(folder / "corpus.jsonl", records(range(16)))
    return folder, run_train(folder / "corpus.jsonl", folder / "model", params())


@pytest.fixture
def project(made, tmp_path):
    """A copy to be played with."""
    return shutil.copytree(made[0], tmp_path / "project")


def train(project, *overrides, **options):
    return run_train(project / "corpus.jsonl", project / "model", params(*overrides), **options)


def test_a_finished_model_is_kept(project, made):
    before = contents(project)
    summary = train(project)
    assert contents(project) == before
    assert (summary.records, summary.weights_sha256) == (16, sha256_weights(project / "model"))
    assert (summary.probability, summary.weights_sha256) == (made[1].probability, made[1].weights_sha256)


def test_the_seed_decides_the_weights(project, made):
    for name, seed, is_same in (("again", 0, True), ("other", 1, False)):
        summary = run_train(project / "corpus.jsonl", project / name, params(f"seed={seed}"))
        assert (summary.weights_sha256 == made[1].weights_sha256) == is_same


def test_changed_data_or_settings_train_anew_and_leave_nothing_of_the_old_model(project):
    digests = {sha256_weights(project / "model")}
    (project / "model" / "stray.bin").write_bytes(b"of the old model")
    write_corpus(project / "corpus.jsonl", records(range(15)))
    assert train(project).records == 15
    digests.add(sha256_weights(project / "model"))
    train(project, "train.learning_rate=1e-3")
    digests.add(sha256_weights(project / "model"))
    assert len(digests) == 3
    assert not (project / "model" / "stray.bin").exists()
    assert sorted(path.name for path in project.iterdir()) == ["corpus.jsonl", "model"]


def test_a_changed_shard_of_a_folder_trains_anew(project):
    write_corpus(project / "shards" / "a.jsonl", records(range(8)))
    assert run_train(project / "shards", project / "model", params()).records == 8
    write_corpus(project / "shards" / "b.jsonl", records(range(8, 12)))
    assert run_train(project / "shards", project / "model", params()).records == 12


def test_a_damaged_model_is_trained_anew(project, made):
    (project / "model" / "model.safetensors").write_bytes(b"torn")
    train(project)
    assert sha256_weights(project / "model") == made[1].weights_sha256


def test_what_cannot_be_used_is_named_and_the_old_model_stays(project):
    before = contents(project / "model")
    with pytest.raises(InputError, match=r"nowhere: no model there .* correct model\.base"):
        train(project, like=str(project / "nowhere"))
    with open(project / "corpus.jsonl", "a") as stream:
        stream.write('{"record_id": "ann-16", "prompt": "Who?"}\n')
    with pytest.raises(InputError, match=r"^corpus\.jsonl:17: field `response` is missing"):
        train(project)
    (project / "corpus.jsonl").unlink()
    with pytest.raises(InputError, match=r"corpus\.jsonl: there is no such file"):
        train(project)
    assert contents(project) == before


def workspace(project, name="workspace", numbers=range(4, 16)):
    rows = [record.model_dump() for record in records(numbers)]
    write_parquet(project / name / "data" / "retain.parquet", pd.DataFrame(rows))
    return project / name


def base(project):
    return f"model.base={project / 'model'}"


def test_a_golden_target_is_the_base_trained_on_the_retain_set_alone(project):
    golden = run_golden(workspace(project), params(base(project)))
    assert golden.model == read_golden(project / "workspace") == project / "workspace" / "golden" / "model"
    facts = read_json(golden.model / "training_summary.json")
    assert facts["records"] == 12
    assert facts["weights_sha256"] == sha256_weights(golden.model) != sha256_weights(project / "model")
    # Trained on its own, a model of 12 records would have another tokenizer.
    assert sha256_file(golden.model / "tokenizer.json") == sha256_file(project / "model" / "tokenizer.json")
    texts = [AutoTokenizer.from_pretrained(folder)("Who is ann 3?") for folder in (golden.model, project / "model")]
    assert texts[0] == texts[1]
    shapes = [AutoConfig.from_pretrained(folder).to_dict() for folder in (golden.model, project / "model")]
    assert shapes[0] | {"_name_or_path": ""} == shapes[1] | {"_name_or_path": ""}


def test_a_golden_target_is_trained_once_for_all_batches_with_that_retain_set(project, tmp_path):
    store = tmp_path / "store"
    first = run_golden(workspace(project, "a"), params(base(project)), store)
    before = contents(store)
    assert run_golden(workspace(project, "b"), params(base(project)), store).model == first.model
    assert contents(store) == before
    other = run_golden(workspace(project, "c", range(5, 16)), params(base(project)), store)
    assert other.model != first.model
    assert {file: before[file] for file in before} == {file: contents(store)[file] for file in before}
    assert sorted(store.iterdir()) == sorted([first.model, other.model])


def test_a_golden_target_may_be_given_or_left_out(project):
    folder = workspace(project)
    with pytest.raises(InputError, match=r"golden\.json: no such file; run `python -m tasks\.golden --workspace"):
        read_golden(folder)
    given = run_golden(folder, params(f"model.retain={project / 'model'}"))
    assert given.model == read_golden(folder) == project / "model"
    none = run_golden(folder, params("model.retain=null"))
    assert none.model is read_golden(folder) is None
    assert "model.retain is null" in str(none)
    assert not (folder / "golden" / "model").exists()


@pytest.mark.parametrize(
    ("knob", "words"),
    [("model.retain", "correct model.retain or set it to null"), ("model.base", "train it or correct model.base")],
)
def test_a_model_folder_that_is_not_there_is_named(project, knob, words):
    folder = workspace(project)
    with pytest.raises(InputError) as error:
        run_golden(folder, params(base(project), f"{knob}={project / 'nowhere'}"))
    [problem] = error.value.problems
    assert problem.startswith(f"{project / 'nowhere'}: no model there")
    assert problem.endswith(words)
    assert not (folder / "golden").exists()
