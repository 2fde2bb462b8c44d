"""The review page in a real browser, without a network, at the width of a desk and of a phone."""

import io

import matplotlib.image
import pytest

from docs import screenshot
from docs.screenshot import open_browser
from tasks.params import load_params
from tasks.report.page import write_report
from tasks.report.review import read_review
from tasks.workspace import Place, Workspace
from tests.tasks.workspaces import add_attacks_and_baselines, add_people, build, varied

SCREENS = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
LARGEST_FILE = 1_500_000  # bytes
SLOWEST_LOAD = 1000  # milliseconds
LONG = "word" * 500

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """One whose report is of a thousand people, with every picture."""
    metrics = varied(unavailable={"a.very.long.path." * 9: LONG})
    workspace = build(tmp_path_factory.mktemp("runs") / "batch-7", metrics)
    add_people(workspace, [[f"P-{place}"] for place in range(1000)])
    add_attacks_and_baselines(workspace)
    write_report(workspace, read_review(workspace), load_params("params.yaml", ["unlearn.method=npo"]))
    return workspace


@pytest.fixture(scope="module")
def browser():
    try:
        with open_browser() as browser:
            yield browser
    except FileNotFoundError as missing:
        pytest.fail(str(missing))


@pytest.fixture(params=SCREENS)
def screen(request):
    return SCREENS[request.param]


@pytest.fixture(params=[Place.REPORT, Place.LOGGED_REPORT])
def report(request, workspace):
    return workspace.path(request.param)


@pytest.fixture
def opened(browser, report, screen):
    """The loaded page, what it asked for and what it complained of."""
    context = browser.new_context(viewport=screen, offline=True)
    page, requests, complaints = context.new_page(), [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(report.as_uri())
    yield page, requests, complaints
    context.close()


def test_the_verdict_is_in_the_first_screen(opened, screen):
    page, _, _ = opened
    assert page.title() == "Unlearning report batch-7"
    for wanted in ("h1", ".verdict"):
        box = page.locator(wanted).bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= screen["height"]
        assert page.locator(wanted).is_visible()
    assert "This version may not be promoted." in page.locator(".verdict").inner_text()


def test_the_page_does_not_scroll_sideways(opened):
    page, _, _ = opened
    page.evaluate("for (const folded of document.querySelectorAll('details')) folded.open = true")
    width, room = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= room


def test_every_picture_is_one_and_says_what_it_shows(opened):
    page, _, _ = opened
    pictures = page.evaluate("[...document.images].map(image => [image.complete, image.naturalWidth, image.alt])")
    assert len(pictures) == 6
    assert all(complete and width > 0 and description for complete, width, description in pictures)


def test_the_page_asks_for_nothing_and_complains_of_nothing(opened, report):
    _, requests, complaints = opened
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]
    assert complaints == []


def test_the_page_opens_at_once(opened, report):
    page, _, _ = opened
    assert page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") < SLOWEST_LOAD
    assert report.stat().st_size < LARGEST_FILE


def test_every_column_and_row_has_a_header(opened):
    page, _, _ = opened
    assert page.evaluate("[...document.querySelectorAll('thead th')].every(cell => cell.scope && cell.textContent)")
    assert page.evaluate("[...document.querySelectorAll('tbody tr')].every(row => row.querySelector('th[scope=row]'))")


def test_the_screenshot_is_the_first_screen_of_the_page_that_shows_nobody(browser, workspace, tmp_path, monkeypatch):
    monkeypatch.setattr(screenshot, "PICTURE", tmp_path / "report.png")
    photograph = matplotlib.image.imread(screenshot.photograph(browser, workspace))
    assert photograph.shape[:2] == (screenshot.DESKTOP["height"], screenshot.DESKTOP["width"])
    page = browser.new_page(viewport=screenshot.DESKTOP)
    page.goto(workspace.path(Place.LOGGED_REPORT).as_uri())
    assert (photograph == matplotlib.image.imread(io.BytesIO(page.screenshot()))).all()
    with pytest.raises(SystemExit, match=r"logged/report\.html: no such file; run `python -m tasks\.steps\.register"):
        screenshot.photograph(browser, Workspace(tmp_path))


def test_without_a_browser_one_is_told_which_to_install(monkeypatch):
    monkeypatch.setattr(screenshot.shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError, match="apt-get install chromium"), open_browser():
        pass
