"""Neighbours against all pairs at once in memory, and near copies that were planted."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer, TfidfVectorizer

from unilogit.data import neighbours
from unilogit.data.neighbours import find_neighbours
from unilogit.data.records import COLUMNS
from unilogit.errors import InputError


def write(path, texts, kind):
    rows = [
        {"record_id": f"{kind}{n}", "subject_ids": [kind], "prompt": prompt, "response": response, "group": "g"}
        for n, (prompt, response) in enumerate(texts)
    ]
    frame = pd.DataFrame(rows, columns=COLUMNS).astype({"subject_ids": "object"})
    frame.to_parquet(path, index=False)
    return path


def neighbours_of(folder, forget, retain, per_record):
    files = write(folder / "forget.parquet", forget, "f"), write(folder / "retain.parquet", retain, "r")
    count = find_neighbours(*files, folder / "neighbours.parquet", per_record)
    frame = pd.read_parquet(folder / "neighbours.parquet")
    assert count == len(frame)
    assert list(frame.columns) == [*COLUMNS, "similarity"]
    return frame


def all_pairs(forget, retain):
    """Similarities [forget, retain], all in memory, by scikit-learn's own TF-IDF."""
    texts = [f"{prompt}\n{response}" for prompt, response in [*forget, *retain]]
    runs = {"analyzer": "char_wb", "ngram_range": (2, 4)}
    counts = HashingVectorizer(**runs, n_features=1 << 20, alternate_sign=False, norm=None).transform(texts)
    hashed = TfidfTransformer().fit_transform(counts)
    plain = TfidfVectorizer(**runs).fit_transform(texts)
    hashed, plain = ((v[: len(forget)] @ v[len(forget) :].T).toarray() for v in (hashed, plain))
    np.testing.assert_allclose(hashed, plain, atol=0.02)  # two runs in one place are rare
    return hashed


words = st.sampled_from(["Ada", "Zoë", "lives", "in", "Oslo", "Rome", "李明", "住在北京", "1984", "hat"])
texts = st.lists(st.tuples(st.just("Who?"), st.lists(words, max_size=4).map(" ".join)), max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(forget=texts, retain=texts, per_record=st.integers(1, 4), chunk=st.integers(1, 5))
def test_neighbours_are_the_nearest_of_all_pairs(forget, retain, per_record, chunk, tmp_path, monkeypatch):
    monkeypatch.setattr(neighbours, "_CHUNK", chunk)
    frame = neighbours_of(tmp_path, forget, retain, per_record)
    if not (forget and retain):
        assert frame.empty
        return
    similarity = all_pairs(forget, retain)
    numbers = [int(record_id[1:]) for record_id in frame["record_id"]]
    assert numbers == sorted(set(numbers))
    np.testing.assert_allclose(frame["similarity"], similarity.max(axis=0)[numbers], rtol=1e-9)
    for line in similarity:  # rounding may swap what is equally near: compare how near, not which
        nearest = np.sort(line)[::-1][:per_record]
        np.testing.assert_allclose(np.sort(line[numbers])[::-1][: len(nearest)], nearest, rtol=1e-9)
    least = np.sort(similarity, axis=1)[:, -per_record:].min(axis=1)
    assert all((similarity[:, number] >= least - 1e-9).any() for number in numbers)
    assert len(numbers) <= per_record * len(forget)


def test_of_equally_near_records_the_first_are_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(neighbours, "_CHUNK", 3)
    retain = [("Who?", "Ada lives in Oslo"), ("Who?", "Bo has a hat")] * 4
    frame = neighbours_of(tmp_path, [("Who?", "Ada lives in Oslo")], retain, 2)
    assert list(frame["record_id"]) == ["r0", "r2"]
    assert frame["similarity"].to_numpy() == pytest.approx(1)
    assert frame["similarity"].max() <= 1


def test_near_copies_are_found_among_many_and_nothing_forgotten_is(tmp_path):
    rng = np.random.default_rng(0)
    vocabulary = ["".join(rng.choice(list("abcdefghijklmnop"), 6)) for _ in range(200)]

    def text(length):
        return " ".join(rng.choice(vocabulary, length))

    forget = [("Where does she live?", text(20)) for _ in range(5)]
    retain = [("Where does she live?", text(20)) for _ in range(3000)]
    places = [7, 1023, 1024, 2047, 2999]  # at the borders of what is compared at once, too
    for place, (prompt, response) in zip(places, forget, strict=True):
        retain[place] = (prompt.upper(), response.replace("a", "á", 1).replace(" ", ", ", 3))
    frame = neighbours_of(tmp_path, forget, retain, 1)
    assert list(frame["record_id"]) == [f"r{place}" for place in places]
    assert frame["similarity"].min() > 0.7
    assert [subjects.tolist() for subjects in frame["subject_ids"]] == [["r"]] * 5
    assert list(frame["response"]) == [retain[place][1] for place in places]


def test_none_may_be_asked_for(tmp_path):
    assert neighbours_of(tmp_path, [("Who?", "Ada")], [("Who?", "Ada")], 0).empty


def test_a_record_with_nothing_in_common_is_no_neighbour(tmp_path):
    frame = neighbours_of(tmp_path, [("", "aaaa bbbb")], [("", "cccc"), ("", "xx aaaa"), ("", "dddd")], 3)
    assert list(frame["record_id"]) == ["r1"]


def test_what_cannot_be_done_is_named(tmp_path):
    forget = write(tmp_path / "forget.parquet", [("Who?", "Ada")], "f")
    bare = tmp_path / "bare.parquet"
    pd.DataFrame({"prompt": ["Who?"]}).to_parquet(bare)
    torn = tmp_path / "torn.parquet"
    torn.write_bytes(forget.read_bytes()[:-9])
    output = tmp_path / "neighbours.parquet"
    with pytest.raises(InputError, match=r"bare\.parquet: has no column `response`"):
        find_neighbours(forget, bare, output, 1)
    with pytest.raises(InputError, match=r"torn\.parquet: cannot be read as Parquet"):
        find_neighbours(torn, forget, output, 1)
    with pytest.raises(InputError, match=r"none\.parquet: cannot be read as Parquet"):
        find_neighbours(forget, tmp_path / "none.parquet", output, 1)
    assert not output.exists()


def test_of_large_files_samples_are_compared(tmp_path):
    """Every sampled record of the retain set has a copy of a forgotten text, so it is somebody's neighbour."""
    texts = [("Who?", f"name{number} of many") for number in range(60)]
    files = write(tmp_path / "forget.parquet", texts[:30], "f"), write(tmp_path / "retain.parquet", texts, "r")
    samples = {"forget_sample": 10, "retain_sample": 25}
    found = []
    for seed in (0, 0, 1):
        count = find_neighbours(*files, tmp_path / "neighbours.parquet", 60, seed=seed, **samples)
        frame = pd.read_parquet(tmp_path / "neighbours.parquet")
        assert count == len(frame) == 25
        assert list(frame.columns) == [*COLUMNS, "similarity"]
        numbers = [int(name[1:]) for name in frame["record_id"]]
        assert numbers == sorted(numbers)
        found.append((numbers, int((frame["similarity"] > 0.999).sum())))
    assert found[0] == found[1] != found[2]
    assert all(copies <= 10 for _, copies in found)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "forget.parquet", "neighbours.parquet", "retain.parquet",
    ]  # fmt: skip


def test_what_reads_the_same_is_alike(tmp_path):
    retain = [("誰？", "Bo besitzt einen Hut"), ("誰？", "ＺＯＥ\u0308 wohnt\u00a0in ﾘﾝﾂ")]
    frame = neighbours_of(tmp_path, [("誰?", "Zoë wohnt in リンツ")], retain, 1)
    assert list(frame["record_id"]) == ["r1"]
    assert frame["similarity"].to_numpy() == pytest.approx(1)
