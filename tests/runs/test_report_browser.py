"""report.html in a real Chromium: no error, no request, nothing wider than the screen, no barrier that axe knows."""

import shutil
from pathlib import Path

import pytest

from plainnet.runs.train_run import train_run
from tests.helpers import people
from tests.runs.test_report import EVIL, NAMES, TOWNS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome is installed")


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> list[Path]:
    """A plain report, and one of a table whose names and cells are hostile, long, and many."""
    import polars as pl

    folder = tmp_path_factory.mktemp("browser")
    people().write_csv(folder / "people.csv")
    settings = {"hidden": (8,), "epochs": 3, "members": 4}
    plain = train_run(folder / "people.csv", "rich", folder / "plain", settings=settings)
    table = people().with_columns(pl.col("town").replace(TOWNS), pl.lit(1.0).alias("n" * 300))
    table = table.with_columns(pl.lit("word " * 100).alias("long words")).rename(NAMES | {"rich": EVIL})
    table.write_csv(folder / "hostile.csv")
    hostile = train_run(folder / "hostile.csv", NAMES["income"], folder / "hostile", settings=settings)
    return [plain.path / "report.html", hostile.path / "report.html"]


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser):
    """Open a page: (path, width, colour scheme) -> (page, what it asked for, what it complained of)."""
    pages = []

    def open_page(path: Path, width: int, scheme: str):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        asked, complaints = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.goto(path.as_uri())
        page.wait_for_load_state("networkidle")
        pages.append(page)
        return page, asked, complaints

    yield open_page
    for page in pages:
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 400])
@pytest.mark.parametrize("number", [0, 1], ids=["plain", "hostile"])
def test_a_report_opens_quietly_fits_and_has_no_barriers(reports, opened, number, width, scheme) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page, asked, complaints = opened(reports[number], width, scheme)
    assert asked == [reports[number].as_uri()]
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for details in page.query_selector_all("details"):
        details.evaluate("each => each.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(page).response["violations"]
    assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.lang") == "en"


def test_dark_readers_get_a_dark_page_and_light_pictures(reports, opened) -> None:
    def colour(scheme: str, what: str, of: str) -> list[int]:
        page, _, _ = opened(reports[0], 1200, scheme)
        text = page.evaluate(f"getComputedStyle(document.querySelector('{what}')).{of}")
        return [int(part) for part in text[text.index("(") + 1 : -1].split(",")[:3]]

    assert sum(colour("light", "html", "backgroundColor")) > 700
    assert sum(colour("dark", "html", "backgroundColor")) < 100
    assert sum(colour("dark", ".picture svg text", "fill")) > 600
    assert sum(colour("light", ".picture svg text", "fill")) < 150


def test_the_text_of_pictures_can_be_found(reports, opened) -> None:
    page, _, _ = opened(reports[0], 1200, "light")
    assert page.evaluate("window.find('validation loss, mean of 4 networks')")


def test_nothing_is_cut_off_in_print(reports, opened) -> None:
    page, _, _ = opened(reports[0], 800, "dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert "255, 255, 255" in page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
