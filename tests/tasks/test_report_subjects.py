"""People under pseudonyms: numbered in no order of theirs, always alike, worst first."""

import pytest

from tasks.report_subjects import NOBODY, read_forgotten, sample_generations, subject_table, write_pseudonyms
from tests.tasks.workspaces import add_people, build, forget_set
from unilogit.files import read_json, write_parquet


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
    kept = read_json(workspace / "subjects.json")["subjects"]
    assert {subject: name for name, subject in kept.items()} == names
    assert table(workspace)[1] == names


def test_one_who_knows_the_ids_but_not_the_texts_cannot_tell_the_order(workspace):
    ids = [[f"P-{place:03}"] for place in range(40)]
    write_parquet(workspace / "data" / "forget.parquet", forget_set(ids))
    names = table(workspace)[1]
    other_texts = forget_set(ids).assign(response="something else")
    write_parquet(workspace / "data" / "forget.parquet", other_texts)
    assert table(workspace)[1] != names


def test_a_person_is_the_mean_of_the_persons_records(workspace):
    add_people(workspace, [["ada"], ["ada", "bob"], []], [0.2, 0.4, 0.9])
    rows, names = table(workspace)
    assert list(rows) == [NOBODY, names["bob"], names["ada"]]
    assert (rows[names["ada"]].records, rows[names["bob"]].records, rows[NOBODY].records) == (2, 1, 1)
    assert rows[names["ada"]].probability_after == pytest.approx(0.3)
    assert rows[names["bob"]].extraction_after == pytest.approx(0.2)
    assert rows[names["ada"]].probability_before > 0.9


def test_people_of_earlier_batches_are_not_listed(workspace):
    write_parquet(workspace / "data" / "forget.parquet", forget_set([["ada"]], batch="earlier"))
    assert table(workspace) == ({}, {})


def test_what_was_not_measured_is_none(workspace):
    write_parquet(workspace / "data" / "forget.parquet", forget_set([["ada"]]))
    rows, names = table(workspace)
    row = rows[names["ada"]]
    assert (row.records, row.probability_before, row.rouge_after, row.extraction_after) == (1, None, None, None)
    assert sample_generations(read_forgotten(workspace)) == []


def test_samples_are_the_best_remembered_and_not_too_long(workspace):
    add_people(workspace, [["ada"]] * 15, [place / 20 for place in range(15)])
    forgotten = read_forgotten(workspace)
    samples = sample_generations(forgotten)
    assert [sample.record_id for sample in samples] == [f"record-{place}" for place in range(14, 4, -1)]
    assert samples[0].said["after"] == "after says Odalys 14"
    [long] = sample_generations(forgotten.assign(response="x" * 5000), 1)
    assert long.reference == "x" * 1000 + "…"
