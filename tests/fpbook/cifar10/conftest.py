"""A check of records, for the tests of fpbook.cifar10."""

import dataclasses
import math

import pytest

from fpbook.results import rows, summarise
from fpbook.results.ledger import stated_claims


@pytest.fixture
def check_records():
    """A function that checks a table of records: all that the ledger takes from a result, in range.

    What the ledger asks of held-out seeds is looked for in all of them.
    """

    def check(measured, result):
        summary = summarise(measured)
        taken = [e.pick for claim in stated_claims() for e in claim.evidence if e.result == result]
        assert taken
        for pick in taken:
            assert dataclasses.replace(pick, seeds="all").find(summary), pick
        for row in rows(measured):
            quantity = row["quantity"]
            low = -1 if quantity.startswith(("cos", "clean_lost", "robust_gain")) else 0
            high = math.inf if "ratio" in quantity else 1
            assert low - 1e-6 <= row["value"] <= high + 1e-6, row

    return check
