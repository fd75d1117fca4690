"""The studio in a real browser: the five steps, a reload and a second tab, hostile cells, and whether everybody can use it."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
import pytest

import plainnet
from plainnet.service.listen import listen, server_of
from plainnet.studio.state import Studio
from plainnet.studio.studio import app_of
from tests.studio.helpers import until

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
axe_api = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")

HOSTILE = "<script>document.title='owned'</script>"


@pytest.fixture(scope="module")
def studio(tmp_path_factory) -> Iterator[tuple[Studio, str]]:
    sock = listen("127.0.0.1", 0)
    port = sock.getsockname()[1]
    studio = Studio(tmp_path_factory.mktemp("work"))
    server = server_of(app_of(studio, "127.0.0.1", port), "127.0.0.1", port)
    studio.is_ending = lambda: server.should_exit
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    yield studio, f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()  # open streams do not keep the server


@pytest.fixture(scope="module")
def context(studio) -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(
            viewport={"width": 1200, "height": 850}, reduced_motion="reduce", accept_downloads=True
        )
        context.set_default_timeout(30_000)
        yield context
        browser.close()


@pytest.fixture
def page(context, studio) -> Iterator[Any]:
    """A tab that is let in; afterwards: nothing went wrong, and nothing was asked of another host."""
    page, wrong = context.new_page(), []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request",
        lambda request: wrong.append(request.url) if not request.url.startswith((studio[1], "blob:")) else None,
    )
    page.goto(f"{studio[1]}/?token={studio[0].once}" if studio[0].once else studio[1])
    page.wait_for_selector("[data-table]")
    assert "token" not in page.url
    yield page
    page.close()
    assert not [each for each in wrong if "axe" not in each]


def no_barriers(page: Any) -> None:
    """axe finds nothing serious."""
    found = axe_api.Axe().run(page).response["violations"]
    serious = [
        (each["id"], [node["html"][:200] for node in each["nodes"]][:3])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
    assert not serious


def step(page: Any, name: str) -> None:
    page.click(f"[data-step={name}]")


def upload(page: Any, path: Path) -> None:
    page.set_input_files("#file", path)
    page.wait_for_selector(f"[data-table='{path.name}'][aria-pressed=true]")


def train(page: Any, **settings: str) -> None:
    page.evaluate("document.querySelector('#more').open = true")
    for name, value in settings.items():
        page.fill(f"[name={name}]", value)
    page.click("#train")
    page.wait_for_selector("#watching")


def test_a_table_is_chosen_learnt_judged_tried_and_kept(page, studio, tmp_path) -> None:
    path = tmp_path / "people.csv"
    plainnet.load_adult().head(1200).write_csv(path)
    upload(page, path)
    assert page.locator("#columns tbody tr").count() == 15
    assert page.input_value("#target") == "income"
    page.select_option("select[aria-label='Kind of education_num']", "category")
    page.wait_for_selector("text=chosen by the user")
    page.check("[value=quick]")
    no_barriers(page)
    train(page, epochs="4", members="4")
    page.wait_for_selector("#to-judge:visible", timeout=60_000)
    no_barriers(page)

    page.click("#to-judge")
    page.wait_for_selector(".score")
    assert page.locator(".score").count() >= 4
    assert "95 %" in page.locator(".score").first.inner_text()
    assert page.locator(".confusion td").count() == 4
    assert page.locator(".worst tbody tr").count() == 10
    page.wait_for_selector("#importance .chance")
    assert page.locator("#importance .chance").count() == 14  # what the networks see
    assert "log-loss grows" in page.inner_text("#importance figcaption")
    assert "people-1" in page.inner_text("#runs")
    no_barriers(page)

    step(page, "try")
    page.wait_for_selector("#answer .big")
    before = page.inner_text("#answer")
    page.locator("input[aria-label='capital_gain, slider']").fill("90000")
    until(lambda: page.inner_text("#answer") != before)
    page.click("#ask-why")
    page.wait_for_selector("#why .chance")
    assert page.inner_text("#why .chance span").startswith("capital_gain = 34095")  # the slider ends there
    no_barriers(page)

    step(page, "keep")
    page.wait_for_selector("text=import plainnet")
    assert "NetClassifier(" in page.inner_text("#kept pre")
    page.click("[data-kind=pytorch]")
    page.wait_for_selector("text=optimizer.step()")
    no_barriers(page)
    with page.expect_download() as download:
        page.click("text=Download the model")
    assert plainnet.load(download.value.path()).classes_.tolist() == ["<=50K", ">50K"]
    with page.expect_download() as download:
        page.click("text=As ONNX")
    assert onnx.load(download.value.path()).graph.output[0].name
    with page.expect_download() as download:
        page.set_input_files("#rows", path)
    assert pl.read_csv(download.value.path()).height == 1200


def test_two_inputs_are_drawn_as_they_are_learnt_through_a_reload_and_in_two_tabs(page, context, studio) -> None:
    page.click("[data-example=moons]")
    page.wait_for_selector("[data-table='example-moons.csv'][aria-pressed=true]")
    train(page, seconds="60", epochs="200")
    page.wait_for_selector("#plane-figure:visible")
    page.wait_for_selector("#network-figure:visible")
    assert (
        page.evaluate("""() => { const canvas = document.querySelector("#plane");
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data; return new Set(data).size }""")
        > 50
    )
    session = studio[0].session

    page.reload()
    page.wait_for_selector("#plane-figure:visible")
    assert page.inner_text("[aria-current=step]").endswith("Watch")
    assert studio[0].session is session
    assert not session.is_over

    other = context.new_page()
    other.goto(studio[1])
    other.wait_for_selector("#plane-figure:visible")
    other.click("#pause")
    page.wait_for_selector("text=Paused. The networks wait.")
    page.click("text=Go on")
    other.wait_for_selector("#pause:has-text('Pause')")
    other.click("[data-step=choose]")
    other.click("[data-table='example-moons.csv']")
    other.wait_for_selector("#order:visible")
    other.click("#train")
    other.wait_for_selector("text=only one at a time is run")
    other.click("[data-step=watch]")
    page.click("#stop")
    page.wait_for_selector("#to-judge:visible")
    other.wait_for_selector("#to-judge:visible")
    other.close()
    page.click("#to-judge")
    page.wait_for_selector("text=stopped early")
    assert "example-moons-1" in page.inner_text("#runs")


def test_a_hostile_table_is_harmless(page, studio, tmp_path) -> None:
    random = np.random.default_rng(0)
    names = [HOSTILE, "<img src=x onerror=alert(1)>", "\"'><svg/onload=alert(1)>", "{{7*7}}"]
    table = pl.DataFrame({names[0]: random.normal(size=200), names[1]: random.choice([HOSTILE, "<b>bold</b>", "ok"], 200),
                          names[2]: random.choice(["=1+1", "javascript:alert(1)"], 200)})  # fmt: skip
    table = table.with_columns(pl.Series(names[3], np.where(table[names[0]] > 0, HOSTILE, "<i>no</i>")))
    path = tmp_path / "hostile.csv"
    table.write_csv(path)
    upload(page, path)
    page.check("[value=quick]")
    train(page, epochs="3", members="2")
    page.wait_for_selector("#to-judge:visible", timeout=60_000)
    page.click("#to-judge")
    page.wait_for_selector(".worst")
    step(page, "try")
    page.wait_for_selector("#answer .big")
    assert HOSTILE in page.inner_text("#fields")
    assert HOSTILE in page.inner_text("#answer")
    step(page, "keep")
    page.wait_for_selector("text=import plainnet")
    assert "owned" not in page.title()
    assert (
        page.evaluate(
            "document.querySelectorAll('main img, main b:not(.score b, .chance b), main svg[onload], main script').length"
        )
        == 0
    )
    assert "'{{7*7}}'" in page.inner_text("#kept pre")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_has_no_sideways_scroll(context, studio, scheme) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": 400, "height": 800})
    page.emulate_media(color_scheme=scheme)
    page.goto(studio[1])
    page.click("[data-table='adult.csv.gz']")
    page.wait_for_selector("#order:visible")
    for name in ("choose", "watch", "judge", "try", "keep"):
        step(page, name)
        page.wait_for_selector(f"#{name}:visible")
        assert page.evaluate("document.documentElement.scrollWidth") <= 400, name
        no_barriers(page)
    page.close()


def test_the_steps_can_be_walked_with_the_keyboard(page) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#watch:visible")
    assert page.evaluate("document.activeElement.id") == "main"
