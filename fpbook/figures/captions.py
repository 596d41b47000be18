"""Figures as the book shows them: with a caption, words for who cannot see, and two layouts.

The wide picture is the figure as drawn; the narrow one, for phones, has its panels stacked.
"""

import base64
import html
import io
import re
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from fpbook.figures.stacking import stacked

PIXELS_PER_INCH = 100  # of the page, for an inch of a figure
SHARPNESS = 2  # pixels of a picture for a pixel of the page: crisp on dense screens
PICTURE_COLORS = 128  # in a picture's palette: lines and text need few, and a photograph more
NARROW_SCREEN = 600  # pixels of the page: below, the narrow picture is shown


@dataclass(frozen=True)
class Captioned:
    """A figure with its words, as the last expression of a cell: shown, and read aloud.

    wide, narrow:  the pictures, PNG or WebP, as data: addresses
    sizes:         of both, ((width, height), (width, height)) in pixels of the page
    caption:       what the figure finds, below it; $...$ is a formula
    alt:           what one sees in it
    smallest_text: of the narrow picture, in pixels of the page
    """

    wide: str
    narrow: str
    sizes: tuple[tuple[int, int], tuple[int, int]]
    caption: str
    alt: str
    smallest_text: float

    def _repr_html_(self) -> str:
        (wide, high), (narrow, narrow_high) = self.sizes
        alt = html.escape(self.alt, quote=True)
        return (
            f'<figure class="fp-figure" data-smallest-text="{self.smallest_text:.1f}"><picture>'
            f'<source media="screen and (max-width: {NARROW_SCREEN}px)" srcset="{self.narrow}"'
            f' width="{narrow}" height="{narrow_high}">'
            f'<img src="{self.wide}" alt="{alt}" width="{wide}" height="{high}"'
            ' style="max-width:100%;height:auto"></picture>'
            # The class is that of elements in which the book looks for formulas.
            f'<figcaption class="mathjax_process">{html.escape(self.caption)}</figcaption></figure>'
        )

    def __repr__(self) -> str:
        return f"{self.caption}\n\nFigure: {self.alt}"


def captioned(figure: Figure, caption: str, alt: str, columns: int | None = None) -> Captioned:
    """The figure with its words, for the end of a cell; it is closed, so that it shows only once.

    figure   as drawn for a wide page, 7 to 8 inches
    caption  what it finds, in one or two short sentences; plain text, and $...$ for formulas
    alt      what one sees in it, in words: no formulas
    columns  panels in a row on a phone; None: one of plots, a few of images

    Raises ValueError for an empty caption or alt, and for marks of formulas in `alt`.
    """
    for name, words in (("caption", caption), ("alt", alt)):
        if not words.strip():
            raise ValueError(f"{name} is empty: say what the figure shows")
    if found := re.search(r"[$\\_^{}]", alt):
        raise ValueError(f"alt holds {found.group()!r}: say it in words, as one reads it aloud")
    plt.close(figure)
    wide, wide_size = packed(figure)
    narrow_figure = stacked(figure, columns)
    narrow, narrow_size = packed(narrow_figure)
    return Captioned(
        wide=wide,
        narrow=narrow,
        sizes=(wide_size, narrow_size),
        caption=" ".join(caption.split()),
        alt=" ".join(alt.split()),
        smallest_text=smallest_text(narrow_figure),
    )


def packed(figure: Figure) -> tuple[str, tuple[int, int]]:
    """The figure as a data: address, and its size in pixels of the page.

    What lies beyond the figure's edges is shown too, as notebooks do.
    """
    full = io.BytesIO()
    dpi = SHARPNESS * PIXELS_PER_INCH
    look: dict[str, Any] = {"facecolor": "white", "bbox_inches": "tight", "pad_inches": 0.04}
    figure.savefig(full, format="png", dpi=dpi, **look)
    with Image.open(full) as opened:
        image = opened.convert("RGB")
    size = (round(image.width / SHARPNESS), round(image.height / SHARPNESS))
    small = image.quantize(PICTURE_COLORS, dither=Image.Dither.NONE)
    as_png, as_webp = io.BytesIO(), io.BytesIO()
    small.save(as_png, "png", optimize=True)
    small.convert("RGB").save(as_webp, "webp", lossless=True, method=4)
    kind, best = min(("png", as_png), ("webp", as_webp), key=lambda pair: pair[1].tell())
    return f"data:image/{kind};base64,{base64.b64encode(best.getvalue()).decode()}", size


def smallest_text(figure: Figure, width: float | None = None) -> float:
    """The height of the figure's smallest letters' font in pixels of the page.

    `width` is that of the page in which it is shown, in pixels; None: as wide as it is. Raised and
    lowered marks of formulas are smaller, and not counted.
    """
    sizes = [float(text.get_fontsize()) for text in written_texts(figure)]
    scale = 1.0 if width is None else min(1.0, width / (figure.get_figwidth() * PIXELS_PER_INCH))
    return min(sizes, default=0.0) / 72 * PIXELS_PER_INCH * scale


def written_texts(figure: Figure) -> list[Text]:
    """All that is written in the figure and seen."""
    hidden: set[int] = set()
    for axis in figure.axes:
        if not axis.get_visible():
            hidden |= {id(text) for text in axis.findobj(Text)}
        elif not axis.axison:
            hidden |= {id(text) for side in _sides(axis) for text in side.findobj(Text)}
    found = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    return [
        text for text in found if id(text) not in hidden and text.get_visible() and text.get_text()
    ]


def _sides(axis: Axes) -> tuple[Any, Any]:
    return axis.xaxis, axis.yaxis
