"""Forget and retain sets, against the same matching written plainly in Python."""

from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unilogit.data.extraction import FOLDED, RECORDS, extract_sets, subjects_in
from unilogit.data.holding import Rules
from unilogit.data.records import COLUMNS, CORPUS_SCHEMA, CorpusRecord, frame_records
from unilogit.data.selectors import Kind
from unilogit.data.text import normal_form
from unilogit.errors import InputError

SUBJECTS = ["P-1", "P-2", "p-1", "P-1'", "P%", "Zoë X", "zoë\u00a0x", "c\u200b2", ""]
IDS = [*(f"r{number}" for number in range(5)), "r#1", "r#2", "r#3"]
PLAIN = Rules(min_text_length=1, near_duplicates="off")

said = st.text("abéΣσς'’%_ \n\0", max_size=6).map(lambda text: text + "Ab"[: len(text) % 3])


def conversation(prompt, **fields):
    """A prompt is empty in plain text alone."""
    return CorpusRecord(prompt=prompt or "Ab" * bool(fields["history"] or fields["system"]), **fields)


records = st.builds(
    conversation,
    record_id=st.sampled_from(IDS),
    subject_ids=st.lists(st.sampled_from(SUBJECTS[:-1]), max_size=2),
    prompt=said,
    response=said.filter(str.strip),
    paraphrased_prompt=st.none() | said,
    paraphrased_response=st.none() | said,
    alternative_response=st.none() | said.filter(str.strip),
    perturbed_responses=st.lists(said, max_size=2),
    group=st.sampled_from(["", "world_facts"]),
    history=st.lists(st.tuples(said, said), max_size=2).map(lambda pairs: [text for pair in pairs for text in pair]),
    system=st.none() | said.filter(str.strip),
    conversation_id=st.none() | st.sampled_from(["r", "R9", "r7"]),
)
corpora = st.lists(records, min_size=1, max_size=8, unique_by=lambda record: record.record_id)
wanted_text = st.text("aAbéÉΣσς'%_\n", min_size=1, max_size=3)
selectors = st.fixed_dictionaries(
    {
        "subject_id": st.none() | st.sampled_from([*SUBJECTS[:-1], "P-9", "ZOË X", "C2"]),
        "aliases": st.lists(st.sampled_from(SUBJECTS) | wanted_text, max_size=2),
        "record_ids": st.lists(st.sampled_from([*IDS, "R1", "r9"]), max_size=2),
        "text": st.none() | wanted_text,
    }
)


def write(path, corpus):
    rows = [record.model_dump() | {"file": f"{n // 3:06}", "row": n % 3 + 9} for n, record in enumerate(corpus)]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=CORPUS_SCHEMA), path, row_group_size=3)
    return path


def ask(**fields):
    return {"subject_id": None, "aliases": [], "record_ids": [], "text": None, **fields}


def frame(asked, first=0):
    rows = [{"request_id": f"q{number}", **fields} for number, fields in enumerate(asked, start=first)]
    return pd.DataFrame(rows, columns=["request_id", *ask()])


def extract(folder, corpus, current, earlier=(), rules=PLAIN, **more):
    path = write(folder / "corpus.parquet", corpus)
    files = [folder / f"{name}.parquet" for name in ("forget", "retain", "review")]
    found = extract_sets(path, frame(current), frame(earlier, len(current)), *files, rules=rules, **more)
    return found, *(pd.read_parquet(file) for file in files[:2])


def texts_of(record):
    yield "\n".join([*filter(None, [record.system]), *record.history, record.prompt, record.response])
    yield "\n".join(text for text in (record.paraphrased_prompt, record.paraphrased_response) if text is not None)
    yield record.alternative_response or ""


def hits(record, kind, wanted):
    form = normal_form(wanted)
    is_id = any(form == normal_form(name) for name in record.subject_ids)
    in_text = any(form in normal_form(text) for text in texts_of(record))
    match kind:
        case "subject_id":
            return bool(form) and is_id
        case "alias":
            return bool(form) and (is_id or in_text)
        case "record_id":
            return form in map(normal_form, record.names)
        case "text":
            return bool(form) and in_text


def wishes(request):
    """(kind, value) of every selector."""
    single = {(kind, request[kind]) for kind in ("subject_id", "text") if request[kind] is not None}
    return single | {(kind, name) for kind, many in (("alias", "aliases"), ("record_id", "record_ids"))
                     for name in request[many]}  # fmt: skip


def matches(record, request):
    return any(hits(record, *wish) for wish in wishes(request))


@settings(max_examples=30, deadline=None)
@given(corpora, st.lists(selectors, max_size=3), st.lists(selectors, max_size=2))
def test_the_sets_are_those_of_plain_matching(tmp_path_factory, corpus, current, earlier):
    folder = tmp_path_factory.mktemp("run")
    current = [request for request in current if request["text"] is None or normal_form(request["text"])]
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
    kinds = {r.record_id: [kind for kind in Kind for _, request in asked
                           if any(kind == wish[0] and hits(r, *wish) for wish in wishes(request))]
             for r in corpus}  # fmt: skip
    assert list(forget["match"]) == [kinds[name][0] for name in forget["record_id"]]

    assert (found.forget, found.earlier) == (sum(batch.values()), len(forget) - sum(batch.values()))
    assert (found.retain, found.near_duplicates, found.in_review) == (len(retain), 0, 0)
    assert {name: counts[RECORDS] for name, counts in found.matched.items()} == {
        name: count for name, request in asked[: len(current)] if (count := sum(matches(r, request) for r in corpus))
    }
    assert found.unmatched == [name for name, _ in asked[: len(current)] if name not in found.matched]
    wanted = [(name, kind, text) for name, request in asked[: len(current)] for kind, text in wishes(request)]
    missed = [
        (name, kind)
        for name, kind, text in wanted
        if normal_form(text) and not any(hits(r, kind, text) for r in corpus)
    ]
    fields = [(name, kind) for name, kind, _ in wanted]
    assert found.references == sorted({(*item, fields.count(item), missed.count(item)) for item in fields})


PEOPLE = [
    CorpusRecord(record_id="a", subject_ids=["P-1"], prompt="Who?", response="Παύλος"),
    CorpusRecord(record_id="b", subject_ids=["P-1", "P-2"], prompt="", response="Strasse, 7"),
    CorpusRecord(record_id="c", subject_ids=[], prompt="Zoë\\n", response="100% sure"),
]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("παύλος", "a"), ("ΠΑΎΛΟΣ", "a"), ("who?\nπ", "a"), ("STRASSE, 7", "b"), ("straße,\u00a07", "b"), ("zoË", "c"),
        ("0% S", "c"), ("who? π", "a"), ("%", "c"), ("_", ""), ("Zoe", ""), ("\\n", "c"), ("oslo", ""),
        ("'); DROP TABLE corpus; --", ""), ("sure who", ""),
    ],
)  # fmt: skip
def test_text_is_matched_by_its_normal_form(tmp_path, text, wanted):
    found, forget, _ = extract(tmp_path, PEOPLE, [ask(text=text)])
    assert "".join(forget["record_id"]) == wanted
    assert found.references == [("q0", "text", 1, 0 if wanted else 1)]


def test_what_matches_after_folding_alone_is_counted(tmp_path):
    requests = [ask(text="Strasse"), ask(text="STRASSE"), ask(subject_id="p-1"), ask(subject_id="P-1", text="who?")]
    found, *_ = extract(tmp_path, PEOPLE, requests)
    assert [found.matched[f"q{number}"].get(FOLDED, 0) for number in range(4)] == [0, 1, 2, 0]
    assert found.matched["q3"] == {"subject_id": 2, "text": 1, RECORDS: 2}


def test_what_was_forgotten_before_is_replayed_and_never_retained(tmp_path):
    found, forget, retain = extract(tmp_path, PEOPLE, [ask(subject_id="P-2")], [ask(subject_id="P-1")])
    assert list(zip(forget["record_id"], forget["batch"], strict=True)) == [("a", "earlier"), ("b", "current")]
    assert list(forget.columns) == [*COLUMNS, "request_ids", "batch", "match", "similarity"]
    assert list(retain.columns) == COLUMNS
    assert (found.forget, found.earlier, found.retain) == (1, 1, 1)


def test_nothing_left_to_retain_keeps_the_files_of_before(tmp_path):
    extract(tmp_path, PEOPLE, [ask(subject_id="P-1")])
    before = (tmp_path / "forget.parquet").read_bytes()
    with pytest.raises(InputError, match=r"ask for all 3 records .* withdraw the model"):
        extract(tmp_path, PEOPLE, [ask(subject_id="P-1", record_ids=["c"])])
    assert (tmp_path / "forget.parquet").read_bytes() == before
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["it's", 'say "so"', "a[1]", "b*", "c?", "{d}", "group=x", "row=1", "ü %s"])
def test_any_path_will_do(tmp_path, name):
    for other in ("a1", "bb", "cc", "d"):
        write(tmp_path / other / "corpus.parquet", PEOPLE[:1])
    snapshot = tmp_path / name / "earlier forget.parquet"
    _, forget, _ = extract(tmp_path / "first", PEOPLE, [ask(subject_id="P-2")])
    snapshot.parent.mkdir()
    forget.to_parquet(snapshot)
    found, _, retain = extract(tmp_path / name, PEOPLE, [ask(subject_id="P-1")], snapshots=[snapshot])
    assert (found.forget, found.retain) == (2, 1)
    assert frame_records(retain) == PEOPLE[2:]


@pytest.mark.slow
def test_the_order_of_a_large_corpus_stays(tmp_path):
    corpus = [
        CorpusRecord(record_id=f"r{number * 7919 % 50_000}", subject_ids=[f"p{number % 3}"], prompt="", response="x")
        for number in range(50_000)
    ]
    _, forget, retain = extract(tmp_path, corpus, [ask(subject_id="P1")], rules=replace(PLAIN, max_share_of_corpus=1))
    assert list(forget["record_id"]) == [record.record_id for record in corpus[1::3]]
    assert list(retain["record_id"]) == [r.record_id for n, r in enumerate(corpus) if n % 3 != 1]


def test_people_of_a_corpus_are_counted_by_the_normal_form(tmp_path):
    path = write(tmp_path / "corpus.parquet", PEOPLE)
    assert subjects_in(path, {"p-1", "P-9", "who?"}) == 1
    assert subjects_in(path, set()) == 0
