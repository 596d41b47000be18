"""How fast it shall be: what was asked for before it was measured, for the page *How fast*."""

from dataclasses import dataclass

BENCH = "bench"  # the name of the result that `make bench` publishes
BOOK = "book-time"  # of `python benchmarks/book.py`


@dataclass(frozen=True)
class Target:
    """What was asked for.

    words:  what it is of
    timed:  the name under which it is measured
    bound:  the value that it shall reach; for `atmost` not exceed
    result: in which it is published
    atmost: whether less is better
    within: words that occur in the settings of the row, where several have its name
    limit:  the name under which the bound that the hardware sets is measured; "" for none
    reason: why the target may not be met, in a sentence
    """

    words: str
    timed: str
    bound: float
    result: str = BENCH
    atmost: bool = False
    within: str = ""
    limit: str = ""
    reason: str = ""


TARGETS = (
    Target("quick book, seconds", "quick book, alone", 360, BOOK, atmost=True),
    Target(
        "quick book beside a busy core, over alone",
        "quick book, beside over alone",
        2,
        BOOK,
        atmost=True,
    ),
    Target("opening page, seconds", "opening page, alone", 90, BOOK, atmost=True),
)
