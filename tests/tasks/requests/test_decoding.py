"""One sentence in files of every kind, escaped in every way: it is read in each."""

import gzip
import html
import json
import pickle
import sqlite3
import tracemalloc
import zipfile
from base64 import b64encode

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, PngImagePlugin

from tasks.requests.decoding import read_strings
from tasks.requests.traces import Traces, patterns
from tests.data.packing import zstd

SENTENCE = 'Zoë “Zed” Müller says "no" & 1 < 2\nat C:\\home 😀'
LINES = SENTENCE.replace("\n", " ")


def table(file, **options):
    frame = pd.DataFrame({"number": [1, 2], "said": [None, SENTENCE]})
    frame.to_parquet(file, index=False, **options)


def nested(file):
    kind = pa.list_(pa.struct([("deep", pa.map_(pa.string(), pa.list_(pa.string())))]))
    rows = [None, [], [{"deep": [("key", ["other", SENTENCE])]}]]
    pq.write_table(pa.table({"cell": pa.array(rows, kind)}), file)


def database(file):
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE words (number INTEGER, said TEXT)")
        connection.execute("INSERT INTO words VALUES (1, ?)", ["x" * 4000 + " " + SENTENCE])


def picture(file, *, packed):
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("Comment", SENTENCE, zip=packed)
    Image.new("RGB", (2, 2)).save(file, pnginfo=texts)


def archive(file):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("inner.txt", SENTENCE)


def text(content, encoding="utf-8"):
    return lambda file: file.write_bytes(content.encode(encoding))


KINDS = {
    "table.parquet": lambda file: table(file, compression="zstd"),
    "no_suffix": lambda file: table(file, compression="gzip"),
    "category.parquet": lambda file: pd.DataFrame({"said": pd.Categorical([SENTENCE] * 3)}).to_parquet(file),
    "nested.parquet": nested,
    "words.db": database,
    "packed.png": lambda file: picture(file, packed=True),
    "plain.png": lambda file: picture(file, packed=False),
    "archive.npz": archive,
    "packed.jsonl.gz": lambda file: file.write_bytes(gzip.compress(json.dumps({"a": SENTENCE}).encode())),
    "packed.jsonl.zst": lambda file: file.write_bytes(zstd(json.dumps({"a": SENTENCE}).encode())),
    "ascii.json": text(json.dumps({"a": [{"b": SENTENCE}]})),
    "key.json": text(json.dumps({SENTENCE: 1}, ensure_ascii=False)),
    "within.jsonl": text(json.dumps({"raw": json.dumps({"text": SENTENCE})}) + "\n{}\n"),
    "half.jsonl": text(json.dumps({"raw": SENTENCE}) + '\n{"raw": "cut off'),
    "page.html": text(f"<p>{html.escape(SENTENCE)}</p>"),
    "page.json": text(json.dumps({"page": f"<p>{html.escape(SENTENCE)}</p>"})),
    "sheet.csv": text('id,text\n1,"{}"\n'.format(SENTENCE.replace('"', '""'))),
    "sheet.txt": text(f"\ufeff{SENTENCE}", "utf-16-le"),
    "big_endian.txt": text(f"\ufeff{SENTENCE}", "utf-16-be"),
    "exception": lambda file: file.write_bytes(b64encode(SENTENCE.encode())),
    "object.pkl": lambda file: file.write_bytes(pickle.dumps({"said": SENTENCE, "n": np.arange(9)})),
    "long.log": text("y" * (1 << 22) + " " + SENTENCE + " " + "z" * 100),
    "cut.log": text("y" * ((1 << 22) - 20) + " " + SENTENCE + " " + "z" * 100),
}


@pytest.mark.parametrize("name", KINDS)
def test_the_sentence_is_read(tmp_path, name):
    file = tmp_path / name
    KINDS[name](file)
    wanted = Traces(patterns([SENTENCE]))
    assert any(list(wanted.find(said)) for said in read_strings(file))
    other = Traces(patterns([SENTENCE.replace("Müller", "Möller")]))
    assert not any(list(other.find(said)) for said in read_strings(file))


def test_weights_are_not_read(tmp_path):
    (tmp_path / "model.safetensors").write_text(SENTENCE)
    assert list(read_strings(tmp_path / "model.safetensors")) == []


@pytest.mark.parametrize("content", [b"PAR1 and no more", b"SQLite format 3\0" + b"x" * 200, b"\x1f\x8b\x08 cut"])
def test_a_damaged_file_is_an_error(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises((OSError, sqlite3.Error, pa.ArrowException, ValueError, EOFError)):
        list(read_strings(tmp_path / "file"))


def test_a_large_text_takes_little_memory(tmp_path):
    file = tmp_path / "large.log"
    file.write_bytes((b"a line of nobody's, number 17\n" * 1000) * 4000)
    tracemalloc.start()
    assert sum(len(said) for said in read_strings(file)) > 20
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert file.stat().st_size > 1e8
    assert peak < 6e7
