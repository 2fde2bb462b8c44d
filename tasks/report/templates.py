"""The pages' templates: where they lie and how they are filled in. Knows nothing of what a page says."""

from pathlib import Path
from typing import TYPE_CHECKING

from tasks.report.names import note, number, section_title

if TYPE_CHECKING:
    from jinja2 import Template


def load_template(name: str) -> "Template":
    """A template of this folder; what is put into it is text, never HTML, and none of it may be missing."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(number=number, section_title=section_title, note=note)
    return templates.get_template(name)
