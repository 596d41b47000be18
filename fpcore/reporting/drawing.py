"""Small drawings in SVG. They stretch with the page, but their letters and dots do not."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from fpcore.reporting.layer_labels import layer_labels
from fpcore.reporting.shown import is_number, plain

Values = Sequence[float | None]

# The colours of Okabe and Ito, the same for a network everywhere.
COLORS = {
    "init": "#009E73",
    "clean": "#D55E00",
    "purified": "#0072B2",
    "control": "#7F7F7F",
    "scratch": "#E69F00",
    "v": "#CC79A7",
    "update": "#56B4E9",
}
MARKS = {"control": "square", "clean": "square", "scratch": "dash", "v": "dash"}
SHAPES = {  # 12 pixels wide and high
    "dot": '<circle class="dot {}" cx="6" cy="6" r="4.5"/>',
    "square": '<rect class="dot {}" x="2" y="2" width="8" height="8"/>',
    "dash": '<rect class="dot {}" x="0.5" y="4.5" width="11" height="3"/>',
}
DRAW = Markup(
    '<svg class="plane" viewBox="0 0 {} {}" preserveAspectRatio="none" x="0" y="{}" width="100%"'
    ' height="{}" overflow="visible">{}</svg>'
)
STROKE = Markup(
    '<path d="{}" fill="none" vector-effect="non-scaling-stroke" stroke-width="{}"'
    ' stroke-linecap="{}" style="stroke:var(--{}{},{})"{}/>'
)


@dataclass(frozen=True)
class Panel:
    """One of the charts over the layers that a drawing stacks.

    title   above it
    series  {network: a value a layer}
    span    the lowest and the highest value that it shows
    ticks   {value: what is written there}
    write   a value in words
    height  in pixels
    band    a half-width around zero for each layer, or nothing
    """

    title: str
    series: Mapping[str, Values]
    span: tuple[float, float]
    ticks: Mapping[float, str]
    write: Callable[[float | None], str]
    height: int = 200
    band: Values = field(default_factory=tuple)

    def across(self, value: float) -> int:
        """How far below its top a value lies, in thousandths of its height."""
        low, high = self.span
        return round(1000 * (high - min(max(value, low), high)) / (high - low))


def by_layer(
    names: Sequence[str], panels: Sequence[Panel], alt: str, width: int | None = None
) -> Markup:
    """Charts over the layers, one below the other; hovering over a layer tells its values.

    names   of the layers, from left to right
    panels  from top to bottom
    alt     what one sees, in words
    width   in pixels; without, it is as wide as its place, and labels come for two widths
    """
    parts, top = [], 0
    columns = 100 / max(len(names), 1)
    for panel in panels:
        top += 44 if top else 28
        parts += [_text(0, top - 12, panel.title, weight=600), *_ticks(panel, top)]
        parts += [_panel(panel, len(names), top)]
        top += panel.height
    hover = []
    for i, name in enumerate(names):
        words = [name]
        for panel in panels:
            values = [f"{plain(net)} {panel.write(of[i])}" for net, of in panel.series.items()]
            chance = panel.band[i] if panel.band else None
            values += [f"chance ±{panel.write(chance)}"] if is_number(chance) else []
            words.append(f"{panel.title}: {', '.join(values)}")
        column = '<rect class="column" x="{:.3f}%" y="0" width="{:.3f}%" height="{}" fill="none"'
        column += ' pointer-events="all"><title>{}</title></rect>'
        hover.append(Markup(column).format(i * columns, columns, top, "\n".join(words)))
    labels = layer_labels(names, top, [width] if width else [720, 310])
    inside = Markup("").join([*parts, *labels, *hover])
    if width is None:
        return _picture("plot", f"height:{top + 44}px", alt, inside)
    # Of a fixed size, for a page that knows nothing of these styles.
    head = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" role="img" aria-label="{2}"'
        ' style="max-width:100%;width:{0}px;height:auto" font-family="system-ui, sans-serif">'
        '<title>{2}</title><svg x="48" y="0" width="{3}" height="{1}" overflow="visible">'
    ).format(width, top + 44, alt, width - 64)
    return head + inside + _keys([*panels[0].series], width - 64) + Markup("</svg></svg>")


def _keys(nets: Sequence[str], width: int) -> Markup:
    """Which mark is whose, at the right above a drawing that stands alone."""
    found = Markup("")
    for i, net in enumerate(nets):
        x = width - 46 * (len(nets) - i)
        shape = Markup(SHAPES[MARKS.get(net, "dot")]).format("")
        move = '<g transform="translate({} 5)" style="fill:var(--{},{})">{}</g>'
        found += Markup(move).format(x, net, COLORS[net], shape) + _text(x + 16, 16, plain(net))
    return found


def _picture(kind: str, style: str, alt: str, inside: Markup) -> Markup:
    """An SVG that says what one sees."""
    head = '<svg class="{}" style="{}" role="img" aria-label="{}"><title>{}</title>{}</svg>'
    return Markup(head).format(kind, style, alt, alt, inside)


def _text(x: float, y: int, text: str, anchor: str = "start", weight: int = 400) -> Markup:
    """Letters, x pixels from the left."""
    form = '<text x="{}" y="{}" text-anchor="{}" font-size="12" font-weight="{}"'
    return Markup(form + ' fill="currentColor">{}</text>').format(x, y, anchor, weight, text)


def _ticks(panel: Panel, top: int) -> list[Markup]:
    """Lines across a panel, and what is written at their left."""
    found = []
    for value, words in panel.ticks.items():
        y = top + round(panel.across(value) * panel.height / 1000)
        line = '<line x1="0" x2="100%" y1="{0}" y2="{0}" stroke="currentColor" opacity="{1}"/>'
        found.append(Markup(line).format(y, 0.45 if value == 0 else 0.14))
        found.append(_text(-8, y + 4, words, anchor="end"))
    return found


def _panel(panel: Panel, n: int, top: int) -> Markup:
    """The band, and the dots of each network over a faint line through them."""
    drawn = []
    if panel.band:
        d = "".join(
            f"M{i} {panel.across(half)}h1V{panel.across(-half)}h-1z"
            for i, half in enumerate(panel.band)
            if is_number(half)
        )
        drawn.append(Markup('<path d="{}" fill="currentColor" opacity=".13"/>').format(d))
    size = 9 if n <= 30 else 6 if n <= 120 else 3
    for net, values in reversed([*panel.series.items()]):  # the first one on top
        ys = [panel.across(v) if is_number(v) else None for v in values]
        runs = itertools.groupby(enumerate(ys), lambda pair: pair[1] is None)
        lines = (" ".join(f"{i + 0.5} {y}" for i, y in run) for gap, run in runs if not gap)
        faint = Markup(' opacity=".45"')
        path = "".join(f"M{line}" for line in lines)
        color = COLORS[net]
        drawn.append(STROKE.format(path, 1, "round", net, "", color, faint))
        mark = MARKS.get(net, "dot")
        start, length, cap = {
            "dot": (0.5, 0, "round"),
            "square": (0.5, 0, "square"),
            "dash": (0.35, 0.3, "butt" if n <= 30 else "square"),
        }[mark]
        dots = "".join(f"M{i + start} {y}h{length}" for i, y in enumerate(ys) if y is not None)
        thick = {"dot": size, "square": size - 2, "dash": max(size - 5, 2)}[mark]
        drawn.append(
            STROKE.format(dots, thick + (2 if n <= 120 else 1), cap, net, "-edge", color, "")
        )
        drawn.append(STROKE.format(dots, thick, cap, net, "", color, ""))
    return DRAW.format(n, 1000, top, panel.height, Markup("").join(drawn))


def histogram(counts: Mapping[str, Sequence[int]], alt: str) -> Markup:
    """A small histogram: the first network filled, the others as lines.

    counts  {network: how many neurons are in each of equal bins over [-1, 1]}
    alt     what one sees, in words
    """
    drawn = [Markup('<path class="zero" d="M40 0V22"/>')]
    for i, (net, bins) in enumerate(counts.items()):
        most = max(bins, default=0)
        if not most:
            continue
        wide = 80 / len(bins)
        heights = [round(20 - 19 * count / most) for count in bins]
        d = f"M0 20V{heights[0]}"
        for height, run in itertools.groupby(heights):
            d += f"V{height}h{wide * len([*run]):g}"
        kind = "fill" if i == 0 else "line"
        drawn.append(Markup('<path class="{} {}" d="{}V20"/>').format(kind, net, d))
    view = '<svg class="bins" viewBox="0 0 80 22" role="img" aria-label="{}">{}</svg>'
    return Markup(view).format(alt, Markup("").join(drawn))


def spectrum_curves(series: Mapping[str, Sequence[float]], alt: str) -> Markup:
    """Falling curves between 0 and 1 over an index, as spectra are.

    series  {what: values between 0 and 1}; none is drawn of which one is not finite
    alt     what one sees, in words
    """
    drawn = [Markup('<path class="frame" d="M0 0H100M0 50H100M0 100H100"/>')]
    for what, numbers in series.items():
        values = numbers if all(map(is_number, numbers)) else []
        step = 100 / max(len(values) - 1, 1)
        points = [(round(i * step), round(100 - 100 * v)) for i, v in enumerate(values)]
        d = "M{} {}".format(*points[0]) if points else ""
        for (x, y), (to_x, to_y) in itertools.pairwise(points):
            d += f"l{to_x - x} {to_y - y}"
        drawn.append(Markup('<path class="line {}" d="{}"/>').format(what, d))
    view = '<svg class="curves" viewBox="0 0 100 100" preserveAspectRatio="none" role="img"'
    return Markup(view + ' aria-label="{}">{}</svg>').format(alt, Markup("").join(drawn))


def two_dots(
    color: str,
    clean: tuple[float | None, tuple[float, float] | None],
    robust: tuple[float | None, tuple[float, float] | None],
    alt: str,
) -> Markup:
    """Clean accuracy, a ring, and robust accuracy, a dot, on a line from 0 to 100%.

    color   whose colour they have
    clean   the share and the ends of its interval, None where there is none
    robust  the same under attack
    alt     what one sees, in words
    """
    line = '<line class="{} {}" x1="{:.2f}%" x2="{:.2f}%" y1="{}" y2="{}"/>'
    drawn = [Markup(line).format("scale", "", at, at, 0, 26) for at in (0, 25, 50, 75, 100)]
    there = [100 * v for v, _ in (clean, robust) if is_number(v)]
    if len(there) == 2:
        drawn.append(Markup(line).format("between", color, *there, 13, 13))
    for kind, (value, ends) in (("ring", clean), ("dot", robust)):
        if ends:
            drawn.append(Markup(line).format("ends", "", 100 * ends[0], 100 * ends[1], 13, 13))
        if is_number(value):
            circle = '<circle class="{} {}" cx="{:.2f}%" cy="13" r="5.5"/>'
            drawn.append(Markup(circle).format(kind, color, 100 * value))
    return _picture("dots", "", alt, Markup("").join(drawn))


def key(name: str) -> Markup:
    """The mark of a network in a legend, beside its name: seen, not read out."""
    shape = SHAPES[MARKS.get(name, "dot")]
    view = '<svg class="key" width="12" height="12" role="img" aria-label="{}">'
    return Markup(view).format(plain(name)) + Markup(shape).format(name) + Markup("</svg>")
