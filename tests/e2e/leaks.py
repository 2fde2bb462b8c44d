"""Where in the files and databases of a folder something stands that must not stand there."""

import binascii
import gzip
import html
import io
import json
import re
import sqlite3
import zipfile
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote, quote_plus

import duckdb
import pandas as pd
from PIL import Image

from tasks.workspace import Place, Workspace
from unilogit.data.text import normal_form

OWN = ("prompt", "response", "paraphrased_prompt", "paraphrased_response", "alternative_response")
WEIGHTS = ".safetensors"


def texts_of_the_forgotten(workspace: Workspace) -> set[str]:
    """What a batch's records and requests say, paraphrases and wrong answers included; all as long as a word."""
    forget, requests = (pd.read_parquet(workspace.path(place)) for place in (Place.FORGET, Place.REQUESTS))
    said = [forget[column] for column in OWN if column in forget]
    said += [forget["perturbed_responses"].explode(), requests["text"]]
    return {text for column in said for text in column if isinstance(text, str) and text}


def names_of_the_forgotten(workspace: Workspace) -> set[str]:
    """Ids of a batch's people and records, and what the people are called."""
    forget, requests = (pd.read_parquet(workspace.path(place)) for place in (Place.FORGET, Place.REQUESTS))
    ids = [*forget["subject_ids"].explode(), *requests["subject_id"], *forget["record_id"]]
    own = forget[forget["subject_ids"].str.len() == 1].explode("subject_ids").groupby("subject_ids")["prompt"]
    called = [_shared_name(list(prompts)) for _, prompts in own]
    return {name for name in (*ids, *called) if isinstance(name, str) and name}


def _shared_name(prompts: list[str]) -> str:
    """The capitalised words that all prompts about somebody have in common, but for the first of each."""
    words = [re.findall(r"(?<!^)\b[A-Z]\w+", prompt) for prompt in prompts]
    return " ".join(word for word in words[0] if all(word in other for other in words)) if len(words) > 1 else ""


def written(files: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """(where, text) of every path, and of every file but weights: as it is, and as what it holds if it is Base64,
    compressed, a picture, a table of Parquet or a database."""
    files = list(files)
    yield "the names of files", "\n".join(map(str, files))
    contents = {file: file.read_bytes() for file in files if file.is_file() and file.suffix != WEIGHTS}
    for file, content in contents.items():
        yield str(file), content.decode("utf-8", "replace")
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            yield str(file), content.decode("utf-16", "replace")
        if re.fullmatch(rb"[A-Za-z0-9+/\s]+=*\s*", content):  # as Prefect keeps exceptions
            with suppress(binascii.Error):
                yield f"{file}, decoded", b64decode(content).decode("utf-8", "replace")
        if content.startswith(b"SQLite format 3\0"):
            yield from _cells(file)
        if content.startswith(b"PAR1"):
            with suppress(duckdb.Error):  # one that is damaged is searched as it is
                yield f"{file}, rows", _rows(file)
        if content.startswith(b"\x1f\x8b"):
            yield f"{file}, unpacked", gzip.decompress(content).decode("utf-8", "replace")
        if content.startswith(b"PK\3\4"):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                for name in archive.namelist():
                    yield f"{file}: {name}", archive.read(name).decode("utf-8", "replace")
        if content.startswith(b"\x89PNG"):
            yield f"{file}, texts", json.dumps(getattr(Image.open(io.BytesIO(content)), "text", {}), ensure_ascii=False)


def _rows(file: Path) -> str:
    rows = duckdb.sql(f"SELECT to_json(rows) FROM read_parquet('{file}', hive_partitioning = false) rows").fetchall()
    return "\n".join(json.dumps(json.loads(row), ensure_ascii=False) for (row,) in rows)


def _cells(file: Path) -> Iterator[tuple[str, str]]:
    """A long text may be spread over pages, so that it is not found in the file's bytes."""
    with closing(sqlite3.connect(file)) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE '%VIRTUAL%'")
        for (table,) in tables.fetchall():
            for row in database.execute(f'SELECT * FROM "{table}"'):
                for cell in row:
                    yield f"{file}: {table}", cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)


def leaks(folder: Path, secrets: Iterable[str], *patterns: str) -> set[tuple[str, str]]:
    """(where, secret) of each secret that stands in a folder's files as whole words: plain, in JSON, in HTML, in CSV or
    in an address, as it is or, where the text is no binary file's, in its normal form; or anywhere, as Base64.

    Args:
        patterns: of the files to search, which must be there; all of the folder's when not given.
    """
    forms: dict[str, str] = {}
    coded: dict[str, str] = {}
    for secret in secrets:
        coded.update(dict.fromkeys(_base64_forms(secret), secret))
        written_as = [secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]]
        written_as += [html.escape(secret), html.escape(secret, quote=False), secret.replace('"', '""')]
        written_as += [quote(secret), quote(secret, safe=""), quote_plus(secret)]
        forms.update({form: secret for text in written_as for form in (text, normal_form(text))})
    files = sorted({file for pattern in patterns or ("**/*",) for file in folder.glob(pattern)})
    assert files, f"{folder}: nothing of {patterns} is there"
    found: set[tuple[str, str]] = set()
    for where, text in written(files):
        found.update((where, coded[form]) for form in coded if form in text)
        for said in (text,) if "\ufffd" in text else (text, normal_form(text)):
            found.update((where, forms[form]) for form in _whole_words(said, [form for form in forms if form in said]))
    return found


def _base64_forms(secret: str) -> set[str]:
    """What a secret is within something longer that is Base64: by where it begins, without what neighbours change."""
    said = secret.encode()
    coded = {b64encode(b" " * before + said).decode()[(4 * before + 2) // 3 :] for before in range(3)}
    whole = {text.rstrip("=")[:-1] for text in coded}
    return {text for text in whole if len(text) >= 8}


def _whole_words(said: str, forms: list[str]) -> set[str]:
    """Those that stand in a text as whole words; of several that begin at one place, the longest."""
    longest_first = "|".join(map(re.escape, sorted(forms, key=len, reverse=True)))
    return set(re.findall(rf"(?<!\w)(?=({longest_first})(?!\w))", said)) if forms else set()
