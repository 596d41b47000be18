"""What is written below a chart over layers: as many of their names as find a place."""

import math
from collections.abc import Sequence

from markupsafe import Markup


def groups(names: Sequence[str], most: int = 60) -> list[tuple[str, int, int]]:
    """Layers that follow each other and share the opening of their names: (it, first, last + 1).

    names  of the layers, in order
    most   how many groups there may be, if names allow: openings are as long as that allows
    """
    found: list[tuple[str, int, int]] = []
    deepest = max((name.count(".") + 1 for name in names), default=1)
    for depth in range(deepest, 0, -1):
        openings = [".".join(name.split(".")[:depth]) for name in names]
        starts = [i for i in range(len(names)) if not i or openings[i] != openings[i - 1]]
        coarser = [(openings[a], a, b) for a, b in zip(starts, [*starts[1:], len(names)])]
        if found and len(coarser) < 6:
            return found  # a few labels for everything would say nothing
        found = coarser
        if len(found) <= most:
            break
    return found


def layer_labels(names: Sequence[str], top: int, widths: Sequence[int]) -> list[Markup]:
    """The names of groups of layers below a chart, in two rows, each k-th one if all have no place.

    names   of the layers, from left to right
    top     where the chart ends, in pixels
    widths  of the chart, in pixels: one, or a wide and a narrow one

    What is at a place in one of two widths alone has a class that says in which.
    """
    labels = []
    for name, a, b in groups(names):
        text, at = name if len(name) <= 16 else "…" + name[-15:], (a + b) / 2 / len(names)
        # There is some room at the left of a chart, little at its right.
        low, high = (at * min(widths) + sign * 3.4 * len(text) for sign in (-1, 1))
        anchor = "start" if low < -44 else "end" if high > min(widths) + 8 else "middle"
        labels.append((text, {"start": 0.0, "middle": at, "end": 1.0}[anchor], anchor))
    places: dict[tuple[str, float, str, int], list[int]] = {}
    for which, width in enumerate(widths):
        tries = (_placed(labels[::step], width) for step in (1, 2, 3, 5, 10, 20, 50, 100, 200, 500))
        for place in next(filter(None, tries), []):
            places.setdefault(place, []).append(which)
    found = []
    for (text, at, anchor, row), seen in places.items():
        kind = "" if len(seen) == len(widths) else ("wide", "narrow")[seen[0]]
        form = '<text class="{}" x="{:.2f}%" y="{}" text-anchor="{}" font-size="12"'
        form += ' fill="currentColor">{}</text>'
        found.append(Markup(form).format(kind, 100 * at, top + 18 + 16 * row, anchor, text))
    return found


def _placed(
    labels: Sequence[tuple[str, float, str]], width: int
) -> list[tuple[str, float, str, int]] | None:
    """Each label, anchored at a share of the width, in one of two rows; None if they overlap."""
    ends, found = [-math.inf, -math.inf], []
    for text, at, anchor in labels:
        long = 6.8 * len(text)
        start = at * width - {"start": 0, "middle": long / 2, "end": long}[anchor]
        row = 0 if ends[0] + 8 <= start else 1
        if ends[row] + 8 > start:
            return None
        ends[row] = start + long
        found.append((text, at, anchor, row))
    return found
