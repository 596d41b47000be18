"""Numbers for a chapter's sentences."""

from collections.abc import Mapping

from myst_nb import glue

from fpbook.results.intervals import Interval
from fpbook.results.tables import show


def glue_all(prefix: str, values: Mapping[str, Interval | str | None]) -> None:
    """Glue each value as "prefix_name", for the text of a chapter, and show none of them.

    prefix  what the names begin with, of the chapter
    values  {name: text, or a number with its interval}
    """
    for name, value in values.items():
        text = value if isinstance(value, str) else show(value)
        glue(f"{prefix}_{name}", text, display=False)
