"""The commands of docs/production.md, by section: what is typed (`sh`), and what goes into a program (`python`)."""

import re

from tests.deploy.settings import ROOT

_BLOCK = r"^```{}\n(.*?)^```$"


def blocks(section: str, language: str = "sh") -> list[str]:
    """A section's blocks, in order."""
    text = (ROOT / "docs" / "production.md").read_text()
    part = re.split(r"^## ", text.split(f"\n## {section}\n")[1], flags=re.MULTILINE)[0]
    return re.findall(_BLOCK.format(language), part, flags=re.MULTILINE | re.DOTALL)
