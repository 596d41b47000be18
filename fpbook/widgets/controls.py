"""Sliders that need no kernel, with a panel made for each position; and jobs for a kernel."""

import base64
import html
import io
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from ipywidgets import (
    HTML,
    BoundedFloatText,
    Checkbox,
    Layout,
    SelectionSlider,
    Stack,
    Widget,
    jslink,
)
from ipywidgets.widgets.widget_string import HTMLStyle
from matplotlib.figure import Figure
from PIL import Image

LABEL = {"description_width": "11em"}
PALETTE_SIZE = 16  # of a picture: enough for lines and markers, a fifth of the bytes


class Superseded(Exception):
    """A newer request has come; the work on this one ends."""


def small_axes(rows: int = 1) -> tuple[Figure, Any]:
    """A small figure with its axes, an array of them for several rows.

    It is outside pyplot, which threads must not share.
    """
    figure = Figure(figsize=(3.5, 2.6), layout="constrained")
    return figure, figure.subplots(rows, sharex=True, sharey=True)


def picture(figure: Figure, alt: str, dpi: int = 100, colors: int = PALETTE_SIZE) -> str:
    """The figure as an HTML image with a small palette, at most as wide as on paper.

    figure  what to draw
    alt     the figure in words
    dpi     pixels an inch of the figure
    colors  how many the palette has
    """
    full = io.BytesIO()
    figure.savefig(full, format="png", dpi=dpi, facecolor="white")
    with Image.open(full) as image:
        small = image.convert("RGB").quantize(colors, dither=Image.Dither.NONE)
    packed = io.BytesIO()
    small.save(packed, "png", optimize=True)
    source = base64.b64encode(packed.getvalue()).decode()
    width = round(100 * figure.get_figwidth())
    style = f"flex:1 1 {0.85 * width:.0f}px;min-width:0;width:100%;max-width:{width}px"
    style += ";height:auto;margin:0"
    return f'<img alt="{html.escape(alt)}" style="{style}" src="data:image/png;base64,{source}">'


def card(*pictures: str) -> str:
    """Pictures side by side as far as they fit, on white: legible in light and dark pages."""
    style = "display:flex;flex-wrap:wrap;justify-content:center;align-items:center;gap:4px"
    style += ";background:white;border-radius:10px;padding:8px"
    return f'<div style="{style}">{"".join(pictures)}</div>'


def slider(label: str, options: Sequence[str], start: int = 0) -> SelectionSlider:
    """A labelled slider over at least two options."""
    if len(options) < 2:
        raise ValueError(f"{label}: {list(options)!r}: a slider needs at least two options")
    if not 0 <= start < len(options):
        raise ValueError(f"start = {start!r}: {label} has the options 0 to {len(options) - 1}")
    return SelectionSlider(
        options=[*options],
        index=start,
        description=label,
        style=LABEL,
        layout=Layout(width="auto", max_width="40em"),
    )


def number_input(
    label: str, value: float, low: float, high: float, step: float
) -> BoundedFloatText:
    """A labelled input of a number.

    label  to the left of the input
    value  to start with
    low    smaller numbers are clipped to it
    high   larger numbers are clipped to it
    step   of the input's arrows
    """
    layout = Layout(width="18em")
    return BoundedFloatText(
        value, min=low, max=high, step=step, description=label, style=LABEL, layout=layout
    )


def panels(sliders: Sequence[SelectionSlider], panel: Callable[..., str]) -> Widget:
    """HTML that follows the sliders in the browser alone, `panel(i, j, ...)` at positions i, j, ...

    One Stack a slider, each inside the one before, linked to its slider without Python: the saved
    state is all it needs.
    """
    # One model of each for all panels, not one for each of them.
    layout, style = Layout(width="auto"), HTMLStyle()

    def stack(rest: Sequence[SelectionSlider], index: tuple[int, ...]) -> Widget:
        if not rest:
            return HTML(panel(*index), layout=layout, style=style)
        children = [stack(rest[1:], (*index, i)) for i in range(len(rest[0].options))]
        out = Stack(children, selected_index=rest[0].index, layout=layout)
        jslink((rest[0], "index"), (out, "selected_index"))
        return out

    return stack(sliders, ())


def heartbeat(found: Callable[[], None]) -> Widget:
    """An invisible widget that calls `found` once a browser shows it to a kernel; else, never.

    A link in the browser ticks it as soon as it is made there, and only a kernel hears of that.
    """
    beat = Checkbox(False, layout=Layout(display="none"))
    ticked = Checkbox(True)
    jslink((ticked, "value"), (beat, "value"))

    def heard(_: object) -> None:
        beat.unobserve_all()
        found()

    beat.observe(heard, "value")
    return beat


class Latest:
    """Runs the newest of the jobs given to it, one at a time, in a thread beside the kernel's.

    A job waits `delay` seconds for a newer one (so that a dragged slider is one request), then is
    called with `check`, to be called often: it raises Superseded once a newer job was given.
    `failed` is told of any other error.
    """

    def __init__(self, failed: Callable[[Exception], None], delay: float = 0.4):
        self._failed = failed
        self._delay = delay
        self._stop = threading.Event()
        self._thread = threading.Thread()

    def submit(self, job: Callable[[Callable[[], None]], None]) -> None:
        """Do this job as soon as the one before has ended, which is asked to end."""
        self._stop.set()
        stop = threading.Event()
        before = self._thread

        def check() -> None:
            if stop.is_set():
                raise Superseded

        def work() -> None:
            if before.ident is not None:
                before.join()
            if stop.wait(self._delay):
                return
            try:
                with suppress(Superseded):
                    job(check)
            except Exception as error:
                if not stop.is_set():
                    self._failed(error)

        self._stop = stop
        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until the last job has ended."""
        if self._thread.ident is not None:
            self._thread.join()
