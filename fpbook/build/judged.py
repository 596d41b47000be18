"""A section of the page *How fast*: our evaluation beside AutoAttack's, case by case."""

from collections.abc import Sequence
from typing import Any

from fpbook.build.targets import POINTS, TIMES_AS_FAST
from fpbook.cifar10.judgements import JUDGED, Judgement, judgements
from fpbook.figures.captions import captioned
from fpbook.figures.judged import LABELS, judged_panels
from fpbook.results.store import Published, published
from fpbook.results.tables import markdown_table, measured_where, on_click

TITLE = "## Our evaluation beside AutoAttack's"


def judged_section() -> str:
    """Finding, figure, tables and caveats, from results/evaluation.json."""
    result = published(JUDGED)
    if result is None:
        return f"{TITLE}\n\n*Not yet measured: `python -m fpbook evaluation --publish` does it.*"
    cases = judgements(result.records)
    parts = [TITLE, _finding(cases), _known(cases), _figure(cases), _totals(cases)]
    parts += [
        _missed(cases),
        _each(cases),
        f"{measured_where(result)} `python -m fpbook evaluation`",
    ]
    return "\n\n".join(filter(None, parts))


def worst_rows(result: Published) -> list[dict[str, Any]]:
    """The worst of all cases, as rows that targets are held against.

    result: as the command `evaluation` published it
    """
    cases = judgements(result.records)
    found = []
    if gaps := [abs(case.gap) for case in cases]:
        found.append(_row("accuracy_gap", "evaluation, furthest from AutoAttack", gaps, max(gaps)))
    if times := [case.together for case in cases if case.together is not None]:
        found.append(_row("speed_ratio", "evaluation, least over AutoAttack", times, min(times)))
    return found


def _row(quantity: str, timed: str, values: Sequence[float], worst: float) -> dict[str, Any]:
    return {"quantity": quantity, "timed": timed, "value": worst, "n": len(values)}


def _finding(cases: Sequence[Judgement]) -> str:
    near = sum(abs(case.gap) <= POINTS for case in cases)
    text = (
        f"**Of {len(cases)} cases, {near} are within {POINTS:g} points of AutoAttack's robust "
        "accuracy.**"
    )
    timed = [case.together for case in cases if case.together is not None]
    if timed:
        low, high = min(timed), max(timed)
        fast = sum(one >= TIMES_AS_FAST for one in timed)
        text += (
            f" Of the {len(timed)} that were timed side by side, {fast} take at most a third of its"
            f" time: {low:.2g} to {high:.2g} times as fast."
        )
    return text


def _known(cases: Sequence[Judgement]) -> str:
    """How it is known, and what it does not show."""
    lines = [
        "**AutoAttack is the judge.** Its outcomes, image by image, are those published with "
        f"[](/chapters/cifar10-robustness): {_sizes(cases, False)}.",
        "**Time** is that of one core, of the process alone: other work on the machine is not "
        "counted.",
        "**Both are upper bounds.** An image that either breaks is broken. Below the band ours is "
        "the stronger one.",
        f"**A case is coarse.** One image more or less is {_step(cases, False)} points.",
        "**Of these networks.** No other architecture, threat or data set was tried.",
    ]
    if any(case.together is not None for case in cases):
        lines[0] += (
            " Where it was not run before, or is timed, both run in one process, one after the "
            f"other, on the same images: {_sizes(cases, True)}."
        )
        lines[1] += " Bars reach from one group of the images to the other."
        lines[3] += (
            f" Where AutoAttack ran beside, it is {_step(cases, True)}. Of a few images, equality "
            "says little."
        )
        lines[4] += f" AutoAttack ran beside on {_few(cases)}."
    else:
        lines[4] += " AutoAttack was not timed beside it."
    said = "A case is a published network at one threat. Ours is `fp.robust_correct`, by default."
    return "\n".join([said, "", *(f"- {line}" for line in lines)])


def _sizes(cases: Sequence[Judgement], timed: bool) -> str:
    some = [case for case in cases if (case.together is not None) == timed]
    if not some:
        return "none"
    return f"{len(some)} cases, {max(case.images for case in some):,} images each"


def _few(cases: Sequence[Judgement]) -> str:
    """The networks and threats on which AutoAttack ran beside, in words."""
    some = [case for case in cases if case.together is not None]
    networks = dict.fromkeys(case.network for case in some)
    seeds = dict.fromkeys(f"{case.seed}" for case in some)
    threats = dict.fromkeys(case.threat for case in some)
    return f"{', '.join(networks)} of seed {', '.join(seeds)} alone, at {', '.join(threats)}"


def _step(cases: Sequence[Judgement], timed: bool) -> str:
    some = [case.images for case in cases if (case.together is not None) == timed]
    return f"{100 / min(some):.2g}" if some else "-"


def _figure(cases: Sequence[Judgement]) -> str:
    shown = captioned(
        judged_panels(cases, POINTS, TIMES_AS_FAST),
        "A point is a published network at one threat; filled where AutoAttack's outcomes were "
        "published, hollow where it ran beside. Left: on the line both agree. Middle: the band is "
        f"{POINTS:g} points either way. Right: the dashed line is {TIMES_AS_FAST:g} times as fast.",
        "Three panels over the robust accuracy under AutoAttack: ours, along a diagonal; the "
        "difference of the two, in a band around zero; and AutoAttack's time over ours, on a "
        "logarithmic axis, with a dashed line for what was asked.",
    )
    return shown._repr_html_()


def _totals(cases: Sequence[Judgement]) -> str:
    """Of each architecture and judge: how many cases keep the bound, and in whom they differ."""
    groups: dict[tuple[str, str], list[Judgement]] = {}
    for case in cases:
        groups.setdefault((LABELS[case.architecture], case.check), []).append(case)
    cells = []
    for (architecture, check), some in groups.items():
        images = sum(case.images for case in some)
        more = sum(case.gap * case.images / 100 for case in some)
        apart = sum(case.differ * case.images for case in some)
        near = sum(abs(case.gap) <= POINTS for case in some)
        cells.append(
            (
                architecture,
                check,
                f"{near} of {len(some)}",
                _range([case.gap for case in some]),
                f"{(apart + more) / 2:.0f}, {(apart - more) / 2:.0f} of {images:,}",
            )
        )
    heading = (
        "networks",
        "judge",
        f"within {POINTS:g} points",
        "difference, points",
        "images that ours alone, AutoAttack alone leaves right",
    )
    return markdown_table(heading, cells)


def _missed(cases: Sequence[Judgement]) -> str:
    lines = [
        f"- **missed**: {case.words}: {_signed(case.gap)} points on {case.images} images"
        + _times(case)
        for case in cases
        if not case.keeps(POINTS, TIMES_AS_FAST)
    ]
    if not lines:
        return "No case misses what was asked for."
    return "These cases miss what was asked for:\n\n" + "\n".join(lines)


def _signed(points: float) -> str:
    return f"{points:+.2g}" if points else "0"


def _range(points: Sequence[float]) -> str:
    low, high = _signed(min(points)), _signed(max(points))
    return low if low == high else f"{low} to {high}"


def _times(case: Judgement) -> str:
    return "" if case.together is None else f", {case.together:.2g} times as fast"


def _each(cases: Sequence[Judgement]) -> str:
    cells = [
        (
            case.words,
            f"{case.images}",
            f"{case.ours:.1%}",
            f"{case.theirs:.1%}",
            _signed(case.gap),
            f"{case.seconds:.2g} s",
            _spread(case),
            "yes" if case.keeps(POINTS, TIMES_AS_FAST) else "**no**",
        )
        for case in cases
    ]
    heading = (
        "case",
        "images",
        "ours",
        "AutoAttack",
        "points",
        "ours takes",
        "AutoAttack's time over ours",
        "met",
    )
    return on_click("Each case", markdown_table(heading, cells))


def _spread(case: Judgement) -> str:
    if case.together is None:
        return ""
    return f"{case.together:.3g}× [{min(case.ratios):.3g}×, {max(case.ratios):.3g}×]"
