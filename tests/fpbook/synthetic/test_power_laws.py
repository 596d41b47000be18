import math

import numpy as np
import pytest

from fpbook.results import record, rows, select, table
from fpbook.synthetic.power_laws import LAWS, exponent_picks, exponents, power_law
from fpbook.synthetic.sweeps import SCALING_SIZES

profiles = pytest.mark.parametrize("profile", SCALING_SIZES)
TRUE = {
    "dense coefficient ~ k/d": 1.2,
    "breaking radius ~ d": 0.5,
    "breaking radius ~ k": -2.0,
    "certified radius ~ k": -0.5,
    "active share, clean ~ k/d": 0.8,
    "active share, purified ~ k/d": 1.0,
    "steps to 90% ~ d": 0.4,
}


def records_of(sizes, steps=lambda d: 5 * d**0.4, seed=0, off=lambda d, k: 1.0):
    """Records of `measure_scaling` that follow the laws inside the regime, k < sqrt(d), exactly.

    Beyond it they miss them all. `steps` may be None; breaking radii are `off` times as large.
    """
    found = []
    for d, k in sizes:
        wrong = 1 if k < d**0.5 else 7
        over = {"d": d, "k": k, "seed": seed}
        found += [
            record("dense_coefficient", wrong * 3 * (k / d) ** 1.2, "clean", **over),
            record("broken_radius", wrong * off(d, k) * d**0.5 / k**2, "clean", **over),
            record("certified_radius", wrong * 0.3 / k**0.5, "purified", **over),
            record("active_share", wrong * (k / d) ** 0.8, "clean", **over),
            record("active_share", wrong * 2 * k / d, "purified", **over),
        ]
        if steps(d) is not None:
            found.append(record("steps_to_robust", steps(d), "purified", **over))
    return found


def fits(records):
    """{label: number} of the fitted exponents."""
    fitted = exponents(table(records))
    return {label: pick.find(fitted) for label, pick in exponent_picks(fitted).items()}


def inside(fitted):
    """Those that are fitted inside the regime."""
    return {label: fit for label, fit in fitted.items() if "all sizes" not in label}


def test_power_laws_are_recovered_exactly():
    d, k = np.array([100.0, 200, 300, 400, 500]), np.array([7.0, 9, 8, 20, 11])
    fitted = power_law({"d": d, "k": k}, 5 * d**0.7 / k**2)
    for name, exponent in (("d", 0.7), ("k", -2.0)):
        fit = fitted[name]
        assert [fit.low, fit.value, fit.high] == pytest.approx([exponent] * 3, abs=1e-6)
        assert fit.n == 5


def test_units_change_no_exponent():
    rng = np.random.default_rng(0)
    d, values = np.array([1.0, 2, 3, 4, 5]), rng.uniform(1, 2, 5)
    one, two = power_law({"d": d}, values)["d"], power_law({"d": 60 * d}, 1000 * values)["d"]
    assert (one.low, one.value, one.high) == pytest.approx((two.low, two.value, two.high))


def test_intervals_of_exponents_cover_the_truth_at_their_rate():
    rng, trials = np.random.default_rng(0), 1000
    d, k = np.geomspace(100, 1000, 8), rng.uniform(5, 25, 8)
    covered = np.zeros(2)
    for _ in range(trials):
        fitted = power_law({"d": d, "k": k}, d**0.5 / k * np.exp(0.2 * rng.normal(size=8)))
        covered += [
            fitted["d"].low < 0.5 < fitted["d"].high,
            fitted["k"].low < -1 < fitted["k"].high,
        ]
    assert abs(covered / trials - 0.95).max() < 4 * math.sqrt(0.05 * 0.95 / trials)


def test_seeds_of_a_size_are_no_sizes_of_their_own():
    rng, sizes = np.random.default_rng(0), SCALING_SIZES["full"]
    common = {size: math.exp(0.2 * rng.normal()) for size in sizes}  # to the seeds of a size
    once = records_of(sizes, off=lambda d, k: common[d, k])
    twice = [
        *records_of(sizes[:1], lambda d: None, off=lambda d, k: 2.0 * common[d, k]),
        *records_of(sizes[1:], off=lambda d, k: 2.0 * common[d, k]),
        *records_of(sizes, seed=1, off=lambda d, k: 0.5 * common[d, k]),
    ]
    other = fits(twice)
    for label, fit in fits(once).items():
        same = other[label]
        assert same.n == fit.n
        assert (same.low, same.value, same.high) == pytest.approx((fit.low, fit.value, fit.high))


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0])
def test_a_measurement_that_has_no_logarithm_is_left_out(bad):
    fitted = power_law({"d": [1.0, 2, 3, 4]}, [1.0, 4.0, bad, 16.0])["d"]
    assert fitted.n == 3 and fitted.value == pytest.approx(2)


@pytest.mark.parametrize(
    ("factors", "values", "named"),
    [
        ({"d": [1.0, 2]}, [1.0, 2], "2 usable measurements of 2"),
        ({"d": [1.0, 2, 3]}, [1.0, math.nan, 3], "2 usable measurements of 3"),
        ({"d": [1.0, 2, 3]}, [math.nan] * 3, "0 usable measurements of 3"),
        ({"d": [1.0, 2, 3], "k": [7.0, 8, 9]}, [1.0, 2, 3], r"\['d', 'k'\]"),
        ({"d": [5.0, 5, 5, 5]}, [1.0, 2, 3, 4], r"cannot fit \['d'\]: measure at more sizes"),
        (
            {"d": [1.0, 2, 3, 4, 5], "k": [1.0, 4, 9, 16, 25]},
            [1.0, 2, 3, 4, 5],
            "measure at more sizes",
        ),
    ],
)
def test_measurements_that_determine_no_exponent_are_an_error(factors, values, named):
    with pytest.raises(ValueError, match=named):
        power_law(factors, values)


@profiles
def test_exponents_of_known_laws_are_recovered_on_the_grid(profile):
    fitted = fits(records_of(SCALING_SIZES[profile]))
    assert {label: fit.value for label, fit in inside(fitted).items()} == pytest.approx(TRUE)
    assert all(fit.high - fit.low < 1e-5 for fit in inside(fitted).values())
    for label, fit in inside(fitted).items():
        other = fitted[f"{label} (all sizes)"]
        assert other.n > fit.n and (other.high - other.low > 0.1 or "steps" in label)


def test_each_exponent_names_what_is_fitted_of_which_network_and_over_which_sizes():
    fitted = exponents(table(records_of(SCALING_SIZES["full"])))
    named = [(row["fitted"], row["network"], row["factor"]) for row in rows(fitted)]
    laws = [(law.quantity, law.network, factor) for law in LAWS for factor in law.factors]
    assert named == laws * 2
    assert [row["sizes"] for row in rows(fitted)] == ["k < sqrt(d)"] * 7 + ["all"] * 7
    assert len(select(fitted, quantity="exponent")) == len(exponent_picks(fitted)) == 14


def test_runs_that_never_get_robust_do_not_count_in_the_steps():
    found = records_of(SCALING_SIZES["full"], lambda d: None if d == 400 else 5 * d**0.4)
    fit = fits(found)["steps to 90% ~ d"]
    assert fit.value == pytest.approx(0.4) and fit.n == 6


@pytest.mark.parametrize(
    "steps",
    [
        lambda d: None,
        lambda d: 50.0 if d < 500 else None,
        lambda d: 50.0 if d == 576 else None,
        lambda d: 50.0 if d > 700 else 0.0,
    ],
    ids=["none", "at two runs", "at one size", "all but two at once"],
)
def test_steps_of_too_few_sizes_have_no_exponent_and_the_others_stay(steps):
    fitted = fits(records_of(SCALING_SIZES["full"], steps))
    assert not any("steps" in label for label in fitted) and len(fitted) == 2 * (len(TRUE) - 1)
    assert {label: fit.value for label, fit in inside(fitted).items()} == pytest.approx(
        {label: exponent for label, exponent in TRUE.items() if "steps" not in label}
    )
