"""Tables come whole, from files or from the hub, or every bad row is named."""

import json
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unilogit.errors import InputError
from unilogit.evaluation.benchmarks.tables import TableRow, list_tables, read_table


class Pair(TableRow):
    question: str
    wrong: list[str]


text = st.text(st.characters(exclude_categories=["Cs"]))
pairs = st.lists(st.fixed_dictionaries({"question": text, "wrong": st.lists(text, max_size=3)}), min_size=1, max_size=6)


def write(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))


def values(rows):
    return [row.model_dump() for row in rows]


@settings(max_examples=40, deadline=None)
@given(rows=pairs)
def test_a_table_is_the_same_in_every_format(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("tables")
    write(folder / "lines.jsonl", *rows)
    write(folder / "config" / "split.json", *rows)
    frame = pd.DataFrame(rows)
    frame.to_parquet(folder / "whole.parquet")
    parts = [part for part in (frame[:1], frame[1:]) if len(part)]
    for shard, part in enumerate(parts):
        part.to_parquet(folder / f"shards-{shard:05d}-of-{len(parts):05d}.parquet")
    assert values(read_table(folder, "lines", Pair)) == rows
    assert values(read_table(folder, "config/split", Pair)) == rows
    assert values(read_table(folder, "whole", Pair)) == rows
    assert values(read_table(folder, "shards", Pair)) == rows
    assert list_tables(folder) == ["lines", "shards", "whole"]
    assert list_tables(folder, "config") == ["config/split"]
    assert list_tables(folder, "no") == []


json_values = st.recursive(st.none() | st.booleans() | st.integers() | text, lambda inner: st.lists(inner, max_size=2))


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.dictionaries(st.sampled_from(["question", "wrong", "extra"]), json_values), max_size=5))
def test_rows_are_all_good_or_exactly_the_bad_ones_are_named(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("tables")
    write(folder / "t.jsonl", *rows)
    bad = {
        number
        for number, row in enumerate(rows, start=1)
        if not isinstance(row.get("question"), str)
        or not isinstance(row.get("wrong"), list)
        or not all(isinstance(item, str) for item in row["wrong"])
    }
    if rows and not bad:
        assert [row.question for row in read_table(folder, "t", Pair)] == [row["question"] for row in rows]
        return
    with pytest.raises(InputError) as error:
        read_table(folder, "t", Pair)
    if rows:
        assert {int(problem.split(":")[1]) for problem in error.value.problems} == bad
        assert all(problem.startswith("t.jsonl:") and "; " in problem for problem in error.value.problems)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('{"question": ', "is not JSON"),
        ({"question": "q"}, "field `wrong` is missing; add it"),
        ({"question": "q", "wrong": None}, "field `wrong` is missing; add it"),
        ({"question": "q", "wrong": "w"}, r"field `wrong` must be a list of texts; write it as \["),
        ({"question": 7, "wrong": []}, "field `question` must be text"),
    ],
)
def test_file_row_field_and_fix_are_named(tmp_path, row, words):
    write(tmp_path / "c" / "s.jsonl", {"question": "q", "wrong": []}, row)
    with pytest.raises(InputError, match=rf"^c/s\.jsonl:2: {words}"):
        read_table(tmp_path, "c/s", Pair)


def test_a_null_in_parquet_is_a_missing_field(tmp_path):
    pd.DataFrame([{"question": "q", "wrong": ["w"]}, {"question": None, "wrong": ["w"]}]).to_parquet(
        tmp_path / "t.parquet"
    )
    with pytest.raises(InputError, match=r"^t\.parquet:2: field `question` is missing"):
        read_table(tmp_path, "t", Pair)


def test_a_missing_a_double_and_an_empty_table(tmp_path):
    with pytest.raises(InputError, match=r"t\.jsonl: there is no such file"):
        read_table(tmp_path, "t", Pair)
    write(tmp_path / "t.jsonl")
    with pytest.raises(InputError, match=r"t\.jsonl: the file is empty"):
        read_table(tmp_path, "t", Pair)
    write(tmp_path / "t.json", {"question": "q", "wrong": []})
    with pytest.raises(InputError, match=r"more than once \(t\.json and t\.jsonl\); take away all but one"):
        read_table(tmp_path, "t", Pair)
    for source in (tmp_path / "no", tmp_path / "t.json"):
        with pytest.raises(InputError, match="there is no such folder; correct the path"):
            read_table(source, "t", Pair)


@pytest.mark.parametrize(
    "names", [["t-00001-of-00002"], ["t-00000-of-00002"], ["t-00000-of-00001", "t-00000-of-00002"]]
)
def test_a_table_with_a_shard_missing_is_refused(tmp_path, names):
    for name in names:
        write(tmp_path / f"{name}.jsonl", {"question": "q", "wrong": []})
    with pytest.raises(InputError, match=r"lacks shards, or has some twice \(t-.*\); get the files again"):
        read_table(tmp_path, "t", Pair)


def hub(monkeypatch, **functions):
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(**functions))


def test_a_hub_dataset_gives_the_same_rows(monkeypatch):
    rows = [{"question": "q", "wrong": ["w"], "more": 1}, {"question": "r", "wrong": []}]
    asked = []

    def load_dataset(name, config, split):
        asked.append((name, config, split))
        return rows

    hub(
        monkeypatch,
        load_dataset=load_dataset,
        get_dataset_config_names=lambda name: ["c", "b"],
        get_dataset_split_names=lambda name, config: {"c": ["z", "y"]}[config],
    )
    assert [row.question for row in read_table("owner/Name", "c", Pair)] == ["q", "r"]
    read_table("owner/Name", "c/y", Pair)
    assert asked == [("owner/Name", "c", "train"), ("owner/Name", "c", "y")]
    assert list_tables("owner/Name") == ["b", "c"]
    assert list_tables("owner/Name", "c") == ["c/y", "c/z"]
    assert list_tables("owner/Name", "no") == []
    rows[1]["wrong"] = "w"
    with pytest.raises(InputError, match=r"^owner/Name, c:2: field `wrong` must be a list"):
        read_table("owner/Name", "c", Pair)


def test_without_network_or_package_one_sentence_says_what_to_do(monkeypatch):
    def load_dataset(*_, **__):
        raise ConnectionError("Couldn't reach 'owner/Name' on the Hub\nmore")

    hub(monkeypatch, load_dataset=load_dataset)
    with pytest.raises(InputError) as error:
        read_table("owner/Name", "c", Pair)
    assert error.value.problems == [
        "owner/Name: there is no such folder, and its table `c` cannot be read from the hub (Couldn't reach "
        "'owner/Name' on the Hub); correct the name, connect to the network, or name a folder that holds its files"
    ]
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match="pip install datasets"):
        list_tables("owner/Name")
