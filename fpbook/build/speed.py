"""The page *How fast*: targets beside what was measured, and curves, from results/bench.json."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from fpbook.build.judged import judged_section, worst_rows
from fpbook.build.targets import BENCH, LIMIT_WORDS, TARGETS, Target
from fpbook.cifar10.judgements import JUDGED
from fpbook.figures.captions import captioned
from fpbook.figures.speed import growth_panels
from fpbook.figures.style import style
from fpbook.results.columns import rows
from fpbook.results.quantities import quantity_of
from fpbook.results.store import Published, published
from fpbook.results.summaries import interval_of
from fpbook.results.tables import markdown_table, measured_where, on_click, show

GPU = (  # of `make gpu`
    "gpu-tests",
    "gpu-speed",
    "gpu-headline",
    "gpu-resnet18",
    "gpu-largest",
    "gpu-numerics",
)
OUTCOMES = (  # what is shown of trainings and tests
    "clean_accuracy",
    "robust_accuracy",
    "certified_accuracy",
    "autoattack_accuracy",
    "share_dominant",
    "wall_time",
    "tried",
    "wrong",
)
TIMES = {  # curves of results/bench.json: labels of the size and of the values
    "FGM step over d": ("features $d$", "seconds a step"),
    "FGM step over m": ("neurons $m$", "seconds a step"),
    "FGM step over n": ("samples $n$", "seconds a step"),
    "FGM step over g": ("networks at once", "seconds a step"),
    "trainings over workers": ("workers", "trainings a second"),
}
MEMORY = {
    "memory over d": ("features $d$", "GB"),
    "memory over m": ("neurons $m$", "GB"),
    "memory over n": ("samples $n$", "GB"),
}


def speed_page() -> str:
    """What the page *How fast* says, from the published results."""
    bench = published(BENCH)
    if bench is None:
        missing = "*Not yet measured: `make bench` does it, in ten minutes on two cores.*"
        return "\n\n".join((missing, judged_section(), _gpu()))
    style()
    measured = rows(bench.summary)
    found = {name: published(name) for name in {target.result for target in TARGETS}}
    each = {name: _rows(name, one) for name, one in found.items() if one}
    parts = [
        _targets(each),
        judged_section(),
        "## How it grows",
        _figures(bench.summary),
        "## All that was measured",
        on_click("Each row", _table([row for row in measured if "size" not in row])),
        _lost(measured),
        measured_where(bench),
        _gpu(),
    ]
    return "\n\n".join(filter(None, parts))


def _rows(name: str, result: Published) -> list[dict[str, Any]]:
    """What a result measured, as targets are held against it."""
    return worst_rows(result) if name == JUDGED else rows(result.summary)


def _targets(measured: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The targets beside what was measured, and the reasons for those that were missed."""
    cells, verdicts = [], []
    reasons: dict[str, list[str]] = {}
    for target in TARGETS:
        of = measured.get(target.result, ())
        row = _row(of, target.timed, target.within)
        met = None if row is None else _meets(target, row["value"])
        verdict = {None: "not measured", True: "yes", False: "**no**"}[met]
        sign = "≤" if target.atmost else "≥"
        unit = quantity_of(row["quantity"]).unit if row else ""
        bound = f"{sign} {_number(target.bound, unit)} {_after(unit)}".strip()
        # One more digit, where a value that misses its bound would be written as it.
        finer = met is False and row and _number(row["value"], unit) == _number(target.bound, unit)
        cells.append((target.words, bound, _shown(row, bool(finer)) if row else "-", verdict))
        verdicts.append(met)
        if met is False:
            words = target.words + _at_best(of, target)
            reasons.setdefault(target.reason or "not explained", []).append(words)
    if not cells:
        return ""
    text = markdown_table(("what", "target", "measured", "met"), cells)
    tried = len(verdicts) - verdicts.count(None)
    finding = f"**{verdicts.count(True)} of the {tried} targets that were measured are met.**"
    if verdicts.count(None):
        finding += f" Not measured: {verdicts.count(None)}."
    why = [f"- {one[:1].upper()}{one[1:]}: {'; '.join(of)}." for one, of in reasons.items()]
    missed = "\n\nWhy the others are missed:\n\n" + "\n".join(why) if why else ""
    return f"## Targets, and what was measured\n\n{finding}\n\n{text}{missed}"


def _at_best(measured: Iterable[Mapping[str, Any]], target: Target) -> str:
    """What the bound of the hardware would be, in brackets; "" where none is measured."""
    limit = _row(measured, target.limit, target.within) if target.limit else None
    if limit is None:
        return ""
    alone = target.limit.rsplit(", ", 1)[-1]  # they are named "..., were it passes alone"
    within = _meets(target, limit["value"])
    reached = ": so the target is within reach, and was not reached" if within else ""
    return f" (it would be {_shown(limit)} {LIMIT_WORDS.get(alone, alone)}{reached})"


def _meets(target: Target, value: float) -> bool:
    return value <= target.bound if target.atmost else value >= target.bound


def _row(
    measured: Iterable[Mapping[str, Any]], name: str, within: str = ""
) -> Mapping[str, Any] | None:
    """The first row of this name, whose settings hold some words."""
    for row in measured:
        if row.get("timed") == name and within in row.get("settings", "") and "size" not in row:
            return row
    return None


def _shown(row: Mapping[str, Any], finer: bool = False) -> str:
    """A value with the least and the largest of its repeats, and its unit; finer: a digit more."""
    unit = quantity_of(row["quantity"]).unit
    text = _number(row["value"], unit, finer)
    if row.get("low") is not None and row["high"] > row["low"]:
        text += f" [{_number(row['low'], unit, finer)}, {_number(row['high'], unit, finer)}]"
    return f"{text} {_after(unit)}".strip()


def _number(value: float, unit: str, finer: bool = False) -> str:
    """A number as readers write it: 58%, 4.4×, 0.12; finer: with a digit more."""
    if unit == "share":
        return f"{value:.{int(finer)}%}"
    return f"{value:.{3 + finer}g}" + "×" * (unit == "x")


def _after(unit: str) -> str:
    """The unit that stands after numbers."""
    return "" if unit in ("share", "x") else unit


def _table(measured: Iterable[Mapping[str, Any]]) -> str:
    cells = [
        (row["timed"], _shown(row), str(row["n"]), row.get("settings", ""))
        for row in measured
        if row["quantity"] not in ("unmeasured", "exponent") and "timed" in row
    ]
    return markdown_table(("what", "median [least, largest]", "repeats", "settings"), cells)


def _lost(measured: Iterable[Mapping[str, Any]]) -> str:
    """What could not be measured, and why."""
    lines = [
        f"- {row['timed']}: {row.get('settings', '')}"
        for row in measured
        if row["quantity"] == "unmeasured"
    ]
    return "Not measured:\n\n" + "\n".join(lines) if lines else ""


def _figures(summary: pd.DataFrame) -> str:
    """The curves of time and of memory, as the page shows figures."""
    time = captioned(
        growth_panels(summary, TIMES),
        "Time over sizes. The step of the two-layer network under FGM is four matrix products, "
        "which alone take what one line says, and must move bytes, which alone take what the other "
        "says. Of workers, each has a training of its own.",
        "Five logarithmic plots, of seconds a step over features, neurons, samples and networks "
        "at once, and of trainings a second over workers, each with lines for the limits.",
    )
    memory = captioned(
        growth_panels(summary, MEMORY),
        "Memory over sizes, beside that of weights, their step, pre-activations and samples.",
        "Three logarithmic plots of gigabytes over features, neurons and samples, each with a "
        "dashed line for the tensors alone.",
    )
    return f"{time._repr_html_()}\n\n{memory._repr_html_()}"


def _gpu() -> str:
    """What `make gpu` measured; or that it did not run yet."""
    parts = []
    for name in GPU:
        if result := published(name):
            measured = rows(result.summary)
            timed = [row for row in measured if "timed" in row]
            parts.append(
                f"{_table(timed) if timed else _outcome(measured)}\n\n{measured_where(result)}"
            )
    text = "\n\n".join(parts) or "*Nothing here was run on a GPU yet: `make gpu` does it.*"
    return f"## On a GPU\n\n{text}"


def _outcome(measured: Iterable[Mapping[str, Any]]) -> str:
    """What came of trainings and tests, and the seconds that they took: means over seeds."""
    cells = []
    for row in measured:
        if row["quantity"] in OUTCOMES and "layer" not in row:
            of = row.get("network") or row.get("check") or ""
            cells.append((quantity_of(row["quantity"]).label, of, show(interval_of(row))))
    return markdown_table(("what", "of", "mean [95% interval]"), cells)
