"""From a purge to the next batch, whose corpus still holds the person: nobody comes back."""

import json

import pandas as pd
import pytest

from tasks.requests.batches import open_ledger, take_batch, take_in
from tasks.requests.purge import purge
from tasks.requests.purge_plan import plan_file
from tasks.requests.suppressions import put_on_list
from tasks.steps import load_step
from tasks.workspace import Extraction, Place, home, pseudonyms
from tests.tasks.requests.forgetting_home import FORGOTTEN, RUN, found, later, records, texts
from unilogit.data.suppression import Identity, Mark, SuppressionList
from unilogit.errors import InputError


def next_batch(project, subject="person-1"):
    """The batch of one more request."""
    file = project.folder / "inbox" / "next.jsonl"
    file.write_text(json.dumps({"request_id": "R-8", "received_at": "2025-03-01T12:00:00Z", "subject_id": subject}))
    take_in(str(file), project.params, RUN)
    return take_batch(project.params, False, RUN).workspace


def extract(project, workspace):
    for step in ("validate", "extract"):
        load_step(step).run(workspace, project.params)
    return workspace.read(Extraction)


def add(file, *rows):
    with open(file, "a", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)


def test_who_was_purged_does_not_come_back_with_a_corpus_that_holds_them(project):
    purge(project.params, later(), RUN)
    where, _ = records(FORGOTTEN)
    paraphrase = f"{where['paraphrased_prompt']} {where['paraphrased_response']}"
    late = [
        {"record_id": "late-1", "subject_ids": ["person-2", FORGOTTEN.upper()], "prompt": "", "response": "They met."},
        {"record_id": "late-2", "prompt": f"{where['prompt']} ", "response": where["response"].replace("\n", "  ")},
        {"record_id": "late-3", "prompt": "", "response": paraphrase},
    ]
    add(project.folder / "corpus.jsonl", *late)
    add(project.folder / "holdout.jsonl", {**late[0], "record_id": "u9", "subject_ids": [FORGOTTEN]})
    workspace = next_batch(project)
    counts = extract(project, workspace)
    theirs = {record["record_id"] for record in [*records(FORGOTTEN), *late]}
    for place in (Place.FORGET, Place.RETAIN, Place.NEIGHBOURS, Place.HOLDOUT, Place.IN_REVIEW):
        frame = pd.read_parquet(workspace.path(place))
        assert theirs.isdisjoint(frame["record_id"])
        assert not any(FORGOTTEN in ids for ids in frame["subject_ids"])
    assert (counts.suppressed, counts.forget) == (6, 2)
    total = len(pd.read_parquet(workspace.path(Place.CORPUS)))
    assert counts.retain == len(pd.read_parquet(workspace.path(Place.RETAIN))) == total - 5 - 2 - counts.earlier
    listed = pd.read_csv(workspace.path(Place.SUPPRESSED))
    lines = (project.folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(lines[row - 1])["record_id"] for row in listed["row"]} == theirs
    assert set(listed["request"]) == {"R-1"}
    corpus, holdout = counts.warnings[-2:]
    assert "5 records are of people whose requests are purged (R-1)" in corpus
    assert f"corpus.jsonl:{len(lines)}" in corpus
    assert "holdout.jsonl: 1 records are of people" in holdout
    assert not any(secret in str(counts) for secret in texts(FORGOTTEN))


def test_a_new_request_of_somebody_who_was_purged_is_served(project):
    purge(project.params, later(), RUN)
    counts = extract(project, next_batch(project, FORGOTTEN))
    assert (counts.matches["R-8"], counts.suppressed) == ({"subject_id": 2}, 0)


def test_the_list_says_nothing_and_names_nobody_else(project):
    purge(project.params, later(), RUN)
    with open_ledger() as ledger:
        digests = ledger.suppressions(pseudonyms().check)
    assert set(digests.values()) == {"R-1"}
    assert len(digests) == 1 + 2 * 2 + 1  # the person, two records' ids and texts, a paraphrase
    assert found(project, FORGOTTEN, "var/ledger.db") == set()


def test_what_was_not_fulfilled_is_not_listed(project):
    with open_ledger() as ledger:
        put_on_list(["R-2", "R-3"], ledger, [project.run(0), project.run(1)])
        assert ledger.suppressions(pseudonyms().check) == {}


def test_a_home_with_another_key_is_refused_before_it_does_anything(project):
    with open_ledger() as ledger:
        ledger.suppress({"0" * 64: "R-0"}, "0" * 16)
    with pytest.raises(InputError, match="made under another key"):
        purge(project.params, later(), RUN)
    assert found(project, FORGOTTEN) == texts(FORGOTTEN)
    assert not plan_file().exists()
    with pytest.raises(InputError, match="made under another key"):
        next_batch(project)
    with open_ledger() as ledger:
        assert len(ledger.batches()) == 2


def test_a_batch_goes_on_with_the_key_alone_that_it_was_taken_with(project):
    purge(project.params, later(), RUN)
    workspace = next_batch(project)
    load_step("validate").run(workspace, project.params)
    (home() / "keys" / "pseudonyms.key").unlink()
    with pytest.raises(InputError, match="made under another key"):
        load_step("extract").run(workspace, project.params)


def test_sets_of_before_conversations_go_on_the_list_as_well(project):
    """They have no column for the turns before a prompt."""
    texts_on_list = set()
    for file in home().glob(f"runs/*/{Place.FORGET}"):
        forget = pd.read_parquet(file).drop(columns=["history", "system", "conversation_id"])
        forget.to_parquet(file)
        marks = [Mark(Identity.TEXT, f"{row.prompt}\n{row.response}") for row in forget.itertuples()]
        texts_on_list.update(SuppressionList(pseudonyms(), {}).digests(marks))
    purge(project.params, later(), RUN)
    with open_ledger() as ledger:
        listed = set(ledger.suppressions(pseudonyms().check))
    assert texts_on_list & listed
