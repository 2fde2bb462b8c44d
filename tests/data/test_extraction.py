"""Forget and retain sets, against the same matching written plainly in Python."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unilogit.data.extraction import extract_sets
from unilogit.data.records import COLUMNS, CORPUS_SCHEMA, CorpusRecord, frame_records
from unilogit.errors import InputError

SUBJECTS = ["P-1", "P-2", "p-1", "P-1'", "P%"]
IDS = [f"r{number}" for number in range(8)]

said = st.text("abéΣσς'%_ \n", max_size=6).map(lambda text: text + "Ab"[: len(text) % 3])
records = st.builds(
    CorpusRecord,
    record_id=st.sampled_from(IDS),
    subject_ids=st.lists(st.sampled_from(SUBJECTS), max_size=2),
    prompt=said,
    response=said.filter(bool),
    perturbed_responses=st.lists(said, max_size=2),
    group=st.sampled_from(["", "world_facts"]),
)
corpora = st.lists(records, min_size=1, max_size=8, unique_by=lambda record: record.record_id)
selectors = st.fixed_dictionaries(
    {
        "subject_id": st.none() | st.sampled_from([*SUBJECTS, "P-9"]),
        "record_ids": st.lists(st.sampled_from([*IDS, "r9"]), max_size=2),
        "text": st.none() | st.text("aAbéÉΣσς'%_\n", min_size=1, max_size=3),
    }
)


def write(path, corpus):
    """Shuffled, so that the order of the sets is not that of the file."""
    rows = [record.model_dump() | {"file": "abc"[n // 3], "row": n % 3 + 9} for n, record in enumerate(corpus)]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows[::2] + rows[1::2], schema=CORPUS_SCHEMA), path)
    return path


def frame(asked, first=0):
    rows = [{"request_id": f"q{number}", **fields} for number, fields in enumerate(asked, start=first)]
    return pd.DataFrame(rows, columns=["request_id", "subject_id", "record_ids", "text"])


def extract(folder, corpus, current, earlier=()):
    path = write(folder / "corpus.parquet", corpus)
    found = extract_sets(
        path, frame(current), frame(earlier, first=len(current)), folder / "forget.parquet", folder / "retain.parquet"
    )
    return found, pd.read_parquet(folder / "forget.parquet"), pd.read_parquet(folder / "retain.parquet")


def hits(record, field, wanted):
    if field == "text":
        return wanted.casefold() in f"{record.prompt}\n{record.response}".casefold()
    return wanted in record.subject_ids if field == "subject_id" else wanted == record.record_id


def wishes(request):
    """(field, value) of every selector."""
    single = {(field, request[field]) for field in ("subject_id", "text") if request[field] is not None}
    return single | {("record_id", name) for name in request["record_ids"]}


def matches(record, request):
    return any(hits(record, *wish) for wish in wishes(request))


@settings(max_examples=30, deadline=None)
@given(corpora, st.lists(selectors, max_size=3), st.lists(selectors, max_size=2))
def test_the_sets_are_those_of_plain_matching(tmp_path_factory, corpus, current, earlier):
    folder = tmp_path_factory.mktemp("run")
    asked = [(f"q{number}", request) for number, request in enumerate([*current, *earlier])]
    names = {r.record_id: [name for name, request in asked if matches(r, request)] for r in corpus}
    if all(names.values()):
        with pytest.raises(InputError, match="leaves nothing to retain"):
            extract(folder, corpus, current, earlier)
        assert [path.name for path in folder.iterdir()] == ["corpus.parquet"]
        return
    found, forget, retain = extract(folder, corpus, current, earlier)
    assert frame_records(forget) == [record for record in corpus if names[record.record_id]]
    assert frame_records(retain) == [record for record in corpus if not names[record.record_id]]
    assert [list(cell) for cell in forget["request_ids"]] == [cell for cell in names.values() if cell]
    batch = {r.record_id: any(matches(r, request) for request in current) for r in corpus}
    assert list(forget["batch"]) == ["current" if batch[name] else "earlier" for name in forget["record_id"]]

    assert (found.forget, found.earlier) == (sum(batch.values()), len(forget) - sum(batch.values()))
    assert found.retain == len(retain)
    counts = {name: sum(matches(record, request) for record in corpus) for name, request in asked[: len(current)]}
    assert found.matched == {name: count for name, count in counts.items() if count}
    wanted = [(name, field, text) for name, request in asked[: len(current)] for field, text in wishes(request)]
    missed = [(name, field) for name, field, text in wanted if not any(hits(row, field, text) for row in corpus)]
    fields = [(name, field) for name, field, _ in wanted]
    assert found.references == sorted({(*item, fields.count(item), missed.count(item)) for item in fields})


PEOPLE = [
    CorpusRecord(record_id="a", subject_ids=["P-1"], prompt="Who?", response="Παύλος"),
    CorpusRecord(record_id="b", subject_ids=["P-1", "P-2"], prompt="", response="Strasse, 7"),
    CorpusRecord(record_id="c", subject_ids=[], prompt="Zoë\\n", response="100% sure"),
]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("παύλος", "a"), ("ΠΑΎΛΟΣ", "a"), ("who?\nπ", "a"), ("STRASSE, 7", "b"), ("zoË", "c"), ("0% S", "c"),
        ("who? π", ""), ("%", "c"), ("_", ""), ("Zoe", ""), ("\\n", "c"), ("'); DROP TABLE corpus; --", ""),
    ],
)  # fmt: skip
def test_text_is_matched_as_it_stands_whatever_the_case(tmp_path, text, wanted):
    request = {"subject_id": None, "record_ids": [], "text": text}
    found, forget, _ = extract(tmp_path, PEOPLE, [request])
    assert "".join(forget["record_id"]) == wanted
    assert found.references == [("q0", "text", 1, 0 if wanted else 1)]


def test_what_was_forgotten_before_is_replayed_and_never_retained(tmp_path):
    one, two = ({"subject_id": name, "record_ids": [], "text": None} for name in ("P-1", "P-2"))
    found, forget, retain = extract(tmp_path, PEOPLE, [two], [one])
    assert list(zip(forget["record_id"], forget["batch"], strict=True)) == [("a", "earlier"), ("b", "current")]
    assert list(forget.columns) == [*COLUMNS, "request_ids", "batch"]
    assert list(retain.columns) == COLUMNS
    assert (found.forget, found.earlier, found.retain, found.matched) == (1, 1, 1, {"q0": 1})


def test_nothing_left_to_retain_keeps_the_files_of_before(tmp_path):
    request = {"subject_id": "P-1", "record_ids": ["c"], "text": None}
    extract(tmp_path, PEOPLE, [{**request, "record_ids": []}])
    before = (tmp_path / "forget.parquet").read_bytes()
    with pytest.raises(InputError, match=r"ask for all 3 records .* withdraw the model"):
        extract(tmp_path, PEOPLE, [request])
    assert (tmp_path / "forget.parquet").read_bytes() == before


@pytest.mark.parametrize("name", ["it's", 'say "so"', "a[1]", "b*", "c?", "{d}", "group=x", "row=1", "ü %s"])
def test_any_path_will_do(tmp_path, name):
    for other in ("a1", "bb", "cc", "d"):
        write(tmp_path / other / "corpus.parquet", PEOPLE[:1])
    request = {"subject_id": "P-1", "record_ids": [], "text": None}
    found, _, retain = extract(tmp_path / name, PEOPLE, [request])
    assert (found.forget, found.retain) == (2, 1)
    assert frame_records(retain) == PEOPLE[2:]
