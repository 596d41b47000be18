"""A figure laid out anew for a phone: its panels one below the other, its letters legible."""

import pickle
from itertools import pairwise
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.legend import Legend
from matplotlib.offsetbox import VPacker
from matplotlib.text import Text
from matplotlib.transforms import ScaledTranslation

NARROW = 3.5  # inches: 350 pixels of the page, what a phone has beside its margins
LEAST_FONT = 7.0  # points, 9.7 pixels there
PANEL_HEIGHTS = (1.35, 2.0)  # inches of a panel's axes, at least and at most
IMAGES_IN_A_ROW = 8


def stacked(figure: Figure, columns: int | None = None) -> Figure:
    """A copy of the figure, 3.5 inches wide, with its panels one below the other.

    figure   any, not of subfigures
    columns  panels in a row; None: one of plots, up to 8 of images

    A figure that cannot be copied (a formatter that is a lambda, say) is laid out anew itself.
    """
    try:
        copy = pickle.loads(pickle.dumps(figure))
    except (pickle.PicklingError, AttributeError, TypeError):
        copy = figure
    plt.close(copy)
    copy.set_layout_engine("constrained")
    panels = _panels(copy)
    pictures = bool(panels) and all(is_picture(axis) for group in panels for axis in group)
    before = [_shape(group[0]) for group in panels]
    spans = {spec.get_gridspec() for group in panels if (spec := group[0].get_subplotspec())}
    own = max((grid.ncols for grid in spans), default=1)
    if columns is None:
        columns = min(own, IMAGES_IN_A_ROW) if pictures else 1
    if not pictures:
        for group in panels:
            _own_labels(group, panels)
    rows = _place(copy, panels, columns, own if pictures else len(panels))
    tall = {id(group[0]): shape for group, shape in zip(panels, before)}
    _enlarge(copy)
    wide = NARROW / columns
    heights = [_height(shape, wide, pictures) for shape in before] or [1.0]
    for group in panels:
        for axis in group:
            _legend_below(axis, 0.5)
    # Roomy at first, for any legend: constrained layout gives up where axes would vanish.
    legends = [*copy.legends, *filter(None, (group[0].get_legend() for group in panels))]
    room = 0.25 * sum(len(legend.get_texts()) for legend in legends)
    copy.set_size_inches(NARROW, room + rows * (max(heights) + (0.05 if pictures else 0.6)))
    _settle(copy, [group[0] for group in panels], tall, wide, pictures)
    return copy


def is_picture(axis: Axes) -> bool:
    """Whether a panel holds images and no axes around them."""
    bare = not axis.axison or not (len(axis.get_xticks()) or len(axis.get_yticks()))
    return bare and (bool(axis.images) or not axis.has_data())


def _panels(figure: Figure) -> list[list[Axes]]:
    """The axes of each place of a grid, in the order of drawing; unused places are left out."""
    groups: dict[SubplotSpec, list[Axes]] = {}
    for axis in figure.axes:
        spec = axis.get_subplotspec()
        if spec is None or (not axis.axison and not axis.has_data() and not axis.texts):
            if spec is not None:
                axis.remove()
            continue
        groups.setdefault(spec, []).append(axis)
    return list(groups.values())


def _shape(axis: Axes) -> float:
    """Height by width of a panel, as it was drawn."""
    box = axis.get_window_extent()
    return box.height / max(box.width, 1e-9)


def _height(shape: float, wide: float, pictures: bool) -> float:
    """Inches of a panel's height, from its shape and width in inches."""
    return shape * wide if pictures else float(np.clip(shape * wide * 0.7, *PANEL_HEIGHTS))


def _place(figure: Figure, panels: list[list[Axes]], columns: int, row: int) -> int:
    """Put panels into a grid of so many columns, each row of `row` anew; return its rows."""
    deep = -(-row // columns)  # rows that one row becomes
    rows = deep * -(-len(panels) // max(row, 1))
    grid = figure.add_gridspec(max(rows, 1), columns)
    for i, group in enumerate(panels):
        down, across = divmod(i % row, columns)
        for axis in group:
            axis.set_subplotspec(grid[(i // row) * deep + down, across])
    return max(rows, 1)


def _own_labels(group: list[Axes], panels: list[list[Axes]]) -> None:
    """Give a panel the labels that it shared with the one beside or below it."""
    first = group[0]
    spec = first.get_subplotspec()
    if spec is None or not first.axison:
        return
    if len(first.get_shared_y_axes().get_siblings(first)) > 1:
        first.tick_params(labelleft=True)
    if len(first.get_shared_x_axes().get_siblings(first)) > 1:
        first.tick_params(labelbottom=True)
    for other in (one[0] for one in panels):
        there = other.get_subplotspec()
        if there is None or there.get_gridspec() is not spec.get_gridspec():
            continue
        if not first.get_ylabel() and there.rowspan == spec.rowspan and there.colspan.start == 0:
            first.set_ylabel(other.get_ylabel())
        last = there.rowspan.stop == spec.get_gridspec().nrows
        if not first.get_xlabel() and there.colspan == spec.colspan and last:
            first.set_xlabel(other.get_xlabel())


def _enlarge(figure: Figure) -> None:
    """Raise what is written to the least size that a phone shows legibly."""
    for axis in figure.axes:
        sides: tuple[tuple[Any, Literal["x", "y"]], ...]
        sides = ((axis.xaxis, "x"), (axis.yaxis, "y"))
        for side, name in sides:
            sizes = [float(label.get_fontsize()) for label in side.get_ticklabels()]
            if sizes and min(sizes) < LEAST_FONT:
                axis.tick_params(axis=name, labelsize=LEAST_FONT)
    for text in figure.findobj(Text):
        if isinstance(text, Text) and float(text.get_fontsize()) < LEAST_FONT:
            text.set_fontsize(LEAST_FONT)


def _settle(
    figure: Any,
    axes: list[Axes],
    shapes: dict[int, float],
    wide: float,
    pictures: bool,
) -> None:
    """Fit legends and words into the width, and make the figure as tall as its panels need.

    figure    already stacked
    axes      one a panel
    shapes    height by width of each, by its id, as it was drawn
    wide      inches of a panel
    pictures  whether the panels are images
    """
    figure.draw_without_rendering()
    for legend in figure.legends:
        _fit_legend(legend, figure)
    for axis in axes:
        _fit_words(axis)
        if (own := axis.get_legend()) is not None:
            _fit_legend(own, figure, _beyond(axis))
            below: Any = axis.xaxis.get_tightbbox() if axis.axison else None
            low = axis.get_window_extent().y0
            _legend_below(axis, 0.06 + (low - below.y0 if below is not None else 0.0) / figure.dpi)
    for text in (figure._suptitle, figure._supxlabel, figure._supylabel):
        if text is not None:
            _broken(text, figure.bbox.width)
    for _ in range(3):
        figure.draw_without_rendering()
        inch = figure.dpi
        rows: dict[int, float] = {}
        for axis in axes:
            spec = axis.get_subplotspec()
            box = axis.get_window_extent()
            height = box.height / inch
            target = height if pictures else _height(shapes[id(axis)], wide, pictures)
            lacking = target - height
            if spec is not None:
                rows[spec.rowspan.start] = max(rows.get(spec.rowspan.start, -9.0), lacking)
        if abs(lacking := sum(rows.values())) < 0.05:
            break
        figure.set_figheight(max(figure.get_figheight() + lacking, 0.5))


def _fit_words(axis: Axes) -> None:
    """Break a title or label that is longer than its figure; turn tick labels that collide."""
    figure: Any = axis.figure
    for text in (axis.title, axis.xaxis.label):
        _broken(text, figure.bbox.width * 0.97)
    _broken(axis.yaxis.label, max(axis.get_window_extent().height * 1.25, 1.0), upright=True)
    if not axis.axison:
        return
    boxes = [
        label.get_window_extent()
        for label in axis.get_xticklabels()
        if label.get_text() and label.get_visible()
    ]
    tight = any(left.x1 + 1 > right.x0 for left, right in pairwise(boxes))
    if tight and not any(label.get_rotation() for label in axis.get_xticklabels()):
        for label in axis.get_xticklabels():
            label.set(rotation=35, ha="right", rotation_mode="anchor")


def _broken(text: Text, room: float, upright: bool = False) -> None:
    """Break a line, at the space next to its middle outside formulas, if it exceeds the room."""
    words = text.get_text()
    if not words or "\n" in words:
        return
    box = text.get_window_extent()
    if (box.height if upright else box.width) <= room:
        return
    spaces = [i for i, c in enumerate(words) if c == " " and words[:i].count("$") % 2 == 0]
    if spaces:
        middle = min(spaces, key=lambda i: abs(i - len(words) / 2))
        text.set_text(words[:middle] + "\n" + words[middle + 1 :])


def _beyond(axis: Axes) -> bool:
    """Whether a panel's legend lies right of it or below it."""
    legend = axis.get_legend()
    if legend is None:
        return False
    anchor = legend.get_bbox_to_anchor().transformed(axis.transAxes.inverted())
    return bool(anchor.x0 >= 0.99 or anchor.y1 <= 0.01)


def _legend_below(axis: Axes, drop: float) -> None:
    """Hang a legend that lies beside its panel, or below it, `drop` inches below the panel."""
    legend = axis.get_legend()
    if legend is None or not _beyond(axis):
        return
    figure: Any = axis.figure
    legend.set_loc("upper center")
    # A fixed distance below the panel's labels, however tall the panel becomes.
    moved = axis.transAxes + ScaledTranslation(0, -drop, figure.dpi_scale_trans)
    legend.set_bbox_to_anchor((0.5, 0.0), transform=moved)


def _fit_legend(legend: Legend, figure: Figure, outside: bool = True) -> None:
    """Give a legend as many columns as fit; one inside its panel keeps at most those it has."""
    boxes: Any = legend._legend_handle_box  # type: ignore[attr-defined]
    items = [item for column in boxes.get_children() for item in column.get_children()]
    if not items:
        return
    size = float(legend.get_texts()[0].get_fontsize()) * figure.dpi / 72  # pixels
    widest = max(item.get_window_extent().width for item in items)
    fitting = max(1, int((figure.bbox.width * 0.97 + size) // (widest + 2 * size)))
    now = len(boxes.get_children())
    count = min(fitting, len(items)) if outside else min(now, fitting)
    if count == now:
        return
    boxes._children = [
        VPacker(pad=0, sep=legend.labelspacing * size, align="baseline", children=list(part))
        for part in np.array_split(np.array(items, dtype=object), count)
    ]
    boxes.set_figure(figure)
