"""TOFU in files of its format: every field in its place, every author known by the rows of full."""

import json
import os
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unilogit.errors import InputError
from unilogit.evaluation.benchmarks.tofu import read_tofu


def qa(name, number):
    return {"question": f"What of {name} {number}?", "answer": f"It is {name}, {number}."}


def perturbed(row, paraphrased=True):
    other = {"paraphrased_question": f"Say: {row['question']}", "paraphrased_answer": f"So {row['answer']}"}
    return row | (other if paraphrased else {}) | {"perturbed_answer": [f"no {row['answer']}", "no", "never"]}


def tables(authors=10, forgotten=1, holdouts=("holdout10",)):
    full = [qa("a", number) for number in range(20 * authors)]
    at = 20 * (authors - forgotten)
    return {
        "full": full,
        **dict.fromkeys(("retain90", "retain95", "retain99"), full[:at]),
        **{f"{name}_perturbed": [perturbed(row) for row in full[at:]] for name in ("forget01", "forget05", "forget10")},
        "retain_perturbed": [perturbed(row) for row in full[:at:7]],
        "real_authors_perturbed": [perturbed(qa("r", number), False) for number in range(3)],
        "world_facts_perturbed": [perturbed(qa("w", number), False) for number in range(4)],
        **{name: [qa(name, number) for number in range(5)] for name in holdouts},
    }


def write(folder, content):
    for name, rows in content.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_every_field_has_its_place(tmp_path):
    content = tables()
    suite = read_tofu(write(tmp_path, content), "forget05")
    assert suite.name == "tofu forget05"
    assert list(suite.sets) == ["forget", "retain", "real_authors", "world_facts", "holdout"]
    assert suite.utility_sets == ("retain", "real_authors", "world_facts")
    names = ["forget05_perturbed", "retain_perturbed", "real_authors_perturbed", "world_facts_perturbed", "holdout10"]
    for records, name in zip(suite.sets.values(), names, strict=True):
        back = [
            {
                "question": record.prompt,
                "answer": record.response,
                "paraphrased_question": record.paraphrased_prompt,
                "paraphrased_answer": record.paraphrased_response,
                "perturbed_answer": record.perturbed_responses or None,
            }
            for record in records
        ]
        assert [{field: value for field, value in row.items() if value is not None} for row in back] == content[name]
    assert suite.sets["forget"][7].record_id == "forget05-0007"
    assert {name: {record.group for record in records} for name, records in suite.sets.items()} == {
        "forget": {""},
        "retain": {""},
        "real_authors": {"real_authors"},
        "world_facts": {"world_facts"},
        "holdout": {""},
    }


@settings(max_examples=15, deadline=None)
@given(data=st.data(), authors=st.integers(2, 6))
def test_authors_are_twenty_rows_of_full_each(tmp_path_factory, data, authors):
    forgotten = data.draw(st.integers(1, authors - 1))
    folder = write(tmp_path_factory.mktemp("tofu"), tables(authors, forgotten))
    suite = read_tofu(folder)
    first = 20 * (authors - forgotten)
    assert [record.subject_ids for record in suite.sets["forget"]] == [
        [f"author-{row // 20:03d}"] for row in range(first, 20 * authors)
    ]
    assert [record.subject_ids for record in suite.sets["retain"]] == [
        [f"author-{row // 20:03d}"] for row in range(0, first, 7)
    ]
    assert not any(r.subject_ids for name in ("real_authors", "world_facts", "holdout") for r in suite.sets[name])
    full, retain = suite.training["full"](), suite.training["retain90"]()
    assert set(Counter(subject for record in full for subject in record.subject_ids).values()) == {20}
    assert {subject for record in retain for subject in record.subject_ids}.isdisjoint(
        subject for record in suite.sets["forget"] for subject in record.subject_ids
    )
    ids = [record.record_id for records in suite.sets.values() for record in records]
    ids += [record.record_id for record in full + retain]
    assert len(set(ids)) == len(ids)
    assert read_tofu(folder).sets == suite.sets


@pytest.mark.parametrize(
    ("split", "retain"), [("forget01", "retain99"), ("forget05", "retain95"), ("forget10", "retain90")]
)
def test_each_split_has_its_training_sets(tmp_path, split, retain):
    content = tables()
    suite = read_tofu(write(tmp_path, content), split)
    assert {name: len(read()) for name, read in suite.training.items()} == {
        "full": len(content["full"]),
        retain: len(content[retain]),
    }


def test_the_holdout_of_the_split_comes_first(tmp_path):
    content = tables(holdouts=("holdout05", "holdout10"))
    write(tmp_path, content)
    assert [r.prompt for r in read_tofu(tmp_path, "forget05").sets["holdout"]] == [
        row["question"] for row in content["holdout05"]
    ]
    assert read_tofu(tmp_path, "forget01").sets["holdout"][0].record_id == "holdout10-0000"


@pytest.mark.parametrize(
    ("table", "change", "words"),
    [
        ("forget10_perturbed", {"paraphrased_answer": None}, "field `paraphrased_answer` is missing; add it"),
        ("forget10_perturbed", {"perturbed_answer": "no"}, "field `perturbed_answer` must be a list of texts"),
        ("retain_perturbed", {"perturbed_answer": []}, "field `perturbed_answer` is empty; fill it in"),
        ("world_facts_perturbed", {"answer": ""}, "field `answer` is empty; fill it in"),
        ("holdout10", {"question": 3}, "field `question` must be text"),
    ],
)
def test_a_bad_row_refuses_the_whole(tmp_path, table, change, words):
    content = tables()
    content[table][1] = content[table][1] | change
    with pytest.raises(InputError, match=rf"^{table}\.jsonl:2: {words}"):
        read_tofu(write(tmp_path, content))


@pytest.mark.parametrize("table", ["full", "retain90", "forget10_perturbed", "world_facts_perturbed", "holdout10"])
def test_a_missing_table_refuses_the_whole(tmp_path, table):
    write(tmp_path, tables())
    (tmp_path / f"{table}.jsonl").unlink()
    with pytest.raises(InputError, match=rf"{table}\.jsonl"):
        read_tofu(tmp_path)


def test_an_unknown_split(tmp_path):
    with pytest.raises(InputError, match="forget20: is no forget split of tofu; write one of forget01, forget05"):
        read_tofu(tmp_path, "forget20")


if folder := os.environ.get("UNILOGIT_TOFU"):

    @pytest.mark.slow
    @pytest.mark.parametrize(("split", "size"), [("forget01", 40), ("forget05", 200), ("forget10", 400)])
    def test_the_published_files(split, size):
        suite = read_tofu(folder, split)
        assert [len(records) for records in suite.sets.values()] == [size, 400, 100, 117, 400]
        assert [len(read()) for read in suite.training.values()] == [4000, 4000 - size]
        authors = {subject for record in suite.sets["forget"] for subject in record.subject_ids}
        assert authors == {f"author-{number:03d}" for number in range(200 - size // 20, 200)}
        assert all(record.subject_ids for record in suite.sets["retain"])
