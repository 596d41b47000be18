"""The report's page in a real browser, from disk, offline: light and dark, wide and narrow."""

import os
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright
from report_content import made_up

from fpcore.reporting.page import page as report_page

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
SMALLEST = """[...document.querySelectorAll("body *")]
    .filter(e => !["SCRIPT", "STYLE", "TITLE", "title"].includes(e.tagName))
    .filter(e => [...e.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
    .filter(e => e.checkVisibility())
    .map(e => parseFloat(getComputedStyle(e).fontSize))
    .reduce((a, b) => Math.min(a, b))"""

pytestmark = pytest.mark.skipif(
    not BROWSER, reason="no Chromium here: install it, or name one in CHROMIUM"
)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=BROWSER, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The page of a report on so many layers, {how many: its file}."""
    folder = tmp_path_factory.mktemp("report")
    for layers in (10, 500):
        (folder / f"{layers}.html").write_text(report_page(made_up(layers)))
    return {layers: folder / f"{layers}.html" for layers in (10, 500)}


@pytest.fixture
def opened(browser, files):
    """A function that opens the page; at the end nothing has failed, and nothing was loaded."""
    troubles, pages = [], []

    def visit(window=WIDE, scheme="light", layers=10):
        url = files[layers].as_uri()
        page = browser.new_page(viewport=window, color_scheme=scheme, offline=True)
        page.set_default_timeout(120_000)
        pages.append(page)
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: request.url != url and troubles.append(request))
        page.goto(url)
        return page

    yield visit
    for page in pages:
        page.close()
    assert troubles == []


@pytest.mark.parametrize("layers", [10, 500])
@pytest.mark.parametrize("window", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_window_and_can_be_read(opened, layers, window, scheme):
    page = opened(window, scheme, layers)
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollWidth - {root}.clientWidth") <= 0
    assert page.evaluate(SMALLEST) >= 11
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(251, 250, 246)", "dark": "rgb(20, 22, 26)"}[scheme]
    if folder := os.environ.get("FPCORE_SCREENSHOTS"):
        name = f"report-{layers}-{scheme}-{window['width']}.png"
        page.screenshot(path=Path(folder) / name, full_page=True)


def column(page, at):
    """The numbers in a column of the table, from top to bottom; None for a dash."""
    return page.evaluate(
        """at => [...document.querySelector("table.layers").tBodies[0].rows].map(row => {
            const data = row.cells[at].querySelector("data");
            return data ? Number(data.value) : null;
        })""",
        at,
    )


def test_columns_are_sorted_by_keyboard(opened):
    page = opened()
    in_order = column(page, 1)
    head = page.locator("table.layers thead th").nth(1)
    page.keyboard.press("Tab")
    for _ in range(60):
        if page.evaluate("document.activeElement.textContent").startswith("cos(w"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert column(page, 1) == sorted(in_order, reverse=True) != in_order
    page.keyboard.press("Space")
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(page, 1) == sorted(in_order)
    page.locator("table.layers thead button").first.press("Enter")
    assert column(page, 1) == in_order
    assert head.get_attribute("aria-sort") == "none"


def test_dashes_are_sorted_last(opened):
    page = opened()
    button = page.get_by_role("button", name="switched")
    at = button.evaluate("button => button.closest('th').cellIndex")
    for _ in range(2):
        button.press("Enter")
        values = column(page, at)
        assert values[-1] is None and None not in values[:-1]


@pytest.mark.parametrize(("layers", "wanted", "n"), [(10, "LAYER1.0", 2), (500, "Blocks.7.", 6)])
def test_layers_are_found_by_name(opened, layers, wanted, n):
    page = opened(layers=layers)
    page.get_by_label("Layers named").fill(wanted)
    seen = page.locator("table.layers tbody tr:visible th").all_inner_texts()
    assert len(seen) == n
    assert all(text.startswith(wanted.lower()) for text in seen)
    assert page.locator("output").inner_text() == f"{n} of {layers} layers"
    page.get_by_label("Layers named").fill("no such layer")
    assert page.locator("table.layers tbody tr:visible").count() == 0


def test_a_phone_folds_columns_and_shows_them_on_demand(opened):
    page = opened(PHONE)
    heads = page.locator("table.layers thead th:visible")
    assert heads.count() == 4
    page.get_by_text("Show all columns").press("Enter")
    assert heads.count() > 8
    stay = page.locator("table.layers tbody th").first
    before = stay.bounding_box()["x"]
    page.evaluate("document.querySelector('.scroll:has(.layers)').scrollLeft = 200")
    assert stay.bounding_box()["x"] == before


def test_hovering_over_a_layer_tells_its_values(opened):
    page = opened()
    columns = page.locator("#layers .plot .column")
    columns.nth(3).scroll_into_view_if_needed()
    box = columns.nth(3).bounding_box()
    at = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
    page.evaluate("at => { window.found = document.elementFromPoint(...at) }", at)
    tag, words = page.evaluate("[found.tagName, found.textContent]")
    assert tag == "rect"
    assert words == columns.nth(3).text_content()
    assert "w′ 0." in words and "chance ±0.0" in words


def test_print_shows_all_columns_and_rows(opened):
    page = opened(PHONE)
    page.emulate_media(media="print")
    scroll = "document.querySelector('.scroll:has(.layers)')"
    assert page.evaluate(f"{scroll}.scrollHeight - {scroll}.clientHeight") <= 0
    assert page.locator("table.layers thead th:visible").count() > 8
