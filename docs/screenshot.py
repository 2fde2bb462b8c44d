"""Photograph the report of a finished run, for the README: `python -m docs.screenshot var/runs/<batch-id>`.

Takes the page that is logged to MLflow, which shows no prompt, answer or person. Needs Chromium and playwright.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.workspace import Place, Workspace

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PICTURE = Path(__file__).parent / "report.png"
DESKTOP = {"width": 1000, "height": 1300}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@contextmanager
def open_browser() -> Iterator["Browser"]:
    """The system's Chromium, headless; closed at the end.

    Raises:
        FileNotFoundError: there is none.
    """
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise FileNotFoundError(f"none of {', '.join(BROWSERS)} is installed; run `apt-get install chromium`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_QUIET)
        try:
            yield browser
        finally:
            browser.close()


def photograph(browser: "Browser", workspace: Workspace) -> Path:
    """Write docs/report.png: the first screen of the workspace's report."""
    report = workspace.path(Place.LOGGED_REPORT).resolve()
    if not report.is_file():
        register = f"python -m tasks.steps.register --workspace {workspace.root}"
        sys.exit(f"error: {report}: no such file; run `{register}` first")
    page = browser.new_page(viewport=DESKTOP)
    page.goto(report.as_uri())
    page.screenshot(path=PICTURE)
    return PICTURE


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m docs.screenshot WORKSPACE")
    with open_browser() as chromium:
        print(photograph(chromium, Workspace(Path(sys.argv[1]))))
