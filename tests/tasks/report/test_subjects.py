"""People under pseudonyms: numbered in no order of theirs, always alike, worst first."""

import pytest

from tasks.report.subjects import NOBODY, read_forgotten, sample_generations, subject_table, write_pseudonyms
from tasks.workspace import Place, Pseudonyms
from tests.tasks.workspaces import add_people, build, forget_set
from unilogit.files import write_parquet


@pytest.fixture
def workspace(tmp_path):
    return build(tmp_path / "batch-7", ratios=None)


def table(workspace):
    forgotten = read_forgotten(workspace)
    names = write_pseudonyms(workspace, forgotten)
    return {row.pseudonym: row for row in subject_table(forgotten, names)}, names


def test_pseudonyms_do_not_follow_the_ids_and_the_key_is_kept(workspace):
    ids = [f"P-{place:03}" for place in range(40)]
    add_people(workspace, [[subject] for subject in ids])
    _, names = table(workspace)
    assert sorted(names.values()) == [f"S-{place:03}" for place in range(1, 41)]
    assert [names[subject] for subject in ids] != sorted(names.values())
    kept = workspace.read(Pseudonyms).subjects
    assert {subject: name for name, subject in kept.items()} == names
    assert table(workspace)[1] == names


def test_one_who_knows_the_ids_but_not_the_texts_cannot_tell_the_order(workspace):
    ids = [[f"P-{place:03}"] for place in range(40)]
    write_parquet(workspace.path(Place.FORGET), forget_set(ids))
    names = table(workspace)[1]
    other_texts = forget_set(ids).assign(response="something else")
    write_parquet(workspace.path(Place.FORGET), other_texts)
    assert table(workspace)[1] != names


def test_a_person_is_the_mean_of_the_persons_records(workspace):
    add_people(workspace, [["ada"], ["ada", "bob"], []], [0.2, 0.4, 0.9])
    rows, names = table(workspace)
    assert list(rows) == [NOBODY, names["bob"], names["ada"]]
    assert (rows[names["ada"]].records, rows[names["bob"]].records, rows[NOBODY].records) == (2, 1, 1)
    means = {subject: rows[name].means for subject, name in names.items()}
    assert means["ada"]["answer probability, after"] == pytest.approx(0.3)
    assert means["ada"]["ROUGE-L recall, after"] == pytest.approx(0.3)
    assert means["bob"]["extraction strength, after"] == pytest.approx(0.2)
    assert means["ada"]["answer probability, before"] > 0.9
    assert means["ada"]["answer probability, retain model"] < 0.1


def test_people_of_earlier_batches_are_not_listed(workspace):
    write_parquet(workspace.path(Place.FORGET), forget_set([["ada"]], batch="earlier"))
    assert table(workspace) == ({}, {})


def test_what_was_not_measured_is_none(workspace):
    write_parquet(workspace.path(Place.FORGET), forget_set([["ada"]]))
    rows, names = table(workspace)
    [name] = names.values()
    assert rows[name].records == 1
    assert set(rows[name].means.values()) == {None}
    assert sample_generations(read_forgotten(workspace)) == []


def test_samples_are_the_best_remembered_and_not_too_long(workspace):
    add_people(workspace, [["ada"]] * 15, [place / 20 for place in range(15)])
    forgotten = read_forgotten(workspace)
    samples = sample_generations(forgotten)
    assert [sample.record_id for sample in samples] == [f"record-{place}" for place in range(14, 4, -1)]
    assert samples[0].said["after"] == "after says Odalys 14"
    [long] = sample_generations(forgotten.assign(response="x" * 5000), 1)
    assert long.reference == "x" * 1000 + "…"
