import base64
import io
import re
import threading
import time

import pytest
from ipywidgets import HTML, Stack
from ipywidgets.widgets.widget import _instances
from ipywidgets.widgets.widget_link import Link
from matplotlib.figure import Figure
from PIL import Image

from fpbook.widgets.controls import (
    PALETTE_SIZE,
    Latest,
    Superseded,
    card,
    heartbeat,
    panels,
    picture,
    slider,
    small_axes,
)


def follow(widget, *sliders):
    """The HTML that the browser shows: at each Stack the child that its linked slider chose."""
    while isinstance(widget, Stack):
        (linked,) = [
            link.source[0] for link in links() if link.target == (widget, "selected_index")
        ]
        assert linked is sliders[0]
        widget, sliders = widget.children[linked.index], sliders[1:]
    assert isinstance(widget, HTML) and not sliders
    return widget.value


def links():
    return [widget for widget in _instances.values() if isinstance(widget, Link)]


def test_every_combination_of_positions_has_its_panel():
    one, two = slider("one", "abc", 1), slider("two", "de")
    out = panels([one, two], lambda i, j: f"{i}{j}")
    for one.index in range(3):
        for two.index in range(2):
            assert follow(out, one, two) == f"{one.index}{two.index}"


def test_panels_start_where_the_sliders_do():
    one = slider("one", "abc", 2)
    assert panels([one], str).selected_index == 2


@pytest.mark.parametrize(
    ("options", "start", "message"),
    [([], 0, "two"), (["a"], 0, "two"), ("ab", 2, "start = 2"), ("ab", -1, "start = -1")],
)
def test_bad_sliders_are_refused(options, start, message):
    with pytest.raises(ValueError, match=message):
        slider("radius", options, start)


def test_a_picture_is_small_and_says_what_it_shows():
    figure, axis = small_axes()
    axis.plot([0, 1], [0, 1])
    text = picture(figure, 'a "rising" line <b>')
    assert 'alt="a &quot;rising&quot; line &lt;b&gt;"' in text
    data = base64.b64decode(re.search(r"base64,([^\"]+)", text)[1])
    image = Image.open(io.BytesIO(data))
    assert image.mode == "P" and len(image.getcolors()) <= PALETTE_SIZE and image.size == (350, 260)
    assert len(data) < 15_000
    assert card(text, text).count("<img") == 2


def test_small_axes_leave_pyplot_alone():
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    figure, axes = small_axes(2)
    assert isinstance(figure, Figure) and len(axes) == 2 and plt.get_fignums() == before


def test_the_heartbeat_is_heard_once():
    heard = []
    beat = heartbeat(lambda: heard.append(1))
    assert beat.layout.display == "none" and heard == []
    (ticked,) = [link.source[0] for link in links() if link.target == (beat, "value")]
    assert ticked.value and not beat.value  # the link, made in the browser, will change it
    beat.value = True
    beat.value = False
    assert heard == [1]


def test_a_burst_of_requests_is_one_job():
    done, failures = [], []
    jobs = Latest(failures.append, delay=0.1)
    for i in range(10):
        jobs.submit(lambda check, i=i: done.append(i))
    jobs.wait()
    assert done == [9] and failures == []


def test_a_newer_job_ends_the_one_that_runs():
    started, log = threading.Event(), []
    jobs = Latest(log.append, delay=0.0)

    def long(check):
        started.set()
        try:
            while True:
                check()
                time.sleep(0.001)
        except Superseded:
            log.append("given up")
            raise

    jobs.submit(long)
    assert started.wait(10)
    jobs.submit(lambda check: log.append("newer"))
    jobs.wait()
    assert log == ["given up", "newer"]


def test_one_job_at_a_time():
    running, most = [], []
    jobs = Latest(most.append, delay=0.0)

    def job(check):
        running.append(1)
        most.append(len(running))
        time.sleep(0.01)
        running.pop()

    for _ in range(5):
        jobs.submit(job)
        time.sleep(0.005)
    jobs.wait()
    assert most and {*most} == {1}


def test_an_error_is_told_and_the_next_job_runs():
    failures, done = [], []
    jobs = Latest(failures.append, delay=0.0)
    jobs.submit(lambda check: 1 / 0)
    jobs.wait()
    jobs.submit(lambda check: done.append(1))
    jobs.wait()
    assert [type(e) for e in failures] == [ZeroDivisionError] and done == [1]
