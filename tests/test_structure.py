"""The house as it is planned: no import circle, no long file, no path of a workspace outside its list."""

import ast
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from tasks.workspace import Place

ROOT = Path(__file__).parents[1]
FILES = [
    Path(name)
    for name in subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
]
LONGEST = 300


def test_no_module_imports_itself_by_way_of_others():
    graph = grimp.build_graph("flows", "tasks", "unilogit", exclude_type_checking_imports=True, cache_dir=None)
    finished: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join([*path[path.index(module) :], module])
        if module not in finished:
            for imported in sorted(graph.find_modules_directly_imported_by(module)):
                visit(imported, (*path, module))
            finished.add(module)

    for module in sorted(graph.modules):
        visit(module, ())
    assert len(finished) > 100


NO_MODEL = (  # what begins commands that need no model, or that may be refused before they do
    *("flows.unlearn", "flows.rejudge", "flows.reconcile", "flows.purge", "flows.deployments"),
    *("tasks.requests.listing", "tasks.registry.listing", "tasks.corpus_check", "tasks.doctor", "tasks.planning.plan"),
    *("unilogit.losses.registry", "unilogit.evaluation.registry"),
)
SLOW = ("torch", "transformers", "sklearn", "mlflow", "great_expectations", "matplotlib")  # to import


def test_what_needs_no_model_begins_without_what_takes_seconds_to_import():
    code = f"import sys, {', '.join(NO_MODEL)}; print(*sorted({set(SLOW)!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_long_file_says_why(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    if len(text.splitlines()) > LONGEST:
        assert "onger than" in (ast.get_docstring(ast.parse(text)) or "")


def test_the_paths_of_a_workspace_stand_in_one_place():
    places = {str(place) for place in Place if "/" in place or "." in place}
    inside = [file for file in FILES if file.parts[0] in ("tasks", "flows") and file != Path("tasks/workspace.py")]
    for file in inside:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        documentation = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
                assert node.value not in places, f"{file}:{node.lineno}: {node.value}: name its Place"
