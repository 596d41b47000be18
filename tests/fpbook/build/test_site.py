"""The built site in a real browser, from disk, offline: every page, light and dark, two widths."""

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
from playwright.sync_api import sync_playwright

from fpbook.build import pages, site
from fpbook.build.chapters import ROOT

SITE = ROOT / "_build" / "html"
BROWSER = site.chromium()
PAGES = sorted(
    path
    for path in SITE.rglob("*.html")
    if "_static" not in path.parts and path.name != "index.html"
)  # a redirect
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PROSE = """(() => {
  const page = document.body.cloneNode(true);
  const left_out = page.querySelectorAll("pre, code, script, style, mjx-container");
  left_out.forEach(element => element.remove());
  return page.textContent;
})()"""
OWN = 2e6  # bytes of a page with its figures
ALL = 6e6  # and with the scripts, styles and fonts that pages share

pytestmark = [
    pytest.mark.skipif(not BROWSER, reason="no Chromium here: install it, or name one in CHROMIUM"),
    pytest.mark.skipif(not PAGES, reason="no site in _build/html: run make book first"),
]


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=list(site.FLAGS))
        yield browser
        browser.close()


class Visit:
    """A page opened offline, in a wide window, once its formulas and widgets are drawn."""

    def __init__(self, browser, path):
        self.path, self.errors, self.failed, self.loaded = path, [], [], {}
        self.page = browser.new_page(viewport=WIDE, offline=True)
        self.page.set_default_timeout(120_000)
        self.page.on(
            "console", lambda message: message.type == "error" and self.errors.append(message.text)
        )
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("requestfailed", lambda request: self.failed.append(request.url))
        self.page.on(
            "requestfinished", lambda request: self.loaded.update({request.url: size(request.url)})
        )
        self.page.goto(path.as_uri())
        self.page.evaluate("window.MathJax?.startup?.promise")
        self.has_widgets = "application/vnd.jupyter.widget-view+json" in path.read_text()
        if self.has_widgets:
            self.page.wait_for_selector(".jupyter-widgets")
            self.page.evaluate(
                "window.MathJax?.startup?.promise?.then(() => MathJax.typesetPromise())"
            )


def size(url):
    """Bytes of a file on disk; 0 for what is part of a page already."""
    return Path(unquote(urlparse(url).path)).stat().st_size if url.startswith("file:") else 0


@pytest.fixture(
    scope="module", params=PAGES, ids=lambda path: str(path.relative_to(SITE).with_suffix(""))
)
def visit(browser, request):
    visit = Visit(browser, request.param)
    yield visit
    visit.page.close()


def test_nothing_fails(visit):
    assert visit.errors == []
    assert visit.failed == []


def test_nothing_comes_from_the_network(visit):
    assert [url for url in visit.loaded if not url.startswith(("file:", "data:", "blob:"))] == []


def test_formulas_are_drawn(visit):
    assert visit.page.locator("mjx-container [data-mjx-error], mjx-merror").count() == 0
    text = visit.page.evaluate(PROSE)
    assert not re.search(
        r"\\\(|\\\[|\$\$|\\(frac|tfrac|mathbb|langle|tau|lVert|text|cos|sqrt|alpha|beta|ell)\b",
        text,
    )
    assert not re.search(r"\{(ref|prf:ref|glue:text|cite:[pt])\}", text)


def test_widgets_are_drawn(visit):
    if not visit.has_widgets:
        pytest.skip("no widgets on this page")
    drawn = """[...document.querySelectorAll('.widget-subarea')]
        .filter(area => area.querySelector('.jupyter-widgets')).length"""
    views = visit.page.locator('script[type="application/vnd.jupyter.widget-view+json"]').count()
    assert visit.page.evaluate(drawn) == views > 0
    controls = ", ".join(f".jupyter-widgets {kind}" for kind in ("input", "button", ".noUi-handle"))
    assert visit.page.locator(controls).count() > 0


def test_images_have_alternative_text(visit):
    silent = """[...document.images].filter(i => !i.alt.trim() && i.role != 'presentation')
        .map(i => i.src.slice(-80))"""
    assert visit.page.evaluate(silent) == []
    figures = "[...document.querySelectorAll('.cell_output > img')].map(i => i.alt)"
    for text in visit.page.evaluate(figures):
        assert text.startswith("Figure: ")  # in words, not "<Figure size 792x308 ...>"


def test_page_is_light(visit):
    shared = {
        url: n
        for url, n in visit.loaded.items()
        if re.search(r"/(_static|vendor)/|searchindex", url)
    }
    total = sum(visit.loaded.values())
    assert total - sum(shared.values()) <= OWN
    assert total <= ALL
    assert len(visit.loaded) <= 60


@pytest.mark.parametrize("window", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_fits_the_window(visit, window, theme):
    visit.page.set_viewport_size(window)
    visit.page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    visit.page.evaluate("theme => { document.documentElement.dataset.mode = theme }", theme)
    page = "document.documentElement"
    assert visit.page.evaluate(f"{page}.scrollWidth - {page}.clientWidth") <= 0
    if folder := os.environ.get("FPCORE_SCREENSHOTS"):
        name = f"{visit.path.stem}-{theme}-{window['width']}.png"
        visit.page.screenshot(path=Path(folder) / name, full_page=True)


def test_search_works_without_network(browser):
    page = browser.new_page(offline=True)
    page.goto((SITE / "search.html").as_uri() + "?q=purification")
    page.wait_for_selector("ul.search li a", timeout=120_000)
    page.close()


def test_every_page_of_the_contents_is_there():
    assert [
        file for file in pages.table_of_contents() if not (SITE / f"{file}.html").exists()
    ] == []
