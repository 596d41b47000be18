"""A number with its interval and its bound on a small axis, as inline SVG."""

import math
from collections.abc import Callable, Mapping
from html import escape

from fpbook.results.claim import Evidence
from fpbook.results.intervals import Interval
from fpbook.results.quantities import quantity_of
from fpbook.results.words import bound_number, bound_words, figure_words, number_words

WIDTH, HEIGHT, EDGE = 340, 62, 12  # of the picture, in its own units; of what its ends leave free
LINE = 34  # where the axis lies


def interval_axis(
    evidence: Evidence, number: Interval, nulls: Mapping[str, Interval] | None = None
) -> str:
    """An axis with the region that meets the bound, the interval in it, and what nulls score.

    evidence: the figure; it has a bound
    number:   its interval
    nulls:    {name: what a stand-in scores}; one outside of the axis lies at its end
    """
    low, high = _range(evidence, number)
    unit = quantity_of(evidence.pick.quantity).unit

    def at(value: float) -> float:
        share = (value - low) / (high - low)
        return round(EDGE + min(max(share, 0.0), 1.0) * (WIDTH - 2 * EDGE), 1)

    bounds = evidence.bound if isinstance(evidence.bound, tuple) else (evidence.bound,)
    good = _good(evidence, bounds, at)
    needs = "" if evidence.sign == "in" else f"needs {evidence.sign} "
    start, end = (at(one) for one in number.ends)
    nulls = nulls or {}
    alt = f"{figure_words(evidence)}: {number_words(number, evidence)}; required: "
    alt += bound_words(evidence) + "".join(
        f"; {name}: {number_words(score)}" for name, score in nulls.items()
    )
    parts = [
        f'<rect class="good" x="{good[0]}" y="{LINE - 11}" width="{good[1] - good[0]:.1f}" '
        'height="22"/>',
        f'<line class="line" x1="{EDGE}" x2="{WIDTH - EDGE}" y1="{LINE}" y2="{LINE}"/>',
        f'<rect class="interval" x="{start - 1.5:.1f}" y="{LINE - 4}" '
        f'width="{end - start + 3:.1f}" height="8" rx="3"/>',
        *(_diamond(at(score.value), name) for name, score in nulls.items()),
        f'<circle class="mean" cx="{at(number.value)}" cy="{LINE}" r="5.5"/>',
        *(_bound(at(bound), f"{needs}{bound_number(bound, unit)}") for bound in bounds),
        _label(EDGE, 58, "start", _short(low, unit)),
        _label(WIDTH - EDGE, 58, "end", _short(high, unit)),
    ]
    return (
        f'<svg class="claim-axis" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(alt)}">{"".join(parts)}</svg>'
    )


def _range(evidence: Evidence, number: Interval) -> tuple[float, float]:
    """From where to where the axis goes: what it shows, with room on both sides."""
    bounds = evidence.bound if isinstance(evidence.bound, tuple) else (evidence.bound,)
    shown = (*number.ends, *bounds)
    span = max(shown) - min(shown) or 0.1
    step = 10 ** math.floor(math.log10(span)) / 2
    low = step * math.floor((min(shown) - 0.25 * span) / step)
    high = step * math.ceil((max(shown) + 0.25 * span) / step)
    if quantity_of(evidence.pick.quantity).share:
        low, high = max(low, 0.0), min(high, 1.0)
    return low, high


def _good(
    evidence: Evidence, bounds: tuple[float, ...], at: Callable[[float], float]
) -> tuple[float, float]:
    """Between which places the bound is met."""
    if evidence.sign == "in":
        return at(bounds[0]), at(bounds[1])
    place = at(bounds[0])
    return (place, WIDTH - EDGE) if evidence.sign == ">" else (EDGE, place)


def _bound(x: float, text: str) -> str:
    anchor = "start" if x < 60 else "end" if x > WIDTH - 60 else "middle"
    line = f'<line class="bound" x1="{x}" x2="{x}" y1="{LINE - 15}" y2="{LINE + 11}"/>'
    return line + _label(x, 14, anchor, text)


def _diamond(x: float, name: str) -> str:
    top, bottom = LINE - 8, LINE + 8
    shape = f"M{x} {top}L{x + 8} {LINE}L{x} {bottom}L{x - 8} {LINE}Z"
    return f'<path class="null" d="{shape}"><title>{escape(name)}</title></path>'


def _label(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _short(value: float, unit: str) -> str:
    return bound_number(float(f"{value:.3g}"), unit)
