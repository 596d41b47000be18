"""The ledger's cards: what they say, and how they look in a browser, wide and narrow."""

import re

import pytest
from bs4 import BeautifulSoup
from playwright import sync_api as playwright

from fpbook.build import site
from fpbook.results.axis import EDGE, WIDTH, interval_axis
from fpbook.results.cards import ledger_cards, verdict_badge
from fpbook.results.claim import Evidence
from fpbook.results.files import ROOT
from fpbook.results.intervals import Interval
from fpbook.results.ledger import MILD, VERDICTS, claims, verdict_counts
from fpbook.results.summaries import pick

PAGE = """<!doctype html><html lang="en"><head><meta name="viewport" content="width=device-width">
<title>Ledger</title><style>body {{ font: 16px sans-serif; margin: 16px; }}
html[data-theme="dark"] body {{ background: #121212; }}
{css}</style><script>{js}</script></head><body><h1>Ledger</h1><h2>Claims</h2>{cards}</body></html>"""
# the lowest contrast of any text on its background, as WCAG 2 defines it
CONTRAST = """() => {
  const numbers = (color) => (color.match(/[\\d.]+/g) || []).map(Number);
  const light = (rgb) => rgb.slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const color = numbers(getComputedStyle(node).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  let worst = 21;
  for (const node of document.querySelectorAll(".ledger *:not(svg, svg *)")) {
    if (![...node.childNodes].some((c) => c.nodeType === 3 && c.data.trim())) continue;
    const [a, b] = [light(numbers(getComputedStyle(node).color)), light(behind(node))];
    worst = Math.min(worst, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return worst;
}"""


@pytest.fixture(scope="module")
def entries():
    """The published ledger."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FPCORE_RESULTS", raising=False)
        return claims()


@pytest.fixture(scope="module")
def soup(entries):
    """Its cards, parsed."""
    return BeautifulSoup(ledger_cards(entries), "html.parser")


def test_there_is_one_card_a_claim_and_its_id_is_the_claims(soup, entries):
    cards = soup.select("article.claim")
    assert [card["id"] for card in cards] == [entry.claim.id for entry in entries]
    for card, entry in zip(cards, entries):
        assert card.select_one("h3 .verdict").text == entry.judged
        assert card.select_one(".plain").text == entry.claim.plain
        assert card.select_one("h3 a")["href"] == f"#{entry.claim.id}"
        assert entry.claim.statement in card.select_one("details").text
        assert entry.claim.recipe.command == card.select_one("pre").text


def test_a_card_shows_every_figure_with_how_many_seeds_it_is_of(soup, entries):
    for card, entry in zip(soup.select("article.claim"), entries):
        shown = card.select(".figures li")
        assert len(shown) == len(entry.claim.evidence)
        for row in shown:
            assert re.search(r"\d+ (seeds|sizes)|n = 1|not yet measured", row.text), row.text
    two = next(row for row in soup.select("#P1-layers .figures li") if "cos_two_seeds" in row.text)
    assert "2 seeds" in two.text


def test_an_interval_is_printed_so_that_its_bound_is_seen_to_be_met(soup):
    assert re.search(r"0\.65% \[0\.32%, 0\.98%\].*less than 1%: met", soup.select_one("#T1").text)


def test_a_mild_claim_says_what_would_pass_as_well(soup, entries):
    for entry in entries:
        line = soup.select_one(f'[id="{entry.claim.id}"] .null-line')
        assert bool(line and line.text.startswith("Mild: ")) == entry.mild, entry.claim.id
        passing = [test.null.words for test in entry.nulls if test.passes]
        assert all(words in line.text for words in passing)


def test_the_strip_counts_each_verdict(soup, entries):
    texts = [label.text.strip() for label in soup.select(".ledger-strip label")]
    counts = verdict_counts(entries)
    assert texts == [f"all {len(entries)}", *(f"{name} {n}" for name, n in counts.items())]
    assert list(counts) == [verdict for verdict in VERDICTS if verdict in counts]


def test_every_verdict_has_a_shape_of_its_own():
    assert len({re.search("<svg.*</svg>", verdict_badge(one))[0] for one in VERDICTS}) == 5
    assert 'class="verdict holds-mild"' in verdict_badge(MILD)


def test_what_a_claim_says_is_text_and_no_markup(tmp_path, put):
    path = tmp_path / "claims.toml"
    path.write_text(
        '[[claim]]\nid = "X"\nstatement = "a < b & <i>c</i>"\nchapter = "chapters/x"\n'
        'notes = ["`k` < <b>1</b>"]\n'
        'figures = [{ result = "synthetic", quantity = "radius", above = 0.5 }]\n'
    )
    html = ledger_cards(claims(path=path))
    assert "a &lt; b &amp; &lt;i&gt;c" in html and "<code>k</code> &lt; &lt;b&gt;1" in html
    assert "Not yet measured." in html and "not yet measured 1" in BeautifulSoup(
        html, "html.parser"
    ).text.replace("\n", " ")


def drawn(sign, bound, number, nulls=None):
    figure = Evidence("synthetic", pick("cos_to_clean", "purified"), sign, bound)
    return BeautifulSoup(interval_axis(figure, number, nulls), "html.parser")


@pytest.mark.parametrize(("sign", "bound"), [(">", 0.2), ("<", 0.7), ("in", (0.3, 0.6))])
def test_on_the_axis_an_interval_lies_in_the_good_region_if_it_meets_its_bound(sign, bound):
    def ends(shape):
        x, width = float(shape["x"]), float(shape["width"])
        return x, x + width

    for number in (Interval(0.4, 0.35, 0.45, 3), Interval(0.65, 0.1, 0.9, 3)):
        picture = drawn(sign, bound, number)
        low, high = ends(picture.select_one(".good"))
        start, end = ends(picture.select_one(".interval"))
        assert (low - 2 <= start and end <= high + 2) == bool(number.meets(sign, bound)), number
        for shape in (low, high, start, end):
            assert EDGE - 2 <= shape <= WIDTH - EDGE + 2


def test_a_null_beyond_the_axis_lies_at_its_end_and_is_named():
    picture = drawn(">", 0.5, Interval(0.6, 0.55, 0.65, 3), {"nothing": Interval(9, 9, 9, 3)})
    path = picture.select_one(".null")
    assert path["d"].startswith(f"M{float(WIDTH - EDGE)} ") and path.text == "nothing"
    label = picture.select_one("svg")["aria-label"]
    assert "required: more than 0.5; nothing: 9.000" in label and "0.600 [0.550, 0.650]" in label


@pytest.fixture(scope="module")
def browser():
    if not site.chromium():
        pytest.skip("no Chromium here")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=site.chromium(), args=list(site.FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def file(entries, tmp_path_factory):
    """The cards as a page of their own, with the site's style."""
    path = tmp_path_factory.mktemp("ledger") / "claims.html"
    css, js = ((ROOT / "_static" / f"ledger.{kind}").read_text() for kind in ("css", "js"))
    path.write_text(PAGE.format(css=css, js=js, cards=ledger_cards(entries)))
    return path


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_cards_are_legible_and_nothing_is_off_the_screen(browser, file, width, theme):
    page = browser.new_page(viewport={"width": width, "height": 900}, offline=True)
    page.goto(file.as_uri())
    page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CONTRAST) >= 4.5
    smallest = """() => Math.min(...[...document.querySelectorAll(".claim-axis text")]
        .map((t) => parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a))"""
    assert page.evaluate(smallest) >= 9
    page.close()


@pytest.mark.parametrize("script", [True, False])
def test_a_link_to_a_claim_shows_its_card_open_with_and_without_scripts(browser, file, script):
    context = browser.new_context(java_script_enabled=script, offline=True)
    page = context.new_page()
    page.goto(f"{file.as_uri()}#T2")
    assert page.locator('[id="T2"] .figures li').first.is_visible()
    assert not page.locator('[id="T1"] .figures li').first.is_visible()
    assert page.locator('[id="T2"]').bounding_box()["y"] < 200
    context.close()


def test_a_verdict_filters_the_cards_by_keyboard(browser, file, entries):
    page = browser.new_page(offline=True)
    page.goto(file.as_uri())
    page.locator(".ledger-strip input").first.focus()
    page.keyboard.press("ArrowRight")
    shown = page.locator(".claim:visible h3 .verdict").all_text_contents()
    first = next(iter(verdict_counts(entries)))
    assert shown == [entry.judged for entry in entries if entry.judged == first]
    page.close()


def test_on_paper_all_cards_are_there_and_open(browser, file, entries):
    page = browser.new_page(offline=True)
    page.goto(f"{file.as_uri()}")
    page.locator('.ledger-strip input[value="fails"]').check()
    page.emulate_media(media="print")
    assert page.locator(".claim:visible").count() == len(entries)
    assert page.locator(".claim .figures:visible").count() == len(entries)
    page.close()
