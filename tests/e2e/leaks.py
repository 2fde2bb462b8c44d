"""Where in the files and databases of a folder something stands that must not stand there."""

import binascii
import html
import json
import re
import sqlite3
from base64 import b64decode
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pandas as pd

from tasks.workspace import Place, Workspace

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
    """(where, text) of every file but weights, also of what is Base64, and of every cell of every SQLite database."""
    contents = {file: file.read_bytes() for file in files if file.is_file() and file.suffix != WEIGHTS}
    for file, content in contents.items():
        yield str(file), content.decode("utf-8", "replace")
        if re.fullmatch(rb"[A-Za-z0-9+/\s]+=*\s*", content):  # as Prefect keeps exceptions
            with suppress(binascii.Error):
                yield f"{file}, decoded", b64decode(content).decode("utf-8", "replace")
        if content.startswith(b"SQLite format 3\0"):
            yield from _cells(file)


def _cells(file: Path) -> Iterator[tuple[str, str]]:
    """A long text may be spread over pages, so that it is not found in the file's bytes."""
    with closing(sqlite3.connect(file)) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE '%VIRTUAL%'")
        for (table,) in tables.fetchall():
            for row in database.execute(f'SELECT * FROM "{table}"'):
                for cell in row:
                    yield f"{file}: {table}", cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)


def leaks(folder: Path, secrets: Iterable[str], *patterns: str) -> set[tuple[str, str]]:
    """(where, secret) of each secret that stands in a folder's files as whole words: plain, in JSON or in HTML.

    Args:
        patterns: of the files to search, which must be there; all of the folder's when not given.
    """
    forms = {form: secret for secret in secrets for form in (secret, json.dumps(secret)[1:-1], html.escape(secret))}
    longest_first = "|".join(map(re.escape, sorted(forms, key=len, reverse=True)))
    anywhere = re.compile(rf"(?<!\w)(?=({longest_first})(?!\w))")  # looking ahead finds those within others
    files = sorted({file for pattern in patterns or ("**/*",) for file in folder.glob(pattern)})
    assert files, f"{folder}: nothing of {patterns} is there"
    return {(where, forms[found]) for where, text in written(files) for found in anywhere.findall(text)}
