import math

import pytest
import torch

from fpcore.members import Member


@pytest.mark.parametrize("spread", ["uniform", "two-valued"])
@pytest.mark.parametrize("tilt", [0.0, 1e-12, 0.7, -1.9])
def test_values_between_the_ends_have_the_tilted_law(spread, tilt):
    member, ends = Member(spread=spread), (1.0, 3.0)
    u = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    values = member.between(ends, u, tilt)
    assert values.min() >= 1 and values.max() <= 3
    plain = member.between(ends, u)
    weight = (tilt * plain).exp()
    for power in (1, 2):
        wanted = (weight * plain**power).mean() / weight.mean()
        assert values.pow(power).mean().item() == pytest.approx(wanted.item(), rel=1e-4)
    mean_exp = member.mean_exp(ends, torch.tensor(tilt, dtype=torch.float64))
    assert mean_exp.item() == pytest.approx(weight.mean().item(), rel=1e-6)
    assert member.mean_square(ends) == pytest.approx(plain.square().mean().item(), rel=1e-6)


def test_ends_that_are_equal_leave_one_value():
    for spread in ("uniform", "two-valued"):
        assert (Member(spread=spread).between((2.0, 2.0), torch.rand(5), 0.3) == 2).all()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"magnitudes": (3, 1)}, "magnitudes = (3, 1): nothing is between them"),
        ({"magnitudes": (0, 1)}, "no feature is left"),
        ({"magnitudes": (-1, 1)}, "magnitudes = (-1, 1)"),
        ({"magnitudes": 3}, "magnitudes = 3: give (low, high)"),
        ({"weights": (2, 0.5)}, "weights = (2, 0.5)"),
        ({"weights": (1, math.inf)}, "weights = (1, inf)"),
        ({"weights": (1, 1e30)}, "between 0 and 1e+06"),
        ({"magnitudes": (1e-300, 1)}, "a feature is lost in rounding; give sizes of 1e-6"),
        ({"spread": "normal"}, "spread = 'normal'"),
        ({"bounded": 0.5}, "bounded = 0.5: no threshold"),
        ({"magnitudes": (2, 3), "bounded": 1.0}, "give less than 1,"),
        ({"bounded": math.nan}, "bounded = nan"),
        ({"block": -1}, "block = -1"),
    ],
)
def test_bad_input_is_an_error_that_says_what_remains(arguments, named):
    with pytest.raises(ValueError) as error:
        Member(**arguments)
    assert named in str(error.value)
