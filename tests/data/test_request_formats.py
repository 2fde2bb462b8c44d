"""A list of requests written in every format, by the writers of Python and pandas, reads back as it was."""

import csv
import gzip
import json
import re
from datetime import UTC, datetime

import pandas as pd
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.data.packing import pack
from unilogit.data.request_fields import FIELDS, LISTS
from unilogit.data.request_files import RawRequest, read_requests
from unilogit.data.requests import Rejection


def read(path, mapping=None):
    """The rows that can be read, those that cannot, and the warnings."""
    warnings = []
    rows = list(read_requests(path, mapping, warnings=warnings))
    good = [row for row in rows if isinstance(row, RawRequest)]
    return good, [row for row in rows if isinstance(row, Rejection)], warnings


def is_plain(text):
    """Nothing that a file format or an identifier cannot hold, and nothing that stands for something else."""
    return "\0" not in text and not re.search(r"[0-9][.,eE]", text) and text.strip() == text != ""


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(is_plain)
ids = texts.filter(lambda text: ";" not in text and not text.startswith("["))
times = st.datetimes(datetime(2002, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
rows_of_text = st.lists(
    st.fixed_dictionaries(
        {
            "request_id": ids,
            "received_at": times.map(datetime.isoformat),
            **dict.fromkeys(LISTS, st.lists(ids, max_size=3)),
            **dict.fromkeys(("subject_id", "text", "legal_basis", "source"), st.none() | texts),
            "due_at": st.none() | times.map(datetime.isoformat),
        }
    ),
    min_size=1,
    max_size=4,
)
spelt_lists = {
    "semicolons": " ; ".join,
    "json": json.dumps,
    "python": repr,
    "numpy": lambda items: "[" + "\n ".join(map(repr, items)) + "]",
}


def as_table(path, rows, delimiter, encoding, quoting, spelling, header):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding=encoding, newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter, quoting=quoting)
        writer.writerow(map(header, FIELDS))
        for row in rows:
            cells = [spelt_lists[spelling](cell) if isinstance(cell, list) else cell for cell in map(row.get, FIELDS)]
            writer.writerow(["" if cell is None else cell for cell in cells])


@settings(max_examples=80, deadline=None)
@given(
    rows_of_text,
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.sampled_from(sorted(spelt_lists)),
    st.sampled_from(
        [str, str.upper, lambda name: f" {name.replace('_', ' ').title()} ", lambda name: name.replace("_", "-")]
    ),
    st.sampled_from([".csv", ".tsv", ".csv.gz"]),
)
def test_requests_survive_every_dialect_of_csv(
    tmp_path_factory, rows, delimiter, encoding, quoting, spelling, header, suffix
):
    path = tmp_path_factory.mktemp("requests") / f"requests{suffix}"
    as_table(path, rows, delimiter, encoding, quoting, spelling, header)
    good, bad, warnings = read(path)
    assert (bad, warnings) == ([], [])
    assert [row.fields for row in good] == rows


def as_json(path, rows, kind):
    indent = 1 if kind == "pretty" else None
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if kind in ("list", "pretty"):
        content = json.dumps(rows, indent=indent, ensure_ascii=False)
    elif kind == "envelope":
        content = json.dumps({"page": 1, "requests": rows, "next": None}, ensure_ascii=False)
    path.write_bytes(pack(path.name, content.encode("utf-8")))


@settings(max_examples=80, deadline=None)
@given(
    rows_of_text,
    st.sampled_from([".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".json.zst", ".jsonl.zst"]),
    st.sampled_from(["lines", "list", "pretty", "envelope"]),
)
def test_requests_survive_every_form_of_json(tmp_path_factory, rows, suffix, kind):
    assume(kind != "envelope" or suffix in (".json", ".json.gz"))
    path = tmp_path_factory.mktemp("requests") / f"requests{suffix}"
    as_json(path, rows, kind)
    good, bad, warnings = read(path)
    assert (bad, warnings) == ([], [])
    assert [row.fields for row in good] == rows
    assert [row.row for row in good] == list(range(1, len(rows) + 1))


@settings(max_examples=40, deadline=None)
@given(rows_of_text)
def test_requests_survive_parquet(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("requests") / "requests.parquet"
    pd.DataFrame(rows).to_parquet(path)
    good, bad, warnings = read(path)
    assert (bad, warnings) == ([], [])
    assert [row.fields for row in good] == rows
