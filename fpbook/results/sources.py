"""Where what is shown comes from, in a few words."""

from collections.abc import Sequence

from fpbook.results.store import published


def source_of(name: str) -> str:
    """Where a published result comes from: "published: seeds 0 to 4, commit a96ff01".

    "not yet published" if there is none of this name.
    """
    found = published(name)
    if found is None:
        return "not yet published"
    source = found.provenance
    return f"published: {_seeds(source['seeds'])}, commit {source['commit']}"


def _seeds(seeds: Sequence[int]) -> str:
    """The seeds in words, a range of them by its ends."""
    if len(seeds) > 2 and [*seeds] == [*range(seeds[0], seeds[-1] + 1)]:
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
