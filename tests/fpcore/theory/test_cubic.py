import math

import pytest
import torch

from fpcore.attacks import Ball, pgd
from fpcore.models.outputs import accuracy
from fpcore.sparse_coding import SparseCoding
from fpcore.theory.cubic import Cubic, cubic_accuracy


def test_the_cubic_is_certified_at_most_where_it_survives_attacks():
    data = SparseCoding(100, 5, margin=1.5)
    x, y = data.test_set(200, 0)
    model = Cubic(data.features, data.w_star)
    for radius in (0.05, 0.59 / math.sqrt(5), 0.4):
        certified = cubic_accuracy(data, x, y, radius)
        moved = pgd(model, x, y, Ball("l2", radius), steps=40)
        assert certified <= accuracy(model, moved, y) <= certified + 0.03


def test_a_term_that_is_no_number_is_named():
    with pytest.raises(ValueError, match="linear = nan"):
        Cubic(torch.eye(2), torch.ones(2), math.nan)
