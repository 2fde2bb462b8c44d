"""MUSE in files of its format: what is asked, what comes before it, and what can be trained on."""

import json

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unilogit.errors import InputError
from unilogit.evaluation.benchmarks.muse import read_muse

filled = st.text(st.characters(exclude_categories=["Cs"])).filter(str.strip)
KINDS = {
    "verbmem/forget": ("prompt", "gt"),
    "knowmem/forget_qa": ("question", "answer"),
    "knowmem/forget_qa_icl": ("question", "answer"),
    "knowmem/retain_qa": ("question", "answer"),
    "knowmem/retain_qa_icl": ("question", "answer"),
    "privleak/forget": ("text",),
    "privleak/retain": ("text",),
    "privleak/holdout": ("text",),
    "raw/forget": ("text",),
    "raw/retain1": ("text",),
    **{f"{config}/forget_{number}": ("text",) for config in ("scal", "sust") for number in (1, 2, 10)},
}
SETS = {
    "verbmem": "verbmem/forget",
    "knowmem_forget": "knowmem/forget_qa",
    "knowmem_retain": "knowmem/retain_qa",
    "forget": "privleak/forget",
    "retain": "privleak/retain",
    "holdout": "privleak/holdout",
}
PLAIN = {
    table: [{field: f"{field} {n} of {table}" for field in fields} for n in range(3)] for table, fields in KINDS.items()
}


def write(folder, content, parquet=()):
    for table, rows in content.items():
        path = folder / f"{table}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        if table in parquet:
            pd.DataFrame(rows).to_parquet(path.with_name(f"{path.stem}-00000-of-00001.parquet"))
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def pairs(records):
    return [(record.prompt, record.response) for record in records]


def expected(rows):
    names = {"question": "prompt", "answer": "response", "gt": "response", "text": "response"}
    rows = [{names.get(field, field): value for field, value in row.items()} for row in rows]
    return [(row.get("prompt", ""), row["response"]) for row in rows]


contents = st.fixed_dictionaries(
    {
        table: st.lists(st.fixed_dictionaries(dict.fromkeys(fields, filled)), min_size=1, max_size=3)
        for table, fields in KINDS.items()
    }
)


@settings(max_examples=10, deadline=None)
@given(content=contents, parquet=st.sets(st.sampled_from(sorted(KINDS))))
def test_every_table_has_its_place(tmp_path_factory, content, parquet):
    suite = read_muse(write(tmp_path_factory.mktemp("muse"), content, parquet))
    assert {name: pairs(records) for name, records in suite.sets.items()} == {
        name: expected(content[table]) for name, table in SETS.items()
    }
    assert {name: pairs(records) for name, records in suite.few_shot.items()} == {
        name: expected(content[f"{SETS[name]}_icl"]) for name in ("knowmem_forget", "knowmem_retain")
    }
    assert {name: pairs(read()) for name, read in suite.training.items()} == {
        table: expected(rows) for table, rows in content.items() if table.startswith(("raw", "scal", "sust"))
    }
    everything = [*suite.sets.values(), *suite.few_shot.values(), *(read() for read in suite.training.values())]
    ids = [record.record_id for records in everything for record in records]
    assert len(set(ids)) == len(ids)


def test_forget_sets_come_by_number(tmp_path):
    suite = read_muse(write(tmp_path, PLAIN))
    assert suite.utility_sets == ("knowmem_retain",)
    assert suite.scalability == ("scal/forget_1", "scal/forget_2", "scal/forget_10")
    assert suite.sustainability == ("sust/forget_1", "sust/forget_2", "sust/forget_10")


def test_only_what_is_asked_must_be_there(tmp_path):
    suite = read_muse(write(tmp_path, {table: PLAIN[table] for table in SETS.values()}))
    assert (suite.few_shot, suite.training, suite.scalability, suite.sustainability) == ({}, {}, (), ())


def test_the_names_of_the_first_release(tmp_path):
    names = {"knowmem/retain_qa": "knowmem/retain2_qa", "knowmem/retain_qa_icl": "knowmem/retain2_qa_icl"}
    names["privleak/retain"] = "privleak/retain2"
    suite = read_muse(write(tmp_path, {names.get(table, table): rows for table, rows in PLAIN.items()}))
    for name in ("retain", "knowmem_retain"):
        assert pairs(suite.sets[name]) == expected(PLAIN[SETS[name]])
    assert pairs(suite.few_shot["knowmem_retain"]) == expected(PLAIN["knowmem/retain_qa_icl"])


def test_an_answer_of_white_space_is_named(tmp_path):
    write(tmp_path, PLAIN | {"verbmem/forget": [PLAIN["verbmem/forget"][0] | {"gt": " \n"}]})
    with pytest.raises(InputError, match=r"^verbmem/forget\.jsonl:1: field `gt` holds only white space; write"):
        read_muse(tmp_path)


@pytest.mark.parametrize("table", SETS.values())
def test_a_missing_or_bad_table_refuses_the_whole(tmp_path, table):
    write(tmp_path, {name: rows for name, rows in PLAIN.items() if name != table})
    with pytest.raises(InputError, match=rf"{table}\.jsonl: there is no such file, nor a \.parquet; add it"):
        read_muse(tmp_path)
    field = KINDS[table][-1]
    write(tmp_path, {table: [PLAIN[table][0], PLAIN[table][1] | {field: ""}]})
    with pytest.raises(InputError, match=rf"^{table}\.jsonl:2: field `{field}` is empty; fill it in"):
        read_muse(tmp_path)
