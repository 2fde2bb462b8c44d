"""Training from scratch on tiny models: what is made, what is kept, what is refused."""

import shutil

import pytest

from tasks.steps.train import STEP, train_model
from tasks.workspace import Workspace
from tests.tasks.steps.prepare import loader
from unilogit.data.records import CorpusRecord, write_corpus
from unilogit.errors import InputError
from unilogit.files import sha256_weights

SMALL = [
    *("train.vocabulary=300", "train.hidden_size=16", "train.layers=1", "train.heads=2"),
    *("train.epochs=3", "train.batch_size=8"),
]
params = loader(*SMALL)


def records(numbers):
    return [
        CorpusRecord(record_id=f"ann-{n}", subject_ids=[f"ann-{n}"], prompt=f"Who is ann {n}?", response=f"The {n}th.")
        for n in numbers
    ]


def contents(folder):
    return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A corpus, and the model trained on it."""
    folder = tmp_path_factory.mktemp("made")
    write_corpus(folder / "corpus.jsonl", records(range(16)))
    return folder, STEP.run(Workspace(folder), params()).result


@pytest.fixture
def project(made, tmp_path):
    """A copy to be played with."""
    return shutil.copytree(made[0], tmp_path / "project")


def train(project, *overrides):
    return STEP.run(Workspace(project), params(*overrides))


def test_a_finished_model_is_kept(project, made):
    before = contents(project)
    outcome = train(project)
    assert outcome.kept
    assert contents(project) == before
    assert (outcome.result.records, outcome.result.weights_sha256) == (16, sha256_weights(project / "model"))
    assert outcome.result.probability == made[1].probability


def test_the_seed_decides_the_weights(project, made):
    for name, seed, is_same in (("again", 0, True), ("other", 1, False)):
        trained = train_model(project / "corpus.jsonl", project / name, params(f"seed={seed}"))
        assert (trained.weights_sha256 == made[1].weights_sha256) == is_same


def test_changed_data_or_settings_train_anew_and_leave_nothing_of_the_old_model(project):
    digests = {sha256_weights(project / "model")}
    (project / "model" / "stray.bin").write_bytes(b"of the old model")
    write_corpus(project / "corpus.jsonl", records(range(15)))
    assert train(project).result.records == 15
    digests.add(sha256_weights(project / "model"))
    train(project, "train.learning_rate=1e-3")
    digests.add(sha256_weights(project / "model"))
    assert len(digests) == 3
    assert not (project / "model" / "stray.bin").exists()
    assert sorted(path.name for path in project.iterdir()) == [".stamps", "corpus.jsonl", "model"]


def test_a_damaged_model_is_trained_anew(project, made):
    (project / "model" / "model.safetensors").write_bytes(b"torn")
    assert not train(project).kept
    assert sha256_weights(project / "model") == made[1].weights_sha256


def test_what_cannot_be_used_is_named_and_the_old_model_stays(project):
    before = contents(project / "model")
    with pytest.raises(InputError, match=r"nowhere: no model there .* correct model\.base"):
        train_model(project / "corpus.jsonl", project / "model", params(), architecture=str(project / "nowhere"))
    with open(project / "corpus.jsonl", "a") as stream:
        stream.write('{"record_id": "ann-16", "prompt": "Who?"}\n')
    with pytest.raises(InputError, match=r"^corpus\.jsonl:17: field `response` is missing"):
        train(project)
    (project / "corpus.jsonl").unlink()
    with pytest.raises(InputError, match=r"corpus\.jsonl: no such file"):
        train(project)
    assert contents(project / "model") == before
