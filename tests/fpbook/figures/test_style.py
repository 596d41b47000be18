import base64
import io
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

from fpbook.figures import style
from fpbook.figures.style import NETWORK_COLORS, decades, guide, means
from fpbook.results import Interval

pytestmark = pytest.mark.usefixtures("closed")
ROOT = Path(__file__).parents[3]
FIGURE = """
from fpbook.figures.style import start
start("quick", "cpu", 0)
import matplotlib.pyplot as plt
plt.plot([0, 1], [0, 1], label="a line")
plt.title("rising");
"""


@pytest.mark.filterwarnings("ignore")  # of the Jupyter clients, not ours
@pytest.mark.parametrize("backend", ["Agg", ""])
def test_a_notebook_shows_its_figures_with_their_words_whatever_the_environment_says(
    backend, monkeypatch, tmp_path
):
    (tmp_path / "matplotlibrc").write_text("backend: pdf\ntext.usetex: True\nsavefig.dpi: 9\n")
    monkeypatch.setenv("MATPLOTLIBRC", str(tmp_path))
    monkeypatch.setenv("MPLBACKEND", backend)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    cell = nbformat.v4.new_code_cell(FIGURE)
    notebook = nbformat.v4.new_notebook(cells=[cell])
    client = NotebookClient(notebook, kernel_name="python3", timeout=120)
    client.execute(cwd=str(ROOT))
    pictures = [output.data for output in cell.outputs if "image/png" in output.get("data", {})]
    (picture,) = pictures
    with Image.open(io.BytesIO(base64.b64decode(picture["image/png"]))) as image:
        assert min(image.size) > 100
    assert picture["text/plain"] == "Figure: rising: a line"


def test_every_network_has_one_colour_of_its_own():
    names = {name.upper(): color for name, color in NETWORK_COLORS.items()}
    assert {name: getattr(style, name) for name in names} == names
    assert len({*names.values(), style.DENSE}) == len(names) + 1


def test_the_reach_of_a_mean_is_to_the_ends_of_its_interval_or_none():
    numbers = [
        Interval(value=0.5, low=0.3, high=0.6, n=3),
        Interval(value=0.2, low=None, high=None, n=1),
    ]
    values, reach = means(numbers)
    assert values.tolist() == [0.5, 0.2]
    np.testing.assert_allclose(reach, [[0.2, 0], [0.1, 0]])


@pytest.mark.parametrize("slope", [1.0, -0.5, 0.0])
def test_a_guide_has_its_slope_and_goes_through_the_middle_of_all_points(slope):
    _, axis = plt.subplots()
    axis.loglog([1, 10, 100], [3, 4, 50], "o")
    axis.loglog([2, 1000], [1, 2], "o")
    axis.plot([], [], "o", label="empty")
    guide(axis, slope)
    x, y = axis.lines[-1].get_xdata(), axis.lines[-1].get_ydata()
    assert [*x] == pytest.approx([1, 1000])
    assert np.diff(np.log(y)) / np.diff(np.log(x)) == pytest.approx(slope)
    assert np.interp(np.log(10), np.log(x), np.log(y)) == pytest.approx(np.log(3))


@pytest.mark.parametrize("missing", [float("nan"), 0.0])
def test_a_guide_passes_by_points_that_have_no_logarithm(missing):
    _, axis = plt.subplots()
    axis.loglog([1, 10, 100, 10_000], [3, 4, 50, missing], "o")
    guide(axis, 1.0)
    x, y = axis.lines[-1].get_xdata(), axis.lines[-1].get_ydata()
    assert [*x] == pytest.approx([1, 100]) and [*y] == pytest.approx([0.4, 40])


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.02, 0.3], "0.02 0.05 0.1 0.2"),
        ([3, 4000], "10 100 1000"),
        ([66, 165], "70 100 150"),
        ([256, 1024], "300 500 700 1000"),
    ],
)
def test_a_log_log_plot_has_a_few_plain_numbers(values, ticks):
    _, axis = plt.subplots()
    axis.plot(values, [1, 1000], "o")
    decades(axis)
    axis.figure.canvas.draw()
    assert " ".join(label.get_text() for label in axis.get_xticklabels()) == ticks
    assert (axis.get_xscale(), axis.get_yscale()) == ("log", "log")
