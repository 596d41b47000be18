"""What is published, in a few words: where it comes from, and single numbers of it."""

from collections.abc import Sequence

from fpbook.results.store import published
from fpbook.results.summaries import Pick
from fpbook.results.tables import show


def source_of(name: str) -> str:
    """Where a published result comes from: "published: seeds 0 to 4, commit a96ff01".

    "not yet published" if there is none of this name.
    """
    found = published(name)
    if found is None:
        return "not yet published"
    source = found.provenance
    return f"published: {_seeds(source['seeds'])}, commit {source['commit']}"


def quoted(name: str, of: Pick, percent: bool = True) -> str:
    """A published number as text, with its interval: "49.3% [48.2%, 50.4%]"; "-" for none.

    name     of the result
    of       which of its numbers
    percent  whether a fraction is shown in percent
    """
    found = published(name)
    return show(of.find(found.summary) if found else None, percent)


def _seeds(seeds: Sequence[int]) -> str:
    """The seeds in words, a range of them by its ends."""
    if len(seeds) > 2 and [*seeds] == [*range(seeds[0], seeds[-1] + 1)]:
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
