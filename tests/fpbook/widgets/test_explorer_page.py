"""The explorers in a real browser, on a page made here: no kernel, no network, no library."""

import base64

import pytest

from fpbook.build import site
from fpbook.results.files import ROOT
from fpbook.synthetic.explorer_data import published_sliders
from fpbook.widgets.image_frames import frames_page, published_frames
from fpbook.widgets.sizes import CONTROL_VALUE, sizes_page

sync_api = pytest.importorskip("playwright.sync_api")
BROWSER, FLAGS = site.chromium(), list(site.FLAGS)
pytestmark = pytest.mark.skipif(
    not BROWSER, reason="no Chromium here: install it, or name one in CHROMIUM"
)
# The colours of the theme, which the page takes from it.
THEME = """
:root { --pst-color-text-base: #222; --pst-color-text-muted: #555; --pst-color-border: #ccc;
        --pst-color-background: #fff; --pst-color-primary: #0a7d91; }
body { max-width: 690px; margin: 0 auto; padding: 0 15px; }
.after { height: 1500px; }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a page for each explorer."""
    sliders, groups, _ = published_sliders()
    pages = {"sizes": sizes_page(groups, sliders), "images": frames_page(published_frames()[0])}
    static = ROOT / "_static"
    style = THEME + "".join((static / f"{n}.css").read_text() for n in ("figures", "explorer"))
    script = (static / "explorer.js").read_text()
    where = tmp_path_factory.mktemp("pages")
    for name, page in pages.items():
        (where / f"{name}.html").write_text(
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            f"<style>{style}</style><script>{script}</script>"
            f'<body class="bd-article">{page.markup}<div class="after"></div></body></html>'
        )
    return where


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, folder):
    """A function that opens an explorer at a width; its errors are in `page.errors`."""
    contexts = []

    def opened(name, width=1280, **options):
        context = browser.new_context(
            offline=True, viewport={"width": width, "height": 844}, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto((folder / f"{name}.html").as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()


def slider(page, label):
    return page.get_by_role("slider", name=label, exact=False)


def drawn(page):
    """All that the panels draw and say."""
    return page.locator(".fp-panels").evaluate("one => one.innerHTML")


def test_every_slider_has_a_name_and_a_spoken_value(opened):
    page = opened("sizes")
    spoken = page.locator("input[type=range]").evaluate_all(
        "each => each.map(one => [one.ariaLabel, one.getAttribute('aria-valuetext')])"
    )
    assert len(spoken) == 6 and all(name and value for name, value in spoken)
    assert ["training radius ε · √k", "training radius 0.3 over root k"] in spoken
    assert page.errors == []


def test_every_position_of_a_slider_is_drawn_by_the_keyboard(opened):
    page = opened("sizes")
    sliders, _, _ = published_sliders()
    for label, values in (("training radius", sliders.reach), ("width", sliders.width)):
        one = slider(page, label)
        one.press("Home")
        seen = set()
        for _ in values:
            seen.add(drawn(page))
            one.press("ArrowRight")
        assert len(seen) == len(values)
    assert page.errors == []


def test_at_radius_zero_the_network_is_called_trained_on_clean(opened):
    page = opened("sizes")
    one = slider(page, "training radius")
    one.press("Home")
    assert one.get_attribute("aria-valuetext") == CONTROL_VALUE
    text = page.locator(".fp-explorer").inner_text()
    assert CONTROL_VALUE in text and "trained on, attacked" in text
    assert "after FGM" not in text
    assert page.locator(".fp-panels .fp-control").count() > 3
    assert page.locator(".fp-panels .fp-trained").count() == 0


def test_a_mouse_moves_a_slider_and_values_are_read_under_the_pointer(opened):
    page = opened("sizes")
    one = slider(page, "training radius")
    before, box = drawn(page), one.bounding_box()
    one.click(position={"x": box["width"] - 2, "y": box["height"] / 2})
    assert drawn(page) != before
    panel = page.locator('[data-name="robust"] svg').first
    box = panel.bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 60)
    assert "at 0" in page.locator('[data-name="robust"] h4').inner_text()
    assert "100%" in page.locator('[data-name="robust"] .fp-legend').inner_text()


def test_values_are_read_by_the_arrow_keys_and_spoken(opened):
    page = opened("sizes")
    panel = page.locator('[data-name="robust"] > svg')
    panel.press("ArrowRight")
    assert "At 0: clean, attacked 100%" in panel.get_attribute("aria-label")
    panel.press("ArrowRight")
    assert "At 0.15" in panel.get_attribute("aria-label")


def test_the_numbers_are_those_published(opened):
    page = opened("sizes")
    _, groups, _ = published_sliders()
    after = groups["300-7-2.5-0.62"]["trained"]["2"]["0.3"]
    text = page.locator(".fp-facts").inner_text()
    assert f"{after['principle']:.0f}%" in text
    assert f"{after['certified'][4]:.0f}% – {after['attacked'][4]:.0f}%" in text


def test_on_a_phone_the_sliders_stay_in_view_and_nothing_is_wider_than_it(opened):
    page = opened("sizes", width=390, has_touch=True)
    page.locator('[data-name="moved"]').scroll_into_view_if_needed()
    page.mouse.wheel(0, 500)
    page.wait_for_timeout(200)
    box = page.locator(".fp-controls").bounding_box()
    assert 0 <= box["y"] < 5 and box["height"] < 0.25 * 844
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    sizes = page.locator(".fp-panel svg text").evaluate_all(
        "each => each.map(one => parseFloat(getComputedStyle(one).fontSize))"
    )
    assert min(sizes) >= 9


def test_in_print_all_panels_of_the_setting_are_there(opened):
    page = opened("sizes")
    page.emulate_media(media="print")
    assert page.locator(".fp-panel:visible").count() == 6
    assert page.locator(".fp-controls output:visible").count() == 6
    assert page.locator(".fp-fallback:visible").count() == 0
    assert page.pdf().startswith(b"%PDF")


@pytest.mark.parametrize("name", ["sizes", "images"])
def test_without_a_script_a_picture_is_there(opened, name):
    page = opened(name, java_script_enabled=False)
    image = page.locator(".fp-fallback img")
    assert image.is_visible() and image.get_attribute("alt")
    source = image.get_attribute("src")
    assert len(base64.b64decode(source.partition(",")[2])) > 5_000


def test_images_follow_their_sliders(opened):
    page = opened("images")
    image, radius = slider(page, "image"), slider(page, "attack radius")
    shown, _ = published_frames()
    seen = set()
    image.press("Home")
    for _ in shown["frames"]:
        radius.press("Home")
        for _ in shown["sliders"][1]["keys"]:
            seen.add(page.locator(".fp-portraits").inner_html())
            radius.press("ArrowRight")
        image.press("ArrowRight")
    assert len(seen) == len(shown["frames"]) * len(shown["sliders"][1]["keys"])
    assert page.locator(".fp-tile:not([aria-label])").count() == 0
    assert page.errors == []


def test_what_a_network_sees_is_what_is_published(opened):
    page = opened("images")
    shown, _ = published_frames()
    text = page.locator(".fp-portraits").inner_text()
    start = shown["sliders"][1]["start"]
    for name in shown["networks"]:
        assert f"The {name} network sees: {shown['frames'][0][start][name]['sees']}" in text
