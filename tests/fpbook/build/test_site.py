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
AXE = ROOT / "_build" / "npm" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa")
SMALLEST = 9  # pixels of the page: text in a figure on a phone
CONTROLS = "input:not([type=hidden]), button, select, textarea, summary, [role=slider]"
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
            # The first ones may be for a kernel alone, and hidden.
            self.page.wait_for_selector(".jupyter-widgets", state="attached")
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


def test_text_in_figures_is_legible_on_a_phone(visit):
    visit.page.set_viewport_size(PHONE)
    sizes = """[...document.querySelectorAll('.fp-figure')].map(figure => {
        const image = figure.querySelector('img'), own = figure.querySelector('source')?.width;
        return figure.dataset.smallestText * Math.min(1, image.clientWidth / own);
    })"""
    assert [size for size in visit.page.evaluate(sizes) if size and size < SMALLEST] == []


def test_every_figure_has_a_caption(visit):
    bare = """[...document.querySelectorAll('.cell_output img')]
        .filter(i => !i.closest('figure, .jupyter-widgets')).map(i => i.alt)"""
    assert visit.page.evaluate(bare) == []


def test_no_output_is_empty(visit):
    empty = """[...document.querySelectorAll('.cell_output')].filter(output =>
        !output.querySelector('img, svg, canvas, input, .widget-subarea')
        && !output.textContent.trim()).length"""
    assert visit.page.evaluate(empty) == 0


def test_every_control_has_a_name(visit):
    nameless = f"""[...document.querySelectorAll('{CONTROLS}')].filter(one => !(one.ariaLabel
        || one.getAttribute('aria-labelledby') || one.title || one.labels?.length
        || one.textContent.trim())).map(one => one.outerHTML)"""
    assert visit.page.evaluate(nameless) == []


@pytest.mark.skipif(not AXE.exists(), reason="no axe-core here: npm could not fetch it")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_violates_wcag_2_1_aa(visit, theme):
    visit.page.set_viewport_size(WIDE)
    visit.page.add_style_tag(content="* { transition: none !important }")  # colours at once
    if not visit.page.evaluate("'axe' in window"):
        visit.page.add_script_tag(path=AXE)
    visit.page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    # The theme decides of colours alone.
    rules = {"type": "tag", "values": RULES} if theme == "light" else ["color-contrast"]
    options = {"runOnly": rules, "resultTypes": ["violations"], "preload": False}
    found = visit.page.evaluate("options => axe.run(document, options)", options)["violations"]
    assert [(one["id"], node["html"]) for one in found for node in one["nodes"]] == []


def test_the_first_screen_shows_the_finding(browser):
    page = browser.new_page(viewport=WIDE, offline=True)
    page.goto((SITE / "chapters" / "intro.html").as_uri())
    box = page.locator(".bd-article figure img").first.bounding_box()
    assert box["y"] < 300 and box["y"] + box["height"] < WIDE["height"]
    assert page.locator(".bd-article h2").first.bounding_box()["y"] < 1.2 * WIDE["height"]
    page.close()


def test_every_reference_is_linked():
    entries = (SITE / "chapters" / "references.html").read_text().split('<div class="citation"')[1:]
    assert entries
    assert [entry[:80] for entry in entries if 'href="http' not in entry] == []


def test_links_within_the_book_lead_somewhere():
    texts = {path: path.read_text() for path in PAGES}
    names = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in texts.items()}
    lost = []
    for path, text in texts.items():
        for link in re.findall(r'<a [^>]*?href="([^"]+)"', text):
            file, _, fragment = unquote(link).partition("#")
            if ":" in file or (not file and not fragment):
                continue
            target = (path.parent / file.split("?")[0]).resolve() if file else path
            if not target.exists() or (fragment and fragment not in names.get(target, {fragment})):
                lost.append((str(path.relative_to(SITE)), link))
    assert lost == []


def test_terms_symbols_and_citations_are_explained_on_focus(browser):
    page = browser.new_page(viewport=WIDE, offline=True)
    page.set_default_timeout(120_000)
    page.goto((SITE / "chapters" / "sparse-coding.html").as_uri())
    card = page.locator("#book-card")
    term = page.locator("a.book-term").first
    term.focus()
    card.wait_for(state="visible")
    assert term.inner_text().lower() in card.inner_text().lower()
    assert term.get_attribute("aria-describedby") == "book-card"
    page.keyboard.press("Escape")
    card.wait_for(state="hidden")
    symbol = page.locator("mjx-container.book-symbol:visible").first
    symbol.hover()
    card.wait_for(state="visible")
    page.keyboard.press("Escape")
    page.goto((SITE / "chapters" / "theory-model.html").as_uri())
    page.locator(".bibtex-citation a").first.focus()
    card.wait_for(state="visible")
    assert re.search(r"\d{4}", card.inner_text())
    page.close()


@pytest.mark.parametrize("words", ["purification", "glossary"])
def test_search_works_without_network_and_shows_excerpts(browser, words):
    page = browser.new_page(viewport=WIDE, offline=True)
    errors = []
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.goto((SITE / "search.html").as_uri() + f"?q={words}")
    page.wait_for_selector("ul.search li .context", timeout=120_000)
    page.wait_for_timeout(500)
    links = page.locator("ul.search > li > a")
    titles = [links.nth(i).inner_text() for i in range(links.count())]
    assert len(titles) == len(set(titles)) and all(titles)
    assert errors == []
    page.close()


def test_every_page_of_the_contents_is_there():
    assert [
        file for file in pages.table_of_contents() if not (SITE / f"{file}.html").exists()
    ] == []
