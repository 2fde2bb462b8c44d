"""The purge of real batches: nothing of theirs is left that may not be, and nothing of anybody else's is gone."""

import os
import shutil
import subprocess
import sys

import pandas as pd

from tasks.measurements import measure_once
from tasks.private import open_to_others
from tasks.requests.batches import open_ledger
from tasks.requests.objects import StoredObjects
from tasks.requests.purge import purge
from tasks.requests.purge_plan import plan_file
from tasks.stamp import digest
from tasks.steps import load_step
from tasks.workspace import Place, Workspace, measurements, reproductions
from tests.e2e.leaks import leaks
from tests.tasks.requests.forgetting_home import (
    FORGOTTEN,
    LATER,
    PEOPLE,
    RUN,
    WAITING,
    contents,
    found,
    fulfil,
    later,
    records,
    texts,
)
from unilogit.data.requests import as_request
from unilogit.files import write_parquet

REQUEST = {"request_id": "R-8", "received_at": "2025-03-01T12:00:00Z", "subject_id": "person-1"}


def rows(file):
    """The rows of a table, by what names them."""
    frame = pd.read_parquet(file)
    name = "record_id" if "record_id" in frame else "request_id"
    return {row[name]: row for row in frame.to_dict("records")}


def tables(project):
    return {file: rows(file) for file in (project.folder / "var" / "runs").glob("2*/**/*.parquet")}


def test_everybody_is_found_before_in_the_cache_and_the_remote_too(project):
    for subject in (FORGOTTEN, LATER, WAITING):
        assert found(project, subject) == texts(subject)
        for place in ("runs/.dvc/cache", "dvc-remote", "ledger.db", "mlartifacts"):
            assert found(project, subject, f"var/{place}" if place == "ledger.db" else f"var/{place}/**/*")


def test_nothing_of_a_person_is_left_and_nothing_of_others_is_gone(project):
    before, requests = tables(project), {"R-1"}
    certificate = (project.folder / "var" / "certificates" / "R-1.json").read_bytes()
    done = purge(project.params, later(), RUN)
    assert done.requests == ["R-1"]
    assert found(project, FORGOTTEN) == set()
    assert leaks(project.folder / "inbox", texts(FORGOTTEN)) != set()  # a refused row of a file with an open request
    for subject in (WAITING, LATER):
        assert found(project, subject) == texts(subject)
    theirs = {record["record_id"] for record in records(FORGOTTEN)} | requests
    for file, old in before.items():
        expected = {name: row for name, row in old.items() if name not in theirs}
        pd.testing.assert_frame_equal(pd.DataFrame(rows(file)), pd.DataFrame(expected))
    assert sum(len(theirs & old.keys()) for old in before.values()) >= 12
    assert (project.folder / "var" / "certificates" / "R-1.json").read_bytes() == certificate
    with open_ledger() as ledger:
        ledger.verify_audit()
        states = {row.reference: str(row.state) for row in ledger.requests()}
        assert ledger.history("R-1")[-1].to_state == "purged"
    assert states == {"R-1": "purged", "R-2": "awaiting_promotion", "R-3": "awaiting_promotion"}
    assert list(open_to_others(project.folder / "var")) == []
    assert not plan_file().exists()


def measured(record_ids, said, used):
    """An entry of what was measured, which says something of records and was used last at a time."""
    frame = pd.DataFrame({"record_id": record_ids, "generated": said, "nll": 0.5})
    measure_once(said, str, lambda: (said, {"examples": frame}), ("examples",))
    [entry] = [file.parent for file in measurements().glob("*/stamp.json") if said in file.read_text()]
    os.utime(entry, (used.timestamp(), used.timestamp()))
    return entry


def test_what_was_measured_goes_with_whom_it_names_or_when_nothing_uses_it(project):
    where, _ = records(FORGOTTEN)
    goes = [
        measured([where["record_id"], "other"], "nothing of hers", later()),
        measured(["other"], f"They say: {where['paraphrased_response']}", later()),
        measured(["other"], "ordinary", later(0)),
    ]
    (measurements() / ".torn").mkdir()
    stays = measured(["other"], "still in use", later(2))
    done = purge(project.params, later(), RUN)
    assert list(measurements().iterdir()) == [stays]
    assert {str(entry) for entry in goes} <= set(done.removed)
    assert measure_once("still in use", str, lambda: 1 // 0, ("examples",)).result == "still in use"


def test_evidence_stays_and_so_do_models(project):
    kept = [Place.TRAINING, Place.VERDICT, Place.EXTRACTION, Place.CORPUS_COUNTS, Place.DATA_POINTER, Place.MODEL]
    before = {file: digest(file) for n in (0, 1) for file in map(project.run(n).path, kept)}
    done = purge(project.params, later(), RUN)
    assert {file: digest(file) for file in before} == before
    first, second = project.run(0), project.run(1)
    told = {model.split("var/")[-1] for model in done.models if str(project.folder) in model}
    unlearned = {first.path(Place.MODEL), second.path(Place.MODEL), second.path(Place.PARENT_FILES)}
    unlearned |= {first.path(Place.RETAIN_MODEL_FILES), second.path(Place.RETAIN_MODEL_FILES)}
    assert told == {
        str(first.path(Place.PARENT_FILES)).split("var/")[-1],
        f"runs/{second.root.name}/checkpoints/checkpoint-3",
    }
    assert not told & {str(path).split("var/")[-1] for path in unlearned}


def test_what_is_left_is_named_with_what_to_do(project):
    done = purge(project.params, later(), RUN)
    assert len(done.left) == 2
    told = "\n".join(done.left)
    assert "corpus.jsonl: the corpus: remove them there; whole records are left out of the next batches" in told
    assert "others' in it have not ended" in told
    assert "both.jsonl" not in str(done)
    assert not any(secret in str(done) for secret in texts(FORGOTTEN))


def test_what_may_not_be_changed_or_cannot_be_read_is_named(project):
    model, run = project.run(1).path(Place.MODEL), project.run(0)
    kept = {
        model / "vocab.txt": FORGOTTEN,
        project.folder
        / "var"
        / "mlartifacts"
        / "1"
        / "models"
        / "m-1"
        / "artifacts"
        / "words.json": f'["{FORGOTTEN}"]',
        run.path(Place.GATES): f'["{FORGOTTEN}"]',
        run.root.parent / "of-nobody" / "notes.txt": f"{FORGOTTEN} called",
        run.root / "broken.parquet": "PAR1 and no more",
        project.folder / ".dvc" / "cache" / "files" / "object": f"{FORGOTTEN} again",
    }
    for file, text in kept.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    done = purge(project.params, later(), RUN)
    assert {file: file.read_text() for file in kept} == kept
    told = {line.partition(": ")[0] for line in done.left}
    assert told >= {str(file) for file in kept}


def test_an_inbox_that_is_a_url_is_said_not_to_be_looked_through(project):
    url = f"file://{project.folder}/inbox"
    data = project.params.data.model_copy(update={"requests": url})
    done = purge(project.params.model_copy(update={"data": data}), later(), RUN)
    assert f"{url}: is not looked through" in str(done)


def test_a_second_purge_changes_nothing(project):
    purge(project.params, later(), RUN)
    before = contents(project)
    again = purge(project.params, later(), RUN)
    assert (again.requests, again.rewritten, again.removed, again.objects) == ([], [], [], 0)
    assert contents(project) == before


def test_nobody_goes_before_time(project):
    before = contents(project)
    done = purge(project.params, later(29), RUN)
    assert done.requests == []
    assert contents(project) == before


def test_purge_waits_while_a_batch_is_open(project):
    with open_ledger() as ledger:
        ledger.receive("more", "f" * 64, [as_request(REQUEST, "more", 1)], [], RUN)
        batch = ledger.open_batch(10, RUN, corpus="", max_attempts=9)
    before = contents(project)
    done = purge(project.params, later(), RUN)
    assert batch.batch_id in str(done)
    assert contents(project) == before
    assert "nothing is purged yet" in str(done)


def test_one_after_another_until_nobody_is_left(project):
    purge(project.params, later(), RUN)
    fulfil("R-3")
    purge(project.params, later(), RUN)
    assert found(project, LATER) == set()
    assert found(project, WAITING) == texts(WAITING)
    fulfil("R-2")
    done = purge(project.params, later(), RUN)
    assert done.requests == ["R-2"]
    for subject in (FORGOTTEN, LATER, WAITING):
        assert found(project, subject) == set()
    assert not list((project.folder / "inbox").iterdir())
    assert not list((project.folder / "var" / "intake").iterdir())
    facts = rows(project.run(1).path(Place.RETAIN))
    assert len(facts) == 20 + 2 * (len(PEOPLE) - 3)


def test_a_record_that_another_request_names_stays_until_that_is_over_too(project):
    file = project.run(1).path(Place.FORGET)
    frame = pd.read_parquet(file)
    shared = f"{FORGOTTEN}-pet"
    frame["request_ids"] = [
        ["R-1", "R-3"] if name == shared else ids
        for name, ids in zip(frame["record_id"], frame["request_ids"], strict=True)
    ]
    write_parquet(file, frame)
    purge(project.params, later(), RUN)
    assert shared in rows(file)
    assert f"{FORGOTTEN}-where" not in rows(file)
    assert found(project, FORGOTTEN) == {FORGOTTEN, records(FORGOTTEN)[1]["prompt"]}
    fulfil("R-3")
    purge(project.params, later(), RUN)
    assert shared not in rows(file)
    assert found(project, FORGOTTEN) - {FORGOTTEN} == set()


def test_an_object_that_the_cache_has_lost_leaves_the_remote(project, monkeypatch):
    shutil.rmtree(project.folder / "var" / "runs" / ".dvc" / "cache")
    monkeypatch.setattr(StoredObjects, "folders", property(lambda objects: []))  # as of a remote on another machine
    done = purge(project.params, later(), RUN)
    assert done.objects == 2  # the forget sets of both batches
    assert found(project, FORGOTTEN, "var/dvc-remote/**/*") == set()
    assert found(project, LATER, "var/dvc-remote/**/*")  # in the retain set of the first batch


def test_what_others_share_with_them_stays_in_dvc_and_the_next_run_is_stored(project):
    purge(project.params, later(), RUN)
    first = Workspace(project.run(0).root.with_name("20990101-000000-abcdef"))
    shutil.copytree(project.run(0).path(Place.DATA), first.path(Place.DATA))
    stored = load_step("store").run(first, project.params).result
    shutil.rmtree(first.path(Place.DATA))
    shutil.rmtree(project.folder / "var" / "runs" / ".dvc" / "cache")
    pull = [sys.executable, "-m", "dvc", "pull", "--quiet", f"{first.root.name}/data.dvc"]
    subprocess.run(pull, cwd=first.root.parent, check=True)
    assert stored.data_md5
    assert digest(first.path(Place.DATA)) == digest(project.run(0).path(Place.DATA))


def test_what_errors_said_goes_with_whom_it_quotes_and_with_its_time(project):
    folder = project.folder / "var" / "defects"
    folder.mkdir()
    for name, said in {"theirs": min(texts(FORGOTTEN)), "others": min(texts(WAITING)), "old": "nothing"}.items():
        (folder / name).write_text(f"KeyError: {said}")
    os.utime(folder / "old", (0, 0))
    for name in ("theirs", "others"):
        os.utime(folder / name, (later().timestamp(), later().timestamp()))
    done = purge(project.params, later(), RUN)
    assert {str(folder / "theirs"), str(folder / "old")} <= set(done.removed)
    assert [file.name for file in folder.iterdir()] == ["others"]


def test_what_is_left_of_a_version_that_was_made_again_goes(project):
    shutil.copytree(project.run(0).path(Place.DATA), reproductions() / "model-1" / "workspace" / Place.DATA)
    done = purge(project.params, later(), RUN)
    assert str(reproductions()) in done.removed
    assert not reproductions().exists()
    assert found(project, FORGOTTEN) == set()
