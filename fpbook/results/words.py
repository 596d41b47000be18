"""The ledger's numbers in words: what a figure is of, its interval, its bound, how they compare."""

from fpbook.results.claim import Evidence
from fpbook.results.intervals import Interval
from fpbook.results.quantities import PERCENT, quantity_of

NETWORKS = {
    "init": "untrained network w⁰",
    "clean": "clean network w",
    "purified": "purified network w'",
    "control": "control w_c",
    "scratch": "network trained adversarially from scratch",
}
COLUMN_WORDS = {"factor": "in", "setting": "set to"}  # of columns whose names are no words
KINDS_OF_BOUND = {"upper": "upper bound, by attacks", "lower": "lower bound, certified", "": ""}
CLASS_BOUND = "upper bound, proved"


def figure_words(evidence: Evidence) -> str:
    """What a figure is, such as "certified accuracy: purified network w', held-out seeds"."""
    named = evidence.pick.columns()
    label = quantity_of(named.pop("quantity")).label
    parts = [_part(name, value) for name, value in named.items()]
    return f"{label}: {', '.join(parts)}" if parts else label


def _part(column: str, value: object) -> str:
    if column == "network":
        return NETWORKS.get(f"{value}", f"{value}")
    if column == "seeds":
        return f"{value}".replace(" ", "-") + " seeds"
    if value in ("lowest", "highest"):
        return f"{value} layer"
    if column in ("fitted", "architecture", "threat", "sweep"):
        return f"{value}".replace("_", " ")
    if column == "sizes":
        return "all sizes" if value == "all" else f"{value}"
    shown = f"{value:g}" if isinstance(value, float) else f"{value}"
    return f"{COLUMN_WORDS.get(column, column.replace('_', ' '))} {shown}"


def capitalised(words: str) -> str:
    """Words with a capital first letter, the others as they are."""
    return words[:1].upper() + words[1:]


def bound_kind(evidence: Evidence) -> str:
    """Whether the measured value is an upper or a lower bound on the true one; "" if neither."""
    if evidence.pick.quantity == "class_bound":
        return CLASS_BOUND
    return KINDS_OF_BOUND[quantity_of(evidence.pick.quantity).bound]


def number_words(number: Interval, evidence: Evidence | None = None) -> str:
    """An interval, such as "99.65% [99.44%, 99.86%]", with the digits that tell it from a bound.

    number:   the interval; of one value, or of equal ones, just the value
    evidence: whose bound it is held against, if any
    """
    digits = _digits(number, evidence)
    low, high = number.ends
    text = one_number(number.value, number.unit, digits)
    if high - low < 1e-9:
        return text
    return f"{text} [{', '.join(one_number(end, number.unit, digits) for end in (low, high))}]"


def one_number(value: float, unit: str, digits: int) -> str:
    """A number with so many digits behind the point, a fraction of unit "%" in percent."""
    text = f"{100 * value if unit == PERCENT else value:,.{digits}f}"
    text = text if text.strip("-0.") else text.lstrip("-")  # no "-0.0"
    return f"{text}%" if unit == PERCENT else text.replace("-", "−")


def bound_words(evidence: Evidence) -> str:
    """A bound, such as "more than 99%"; "" of a figure without."""
    unit = quantity_of(evidence.pick.quantity).unit
    words = {">": "more than", "<": "less than"}
    if isinstance(evidence.bound, tuple):
        low, high = (bound_number(end, unit) for end in evidence.bound)
        return f"between {low} and {high}"
    return f"{words[evidence.sign]} {bound_number(evidence.bound, unit)}" if evidence.sign else ""


def bound_number(bound: float, unit: str) -> str:
    """A bound as it was stated, a fraction of unit "%" in percent."""
    text = f"{100 * bound if unit == PERCENT else bound:.6g}".replace("-", "−")
    return f"{text}%" if unit == PERCENT else text


def _digits(number: Interval, evidence: Evidence | None) -> int:
    """The fewest digits with which each end of an interval differs from a bound, if it does."""
    if number.unit in ("pairs", "steps"):
        return 0
    least = 1 if number.unit == PERCENT else 3
    if evidence is None or not evidence.sign:
        return least
    ends = evidence.bound if isinstance(evidence.bound, tuple) else (evidence.bound,)
    pairs = [(end, bound) for end in (number.value, *number.ends) for bound in ends if end != bound]
    for digits in range(least, 9):
        texts = [[one_number(each, number.unit, digits) for each in pair] for pair in pairs]
        if all(end != bound for end, bound in texts):
            return digits
    return 9
