"""Benchmarks by name: the right reader with the right split, or one sentence."""

from dataclasses import replace

import pytest

from unilogit.data.records import CorpusRecord, write_corpus
from unilogit.errors import InputError
from unilogit.evaluation.benchmarks import registry
from unilogit.evaluation.benchmarks.registry import SUITES, read_suite


def test_names_and_sources():
    assert list(SUITES) == ["tofu", "muse", "corpora"]
    assert all(reader.source for reader in SUITES.values())


def test_the_split_reaches_a_reader_that_has_them(monkeypatch):
    asked = []
    monkeypatch.setitem(registry.SUITES, "tofu", replace(SUITES["tofu"], read=lambda *args: asked.append(args)))
    read_suite("tofu", "folder")
    read_suite("tofu", "folder", "forget01")
    assert asked == [("folder", "forget10"), ("folder", "forget01")]


def test_a_reader_without_splits(tmp_path):
    for name in ("forget", "retain"):
        write_corpus(tmp_path / f"{name}.jsonl", [CorpusRecord(record_id=name, prompt="", response="a")])
    assert read_suite("corpora", tmp_path).utility_sets == ("retain",)
    with pytest.raises(InputError, match="forget01: corpora has no forget splits; leave it out"):
        read_suite("corpora", tmp_path, "forget01")


def test_an_unknown_name():
    with pytest.raises(InputError, match="tufo: is no suite; write one of tofu, muse, corpora"):
        read_suite("tufo", "folder")
