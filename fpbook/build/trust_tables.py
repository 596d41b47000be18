"""The page *How far to trust this*: tables of what was counted, from results/trust.json."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fpbook.results.arithmetics import (
    COMPARISONS,
    arithmetics_table,
    conclusions,
    not_compared,
    published_conclusions,
)
from fpbook.results.columns import rows
from fpbook.results.coverage import LEVEL
from fpbook.results.files import folder
from fpbook.results.store import published
from fpbook.results.tables import markdown_table, measured_where
from fpbook.synthetic.protocol import SYNTHETIC
from fpbook.synthetic.published_certificate import CERTIFIED, ROUNDED

TRUST = "trust"  # the name of the result
CHECKS = {  # what tests count, in words
    "properties": "properties that hold for generated examples",
    "examples of properties": "examples generated for them",
    "writers killed": "processes killed while they publish",
    "trainings killed": "trainings killed, then resumed: the same weights to the last bit",
    "drivers killed": "runs killed while they execute chapters",
    "site builds killed": "builds of the site killed, then made again: whole, of the last state",
    "processes at once": "readings and writings beside another process",
    "flipped bits": "bits flipped in published files, checkpoints, caches, executed chapters, data",
    "disks": "disks that are full, folders that cannot be written",
    "bad inputs": "bad inputs: each a right result, or one error that says what to give",
    "pairs made against rounding": "samples made for certificates to fail by rounding",
    "intervals of synthetic data": "intervals of synthetic data",
}
COMPARED = "conclusions in other arithmetics"
TOLD = {
    "numerics": "Trained again and measured in each arithmetic:",
    "numerics-cifar10": "Measured again in each arithmetic, not trained again:",
}
SEEDS_OF_A_RESULT = (3, 5, 10)


def trust_page() -> str:
    """The tables of the page *How far to trust this*, from results/trust.json and COMPARISONS."""
    result = published(TRUST)
    if result is None:
        return "*Not yet counted: `python -m fpbook trust --publish` does it.*"
    measured = rows(result.records)
    parts = [_counts_table(measured), _margins(measured), _whole(), _coverage_table(measured)]
    parts = [*filter(None, parts), _chance(measured)]
    parts += _arithmetics()
    return "\n\n".join([*parts, measured_where(result, "Counted")])


def _arithmetics() -> list[str]:
    """What is concluded in other arithmetics, one published comparison after the other."""
    found = []
    for name in COMPARISONS:
        result = published(name)
        if result:
            total, differing = conclusions(result.records)
            found += [
                f"*{TOLD[name]} {result.provenance['setting']}. Conclusions compared: {total}; "
                f"{differing} differ.*",
                arithmetics_table(result.records),
            ]
    if not found:
        return []
    missing = [f"`{name}` ({count})" for name, count in not_compared().items()]
    told = f"In neither comparison are the bounded figures of {', '.join(missing)}."
    return ["## In other arithmetics", *found, *([told] if missing else [])]


def _value(measured: Iterable[Mapping[str, Any]], quantity: str, check: str | None) -> float | None:
    for row in measured:
        if row["quantity"] == quantity and row.get("check") == check:
            return row["value"]
    return None


def _counts_table(measured: Sequence[Mapping[str, Any]]) -> str:
    named = CHECKS | {
        "certified samples attacked": "samples certified, then attacked",
        COMPARED: "conclusions, compared with those of float64",
    }
    cells = []
    for check, label in named.items():
        tried = _value(measured, "tried", check)
        wrong = _value(measured, "wrong", check) or 0.0
        if check == COMPARED:  # as published by now, not when the others were counted
            tried, wrong = published_conclusions()
        if tried:
            cells.append((label, f"{tried:,.0f}", f"{wrong:,.0f}"))
    return "## What was tried\n\n" + markdown_table(("what", "tried", "went wrong"), cells)


def _coverage_table(measured: Sequence[Mapping[str, Any]]) -> str:
    found = {
        (row["check"], row["seeds_of_a_result"]): row["value"]
        for row in measured
        if row["quantity"] == "interval_coverage"
    }
    cells = [
        (data, *(f"{found[data, n]:.1%}" for n in SEEDS_OF_A_RESULT))
        for data in dict.fromkeys(data for data, _ in found)
    ]
    heads = ("data", *(f"{n} values" for n in SEEDS_OF_A_RESULT))
    title = "## How often a 95% interval contains the truth"
    return f"{title}\n\n{markdown_table(heads, cells)}"


def _chance(measured: Sequence[Mapping[str, Any]]) -> str:
    def of(check: str) -> str:
        return f"{_value(measured, 'tried', check) or 0:.0f}"

    adjusted = {r["check"]: r["value"] for r in measured if r["quantity"] == "adjusted_chance"}
    expected = _value(measured, "expected_wrong", None) or 0
    cells = [
        (f"[{name}](/chapters/claims)", f"{chance:.2g}", "yes" if chance < LEVEL else "no")
        for name, chance in sorted(adjusted.items(), key=lambda item: item[1])
    ]
    heads = ("claim that holds", "chance, adjusted", f"below {LEVEL:g}")
    kept = sum(chance < LEVEL for chance in adjusted.values())
    return (
        "## Many verdicts at once\n\n"
        f"The ledger bounds {of('bounded figures with an interval')} figures that have an "
        f"interval, and {of('bounded figures of a single value')} of a single value, of which "
        f"chance is not known. {of('claims that hold or fail')} claims hold or fail. Chance alone "
        f"makes at most {expected:.2f} of these verdicts wrong, on average.\n\n"
        f"Holm's adjustment asks more: that with {1 - LEVEL:.1%} certainty *no* claim holds by "
        f"chance. {kept} of the {len(adjusted)} claims that hold meet this as well.\n\n"
        f"{markdown_table(heads, cells)}"
    )


def _margins(measured: Sequence[Mapping[str, Any]]) -> str:
    found = [row for row in measured if row["quantity"] == "margin_over_rounding"]
    if not found:
        return ""
    cells = [(f"`{row['check']}`", f"{row['value']:,.0f}") for row in found]
    return (
        "## How near the certificates come to rounding\n\n"
        "A certificate is computed in float64 and rounded outwards. This is the smallest certified "
        "margin of each published result, in units of what rounding can have missed at worst.\n\n"
        f"{markdown_table(('result', 'smallest margin'), cells)}"
    )


def _whole() -> str:
    """What anybody can check again, and what is too large for that."""
    result, full = published(CERTIFIED), SYNTHETIC["full"]
    if result is None:
        return ""
    listed = [row for row in rows(result.records) if row["check"] == ROUNDED]
    of = {row["quantity"]: row["value"] for row in listed}
    size = (folder() / f"{CERTIFIED}.safetensors").stat().st_size / 1e6
    weights = full.d * full.width
    return (
        "## A certificate to check again\n\n"
        f"One network is published whole, {size:.1f} MB: that of the quick profile, "
        f"{result.provenance['setting']}. `python -m fpbook certified --publish` trained it as the "
        "chapters do, and rounded its weights to half precision. The certificate is of the weights "
        f"as rounded. It covers {of['certified']:.0f} of {of['pairs']:.0f} test samples at radius "
        f"{next(row['radius'] for row in listed):.4f}; the smallest margin is "
        f"{of['smallest_margin']:.4f}, {of['margin_over_rounding']:,.0f} times what rounding can "
        "have missed. `python -m fpbook verify` draws the samples again, certifies them in "
        "float64, and compares the margin of every sample.\n\n"
        f"The networks of d = {full.d} have {weights / 1e6:.1f} million weights each, "
        f"{2 * weights / 1e6:.0f} MB in half precision: too large to publish here. Of them "
        "accuracies are recorded, certified ones among them; full runs from now on also record "
        "the smallest margin over rounding. Who wants to check these certificates has to train "
        "the networks again: `python -m fpbook execute --profile full`."
    )
