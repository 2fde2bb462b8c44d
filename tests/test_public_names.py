"""The library's surface: every name is there, and none is imported before it is used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import unilogit

SOURCE = ast.parse(Path(unilogit.__file__).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", unilogit.__all__)
def test_every_public_name_is_what_its_module_calls_so(name):
    value = getattr(unilogit, name)
    assert value is getattr(sys.modules[unilogit._MODULES[name]], name)
    assert name in dir(unilogit)


def test_type_checkers_see_the_same_names_as_the_interpreter():
    block = next(node for node in SOURCE.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    imported = {alias.name: node.module for node in block.body for alias in node.names}
    assert imported == unilogit._MODULES
    assert sorted(imported) == sorted(unilogit.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'retrain'"):
        unilogit.retrain  # noqa: B018
    with pytest.raises(ImportError, match="retrain"):
        from unilogit import retrain  # noqa: F401


def test_what_needs_no_model_imports_no_torch():
    code = "import sys, unilogit, unilogit.errors; assert not {'torch', 'pandas', 'pydantic'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
