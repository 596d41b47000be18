"""The explorer of sizes: a page that draws from published data, and a live one for any values."""

import html
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import matplotlib.pyplot as plt
import torch
from ipywidgets import HTML, Layout, VBox

from fpbook.figures.captions import captioned
from fpbook.figures.panels import FACTS, PANELS, draw_panels, facts, numbers_at
from fpbook.synthetic.explorer_data import Sliders, measure_group, slider_experiment
from fpbook.widgets.controls import Latest, heartbeat, number_input
from fpcore import checks

WORDS = {  # of the sliders: label, and how a value is spoken
    "d": ("inputs d", "{} inputs"),
    "k": ("active features k", "{} active features"),
    "margin": ("margin of the data", "margin {} standard deviations"),
    "threshold": ("threshold of the neurons", "threshold {} over root k"),
    "width": ("width m / d", "{} neurons for each input"),
    "reach": ("training radius ε · √k", "training radius {} over root k"),
}
CONTROL_VALUE = "0: clean, trained on"  # of the training radius: the second stage attacks nothing
START = {"d": 300, "k": 7, "margin": 2.5, "threshold": 0.62, "width": 2.0, "reach": 0.3}


@dataclass(frozen=True)
class Page:
    """What a cell shows: HTML that the site's script brings to life, and a text without it."""

    markup: str
    text: str

    def _repr_html_(self) -> str:
        return self.markup

    def __repr__(self) -> str:
        return self.text


def sizes_page(
    measured: Mapping[str, Any], sliders: Sliders, start: Mapping[str, Any] = START
) -> Page:
    """The explorer of sizes for the page: panels drawn from data at every slider position.

    measured  {"d-k-margin-threshold": what `measure_group` returns}, every group of the sliders
    sliders   what they offer
    start     {slider: value}, where they begin; a value that is not offered gives the last one

    Without a script, and without a kernel, it shows the position where the sliders begin.
    Raises ValueError if a position has no network.
    """
    offered = {name: [*values] for name, values in asdict(sliders).items()}
    place: dict[str, Any] = {
        name: start.get(name) if start.get(name) in values else values[-1]
        for name, values in offered.items()
    }
    for group in sliders.groups:
        sized = dict(zip(("d", "k", "margin", "threshold"), group))
        numbers_at(measured, place | sized)
    found = numbers_at(measured, place)
    where = ", ".join(f"{WORDS[name][0]} = {value:g}" for name, value in place.items())
    said = "; ".join(f"{label}: {words}" for label, words in facts(found).items())
    fallback = captioned(
        draw_panels(found, place["reach"]),
        f"One setting of the explorer: {where}.",
        f"Five panels of one setting: {' '.join(panel.words for panel in PANELS)}",
    )
    content = {
        "sliders": [_slider(name, values, place[name]) for name, values in offered.items()],
        "panels": [asdict(panel) for panel in PANELS],
        "facts": [{"label": label, "paths": p, "unit": u} for label, (p, u) in FACTS.items()],
        "groups": measured,
    }
    return Page(_markup("sizes", content, fallback._repr_html_()), f"{where}. {said}.")


def _slider(name: str, values: list[Any], start: Any) -> dict[str, Any]:
    """A slider for the page: its label, the values as shown, as spoken, and as keys of the data."""
    label, spoken = WORDS[name]
    shown = [f"{value:g}" for value in values]
    said = [spoken.format(one) for one in shown]
    if name == "reach" and values[0] == 0:
        shown[0] = said[0] = CONTROL_VALUE
    return {
        "name": name,
        "label": label,
        "keys": [f"{value:g}" for value in values],
        "shown": shown,
        "spoken": said,
        "start": values.index(start),
    }


def _markup(kind: str, content: Mapping[str, Any], fallback: str) -> str:
    """An explorer's element: its data, and what is seen before, or without, the script."""
    data = json.dumps(content, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")
    return (
        f'<div class="fp-explorer" data-kind="{kind}"><div class="fp-fallback">{fallback}</div>'
        f'<script type="application/json">{data}</script></div>'
    )


def image_page(content: Mapping[str, Any], fallback: str, text: str) -> Page:
    """The explorer of images for the page.

    content   what `fpbook.widgets.attacked_images.frames` gives
    fallback  HTML that is seen without the script
    text      the same in words
    """
    return Page(_markup("images", content, fallback), text)


class LiveExplorer(VBox):
    """Inputs of any values, answered by a network that is trained for them; hidden without kernel.

    `inputs` are they, by slider; `answer` shows the panels of the page, drawn here. The newest
    request wins.
    """

    def __init__(self, device: torch.device, seed: int = 0, delay: float = 0.6):
        """`delay`: seconds that a request waits for a newer one."""
        self._device, self._seed = device, seed
        limits = {
            "d": (50, 1000, 50),
            "k": (3, 30, 1),
            "margin": (0.5, 3.0, 0.25),
            "threshold": (0.2, 1.0, 0.02),
            "width": (0.1, 6.0, 0.25),
            "reach": (0.0, 1.2, 0.05),
        }
        self.inputs = {
            name: number_input(WORDS[name][0], START[name], *limits[name]) for name in WORDS
        }
        self.status, self.answer = HTML(), HTML(layout=Layout(width="auto"))
        self.jobs = Latest(self._failed, delay)
        self.shown = VBox(
            [*self.inputs.values(), self.status, self.answer], layout=Layout(display="none")
        )
        for one in self.inputs.values():
            one.observe(lambda _: self.ask(), "value")
        super().__init__([self.shown, heartbeat(self.reveal)], layout=Layout(width="auto"))

    def reveal(self) -> None:
        """Show the inputs: there is a kernel."""
        self._say("With a kernel: change a number, and a network is trained for it, in seconds.")
        self.shown.layout.display = ""

    def ask(self) -> None:
        """Answer what the inputs say; a request before that is given up."""
        place = {name: one.value for name, one in self.inputs.items()}
        self.jobs.submit(lambda check: self._answer(place, check))

    def _answer(self, place: Mapping[str, float], check: Callable[[], None]) -> None:
        """Train and measure the network of a position, and show it as the page would."""
        started = time.monotonic()
        for name, value in place.items():
            checks.finite(name, value)
        self._say("training ...")
        base = slider_experiment(
            round(place["d"]), round(place["k"]), place["margin"], place["threshold"]
        )
        width, reach = place["width"], place["reach"]
        check()
        group = measure_group(base, (width,), (reach,), self._seed, str(self._device))
        check()
        name = f"{base.d:g}-{base.k:g}-{base.margin:g}-{base.last_threshold:g}"
        sizes = {"d": base.d, "k": base.k, "margin": base.margin, "threshold": base.last_threshold}
        found = numbers_at({name: group}, {**place, **sizes})
        figure = draw_panels(found, reach)
        caption = f"One network, trained now; seed {self._seed}."
        shown = captioned(figure, caption, " ".join(panel.words for panel in PANELS))
        self.answer.value = shown._repr_html_()
        plt.close(figure)
        self._say(f"trained and measured in {time.monotonic() - started:.1f} s")

    def _say(self, text: str) -> None:
        self.status.value = f'<p role="status">{html.escape(text)}</p>'

    def _failed(self, error: Exception) -> None:
        self._say(f"{type(error).__name__}: {error}")
