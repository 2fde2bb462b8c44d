"""Names are nouns: no variable, parameter or attribute is called by a preposition or a determiner."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CLEAN = ["unilogit", "tasks", "flows", "deploy", "benchmarks"]
COLUMNS = {"at"}  # of the ledger's tables: its name is part of every hash in the audit chain
PREPOSITIONS = (
    "about above across against along amid among around as at behind below beneath beside besides between beyond by "
    "despite down during except for from in inside into like near of off on onto out outside over past per since than "
    "through throughout till to toward towards under until up upon via with within without"
)  # not `before` and `after`: metrics.json calls the two models of a run so
DETERMINERS = (
    "all another any both each either enough every few less many more most much neither no other others same several "
    "some such that the these this those what whatever which whichever whose"
)
BANNED = {*PREPOSITIONS.split(), *DETERMINERS.split(), "found", "given"}


def defined_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, name) of all that a module defines but functions and classes."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield node.lineno, name
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield node.lineno, name
            case ast.alias(asname=str(name)) | ast.MatchMapping(rest=str(name)):
                yield node.lineno, name


def banned_names(file: Path) -> list[tuple[int, str]]:
    names = defined_names(ast.parse(file.read_text()))
    return sorted((line, name) for line, name in names if name.strip("_").lower() in BANNED and name != "__all__")


@pytest.mark.parametrize("place", CLEAN)
def test_no_name_is_a_preposition_or_a_determiner(place):
    files = sorted((ROOT / place).rglob("*.py")) if (ROOT / place).is_dir() else [ROOT / place]
    assert files
    banned = [
        f"{file.relative_to(ROOT)}:{line}: {name}"
        for file in files
        for line, name in banned_names(file)
        if name not in COLUMNS or "ledger" not in file.parts
    ]
    assert not banned, "\n" + "\n".join(banned)


SOURCE = """
import json as of
def function(text, at, *each, on=1, **with_):
    self.found = [some for some in text]
    self.by: int = lambda other, name: (name, before)
    with open(text) as into, open(text) as stream:
        for key, (beside, _) in text: pass
    try: over = (onto := 1)
    except OSError as like: pass
    match text:
        case [both, *others]: name.at(on=1, of=by)
        case {"to": _, **those}: pass
"""


def test_every_way_to_define_a_name_is_seen_and_no_use_of_one(tmp_path):
    (tmp_path / "module.py").write_text(SOURCE)
    names = "of at each on with_ found some by other into beside over onto like both others those"
    assert {name for _, name in banned_names(tmp_path / "module.py")} == set(names.split())
