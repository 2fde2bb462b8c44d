"""The example for a notebook in README.md runs as it stands, in a folder of its own, and forgets."""

import re
from pathlib import Path

import pytest

from unilogit import load_model

TEXT = Path("README.md").read_text(encoding="utf-8").split("## In a notebook\n")[1].split("\n## ")[0]


def test_the_example_forgets_and_keeps_what_it_says(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    before, after = names["before"].metrics, names["after"].metrics
    assert before["forget"]["probability"] > 0.9
    assert after["forget"]["probability"] < 0.2 < 0.8 * before["retain"]["probability"] < after["retain"]["probability"]
    printed = capsys.readouterr().out.splitlines()[-1]
    assert printed == str(
        {name: (before[name]["probability"], after[name]["probability"]) for name in ("forget", "retain")}
    )
    for key, value in load_model("unlearned")[0].state_dict().items():
        assert value.equal(names["trainer"].model.state_dict()[key])


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(unilogit[\w.]*)`", TEXT)) - {"unilogit"}))
def test_modules_that_the_section_names_are_there(name):
    __import__(name)
