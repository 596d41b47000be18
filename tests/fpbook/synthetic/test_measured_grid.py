import pytest

from fpbook.results import interval
from fpbook.synthetic.measured_grid import (
    COMPARED,
    EVALUATED,
    compare_networks,
    over_seeds,
    robust_between,
)
from fpcore.models.outputs import accuracy


def test_lower_bounds_are_below_upper_bounds(measured_grid):
    for accuracies in measured_grid.accuracies.values():
        for network in COMPARED:
            attacked = accuracies[network, "attacked"]
            certified = accuracies[network, "certified"]
            assert all(0 <= low <= high <= 1 for low, high in zip(certified, attacked))
            assert attacked[0] == certified[0]  # at radius 0 both are the clean accuracy


def test_at_radius_zero_a_bound_is_the_clean_accuracy_of_its_network(measured_grid):
    for cell, run in measured_grid.runs.items():
        for network in COMPARED:
            clean = accuracy(getattr(run, network), run.x, run.y)
            assert measured_grid.accuracies[cell][network, "attacked"][0] == pytest.approx(clean)


def test_a_clean_network_is_measured_once_for_all_training_radii(measured_grid):
    for width in measured_grid.grid.widths:
        for seed in measured_grid.grid.seeds:
            control, trained = (
                measured_grid.accuracies[reach, width, seed] for reach in measured_grid.grid.reaches
            )
            assert control["clean", "attacked"] is trained["clean", "attacked"]
            again = robust_between(
                measured_grid.runs[0.65, width, seed], "clean", [EVALUATED[2], EVALUATED[4]]
            )
            kept = control["clean", "certified"]
            assert again["clean", "certified"] == [kept[2], kept[4]]


def test_numbers_are_means_over_the_seeds(measured_grid):
    numbers = measured_grid.numbers(0.65, 2.0, EVALUATED[3])
    for key, number in numbers.items():
        values = [measured_grid.accuracies[0.65, 2.0, seed][key][3] for seed in (0, 1)]
        assert number == interval(values, True, "%")
    assert over_seeds([measured_grid.accuracies[0.65, 2.0, 0]], 3)["clean", "attacked"].n == 1


def test_numbers_are_those_of_measured_radii_alone(measured_grid):
    with pytest.raises(ValueError, match="evaluation = 0\\.123"):
        measured_grid.numbers(0.65, 1.0, 0.123)


def test_a_comparison_can_be_given_up_between_its_networks(measured_grid):
    run = measured_grid.runs[0.65, 1.0, 0]
    calls = []

    def check():
        calls.append(1)
        if len(calls) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        compare_networks(run, [0.1], check)
    assert compare_networks(run, [0.1]).keys() == measured_grid.accuracies[0.65, 1.0, 0].keys()
