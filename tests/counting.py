"""What tests tried is counted, for `python -m fpbook trust`: lines of JSON in $FPCORE_COUNTS."""

import json
import os
import re
from pathlib import Path

from fpbook.build.trust_tables import CHECKS

PASSING = re.compile(r"(\d+) passing")


def count(check: str, number: int = 1, name: str = "") -> None:
    """Note that so many were tried, and stood; a test that fails ends the counting as a whole.

    check   a name in CHECKS
    number  how many
    name    of what must be counted once, however often it is noted
    """
    if check not in CHECKS:
        raise ValueError(f"check = {check!r}: give one of {', '.join(CHECKS)}")
    folder = os.environ.get("FPCORE_COUNTS")
    if folder:
        with (Path(folder) / f"{os.getpid()}.jsonl").open("a") as file:
            file.write(json.dumps({"check": check, "number": number, "name": name}) + "\n")


def count_examples(item) -> None:
    """Note the examples that hypothesis gave a test, if it did, and the test as one property."""
    examples = sum(map(int, PASSING.findall(getattr(item, "hypothesis_statistics", ""))))
    if examples:
        count("properties", 1, item.nodeid.partition("[")[0])
        count("examples of properties", examples)
