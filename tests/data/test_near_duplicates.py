"""Near-duplicates of records in DuckDB: what counts as the text of a record, over many batches."""

import duckdb
import pytest

from unilogit.data import near_duplicates
from unilogit.data.near_duplicates import LEAST_WORDS, find_near_duplicates

LONG = "Ann Example keeps bees and paints old doors by the sea"
SHORT = " ".join(LONG.split()[: LEAST_WORDS - 1])


def _with_history(row):
    *history, prompt, response = row
    return [history, prompt, response]


@pytest.fixture
def find():
    columns = "number BIGINT, history VARCHAR[], prompt VARCHAR, response VARCHAR"

    def find(sources, records, threshold=0.8):
        with duckdb.connect() as connection:
            for name, rows in (("sources", sources), ("records", records)):
                connection.execute(f"CREATE TABLE {name} ({columns})")
                for number, row in enumerate(rows):
                    connection.execute(f"INSERT INTO {name} VALUES (?, ?, ?, ?)", [number, *_with_history(row)])
            queries = ["SELECT number AS {}, history, prompt, response FROM {}"] * 2
            names = (("source", "sources"), ("row_number", "records"))
            queries = [query.format(*pair) for query, pair in zip(queries, names, strict=True)]
            find_near_duplicates(connection, *queries, threshold)
            return connection.execute(
                "SELECT row_number, source, max(round(similarity, 3)) FROM near_duplicates"
                " JOIN source_texts USING (text) GROUP BY ALL ORDER BY ALL"
            ).fetchall()

    return find


@pytest.mark.parametrize(
    ("record", "similarity"),
    [
        (("Who is she?", LONG), 1.0),
        (("", f"Who is she? {LONG}"), 1.0),  # as a crawl has it
        (("", LONG), 1.0),  # without the prompt
        (("Tell me of somebody:", LONG.upper()), 1.0),
        (("", f"“{LONG.replace(' ', chr(0xA0))}…”"), 1.0),
        (("", f"\0{LONG}\0"), 1.0),
        (("", LONG + " today"), 0.9),
        (("", LONG.replace("bees", "cats")), None),
        (("Who is she?", "Nobody"), None),
        (("", "..."), None),
    ],
)
def test_prompt_and_response_or_the_response_alone(find, record, similarity):
    assert find([("Who is she?", LONG)], [record]) == ([(0, 0, similarity)] if similarity else [])


def test_a_short_response_alone_is_nobodys(find):
    """People share short answers."""
    assert find([("Where does Ann live?", SHORT)], [("Where does Bo live?", SHORT)]) == []
    assert find([("", SHORT)], [("", SHORT)]) == [(0, 0, 1.0)]
    assert find([("", "Wet")], [("", "wet!"), ("", "wet and cold")]) == [(0, 0, 1.0)]


@pytest.mark.parametrize(
    ("answer", "is_found"),
    [
        ("在林茨市的小学当老师", False),  # ten characters are about as many words as SHORT has
        ("在林茨市的小学当老师，养着三只蜜蜂箱", True),
        ("ทำงานที่ลินซ์", False),
        ("Linz市の小学校の先生", False),
        ("린츠에서 일하는 의사이고 고양이 두 마리를 키운다 그리고 산다", True),
    ],
)
def test_in_scripts_without_spaces_a_short_response_is_longer(find, answer, is_found):
    assert find([("李明华？", answer)], [("王小红？", answer)]) == ([(0, 0, 1.0)] if is_found else [])


def test_sources_that_read_the_same_are_all_named(find):
    assert find([("", LONG), ("Who?", LONG)], [("", LONG)]) == [(0, 0, 1.0), (0, 1, 1.0)]


@pytest.mark.parametrize("batch", [1, 3, 4096])
def test_many_batches(find, monkeypatch, batch):
    monkeypatch.setattr(near_duplicates, "_BATCH", batch)
    sources = [("", f"{LONG} number {number} of them all") for number in range(5)]
    records = [(f"q{number}", f"Unlike w{number} x{number} y{number} z{number}") for number in range(20)]
    for number in range(5):
        records[4 * number] = sources[number]
    assert find(sources, records, 0.95) == [(4 * number, number, 1.0) for number in range(5)]


def test_without_sources_nothing_is_found(find):
    assert find([], [("", LONG)]) == []
