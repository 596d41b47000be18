"""The explorers' sliders in a real browser, without kernel and network.

On a small page made here, and on the built site.
"""

import shutil

import pytest
import torch
from ipywidgets.embed import embed_snippet

from fpbook.build import site
from fpbook.results import show
from fpbook.results.files import ROOT
from fpbook.synthetic.film import record_training
from fpbook.synthetic.many_at_once import Grid, explorer_grid, run_grid
from fpbook.synthetic.measured_grid import (
    EVALUATED,
    compare_networks,
    measure_grid,
    over_seeds,
)
from fpbook.widgets.radius_and_width import Explorer
from fpbook.widgets.training_film import training_slider

sync_api = pytest.importorskip("playwright.sync_api")

CPU = torch.device("cpu")
SITE = ROOT / "_build" / "html" / "chapters" / "explorer.html"
EMBED = (
    ROOT
    / "_build"
    / "npm"
    / "node_modules"
    / "@jupyter-widgets"
    / "html-manager"
    / "dist"
    / "embed.js"
)
BROWSER, FLAGS = site.chromium(), list(site.FLAGS)

pytestmark = pytest.mark.skipif(
    not BROWSER, reason="no Chromium here: install it, or name one in CHROMIUM"
)


@pytest.fixture(scope="module")
def small(tiny, tmp_path_factory):
    """A page with both explorers at a tiny size, and the answers behind it."""
    if not EMBED.exists():
        pytest.skip(f"{EMBED} is not there: run make book where npm is")
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FPCORE_CACHE", str(folder / "cache"))
        answers = measure_grid(
            Grid(tiny, (0.0, 0.3, 0.65), (1.0, 2.0), (0, 1)), CPU, progress=False
        )
        views = [
            Explorer(answers, CPU),
            training_slider(record_training(tiny, 0, CPU, progress=False)),
        ]
    # A script asked for across origins does not load from disk.
    snippet = embed_snippet(views, embed_url="embed.js", requirejs=False).replace(
        ' crossorigin="anonymous"', ""
    )
    (folder / "page.html").write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><body>{snippet}</body></html>'
    )
    shutil.copy(EMBED, folder)
    return folder / "page.html", answers.grid, answers.numbers


@pytest.fixture(scope="module")
def built():
    """The chapter in the built site, and numbers measured anew on its checkpoint's networks."""
    if not SITE.exists():
        pytest.skip(f"{SITE} is not there: run make book first")
    grid = explorer_grid("quick", 0)

    def numbers(reach, width, evaluation):
        runs = [run_grid(grid, CPU, progress=False)[reach, width, s] for s in grid.seeds]
        return over_seeds([compare_networks(run, [evaluation]) for run in runs], 0)

    return SITE, grid, numbers


@pytest.fixture(scope="module", params=["small", "built"])
def page(request):
    path, grid, numbers = request.getfixturevalue(request.param)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        page = browser.new_context(
            offline=True, viewport={"width": 1280, "height": 1000}
        ).new_page()
        page.goto(path.as_uri())
        page.wait_for_selector(".noUi-handle", timeout=60_000)
        page.grid, page.numbers = grid, numbers
        yield page
        browser.close()


def slider(page, label):
    """The handle of a labelled slider."""
    return page.locator(".widget-hslider", has=page.locator("label", has_text=label)).locator(
        ".noUi-handle"
    )


def explorer(page, label="training radius"):
    """The outermost widget around a labelled slider."""
    row = page.locator(".widget-hslider", has=page.locator("label", has_text=label))
    return row.locator("xpath=ancestor::*[contains(@class, 'widget-vbox')][last()]")


def count(handle):
    return int(float(handle.get_attribute("aria-valuemax"))) + 1


def images(root):
    return tuple(root.locator("img:visible").evaluate_all("each => each.map(image => image.src)"))


def test_every_position_of_both_sliders_has_its_own_figure(page):
    radius, width = slider(page, "training radius"), slider(page, "width m")
    assert (count(radius), count(width)) == (len(page.grid.reaches), len(page.grid.widths))
    seen = []
    radius.press("Home")
    for _ in page.grid.reaches:
        width.press("Home")
        for _ in page.grid.widths:
            seen.append(images(explorer(page)))
            width.press("ArrowRight")
        radius.press("ArrowRight")
    assert all(len(each) == 4 for each in seen)
    assert len({*seen}) == len(page.grid.reaches) * len(page.grid.widths)


def test_the_value_shown_is_the_value_computed(page):
    radius, width, evaluation = (
        slider(page, label) for label in ("training radius", "width m", "evaluation radius")
    )
    radius.press("End")
    width.press("Home")
    evaluation.press("Home")
    evaluation.press("ArrowRight")
    cells = explorer(page).locator("table:visible td").all_inner_texts()
    numbers = page.numbers(page.grid.reaches[-1], page.grid.widths[0], EVALUATED[1])
    assert [cell.strip() for cell in cells if cell.strip()] == [
        show(number) for number in numbers.values()
    ]


def test_every_evaluation_radius_has_its_own_table(page):
    handle = slider(page, "evaluation radius")
    handle.press("Home")
    captions = []
    for _ in EVALUATED:
        captions.append(explorer(page).locator("caption:visible").inner_text())
        handle.press("ArrowRight")
    assert [f"radius {r:.2f}/√k" in caption for r, caption in zip(EVALUATED, captions)] == [
        True
    ] * len(EVALUATED)


def test_time_runs(page):
    handle = slider(page, "training step")
    handle.press("Home")
    seen = []
    for _ in range(count(handle)):
        seen.append(images(explorer(page, "training step")))
        handle.press("ArrowRight")
    assert len(seen) > 4 and len({*seen}) == len(seen)


def test_a_touch_moves_a_slider(page):
    handle = slider(page, "training radius")
    handle.press("Home")
    before = images(explorer(page))
    track = handle.locator("xpath=ancestor::*[contains(@class, 'noUi-target')]")
    box = track.bounding_box()
    track.click(position={"x": box["width"] - 2, "y": box["height"] / 2})
    assert images(explorer(page)) != before


def test_sliders_and_figures_say_what_they_are(page):
    assert page.locator("img:not([alt])").count() == 0
    for handle in page.locator(".noUi-handle:visible").all():
        assert handle.get_attribute("role") == "slider" and handle.get_attribute("tabindex") == "0"


def test_the_browser_ticks_the_heartbeat_by_itself(page):
    assert page.locator(".widget-checkbox input").is_checked()


def test_without_a_kernel_there_is_nothing_to_compute(page):
    page.wait_for_timeout(500)
    assert page.locator("input[type=number]:visible").count() == 0
