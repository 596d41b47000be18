from dataclasses import replace

import numpy as np
import pytest
from cifar10_networks import TINY, family, near, random_images, same_weights

from fpbook.cifar10 import dose, networks, publish_networks
from fpbook.cifar10.dose import dose_curve, dose_fits, measure_turned, run_dose
from fpbook.results import number, record, summarise, table
from fpbook.results.ledger import bounds_of, verdict_on
from fpbook.results.store import load

SMALL = replace(TINY, width=1 / 4)


def curve(name, seed, turns, gains, factors=(0.25, 0.5, 1.0, 2.0, 4.0)):
    """Records of one seed's network at each learning rate."""
    return [
        record(quantity, value, name, rate_factor=factor, seed=seed)
        for factor, *pair in zip(factors, turns, gains)
        for quantity, value in zip(("turn", "robust_gain"), pair)
    ]


def both(seed, scale=1.0):
    turns = np.array([10.0, 15.0, 20.0, 30.0, 40.0])
    return [
        *curve("purified", seed, turns, scale * turns / 100),
        *curve("control", seed, turns / 2, [-0.01, 0.0, 0.02, -0.02, -0.03]),
    ]


def test_slope_equal_turn_and_largest_gain_are_those_of_the_curves():
    found = {
        (row["quantity"], row["network"], row["seed"]): row["value"]
        for row in dose_fits([*both(2), *both(3, scale=2)])
    }
    assert found["gain_per_turn", "purified", 2] == pytest.approx(1.0)
    assert found["gain_per_turn", "purified", 3] == pytest.approx(2.0)
    # both reach 10 to 20 degrees; the control is at 15 between two of its points, 15 is one
    assert found["gain_at_turn", "purified", 2] == pytest.approx(0.15)
    assert found["gain_at_turn", "control", 2] == pytest.approx(-0.02)
    assert found["robust_gain_most", "control", 2] == pytest.approx(0.02)
    assert found["gain_per_turn", "control", 2] < 0


def test_a_curve_is_in_the_order_of_turns_whatever_the_rates():
    turns, gains = dose_curve(
        curve("purified", 2, [30, 10, 20], [3, 1, 2], (1.0, 2.0, 4.0)), "purified", 2
    )
    assert [*turns] == [10, 20, 30] and [*gains] == [1, 2, 3]


def test_no_verdict_rests_on_one_seed_nor_on_turns_that_do_not_meet():
    assert dose_fits(both(2)) == []
    assert dose_fits([*both(2), *both(3)[:-2]]) == []  # a dose of seed 3 is missing
    apart = [
        row
        for seed in (2, 3)
        for row in (
            *curve("purified", seed, [20, 21, 22, 23, 24], [0.3] * 5),
            *curve("control", seed, [1, 2, 3, 4, 5], [0.0] * 5),
        )
    ]
    assert {row["quantity"] for row in dose_fits(apart)} == {"gain_per_turn", "robust_gain_most"}


def test_a_turn_is_the_median_angle_and_w_itself_has_none():
    clean, test = family()["clean"], random_images(16)
    still = measure_turned(clean, clean, test, SMALL)
    assert still["turn"] == pytest.approx(0, abs=0.1) and still["share_dominant"] == 1
    little, far = (
        measure_turned(clean, near(clean, scale, 1), test, SMALL)["turn"] for scale in (0.2, 1.0)
    )
    # noise of 0.2 of a layer's spread turns by about atan(0.2), all of it by about 45 degrees
    assert 7 < little < 16 and 35 < far < 55


def test_every_dose_starts_from_w_and_the_own_rate_is_not_trained_again(cache, no_batches):
    nets, data, quick = family(), random_images(64), replace(SMALL, adversarial_lr=0.1)
    slow, fast = (run_dose(quick, data, nets, 0, "purified", f, False) for f in (0.25, 4.0))
    one = {
        name: measure_turned(nets["clean"], net, data, SMALL)["turn"]
        for name, net in {"slow": slow, "fast": fast}.items()
    }
    assert 0 < one["slow"] < one["fast"] < 45
    no_batches()
    assert run_dose(quick, data, nets, 0, "control", 1.0) is nets["control"]
    assert same_weights(run_dose(quick, data, nets, 0, "purified", 4.0, False), fast)
    with pytest.raises(ValueError, match="name = 'scratch'"):
        run_dose(quick, data, nets, 0, "scratch", 2.0)


def test_the_command_publishes_seed_by_seed_and_adds_to_what_is_there(
    cache, results, monkeypatch, no_batches
):
    small = replace(SMALL, seeds=4)
    monkeypatch.setattr(dose, "CIFAR", {"full": small})
    monkeypatch.setattr(dose, "RATE_FACTORS", (0.25, 1.0, 4.0))
    monkeypatch.setattr(
        networks, "load_cifar10", lambda *_: (random_images(64), random_images(32, 1))
    )
    for seed in (2, 3):
        publish_networks(family(), seed, small)
    dose.main(["--seeds", "2"])
    assert load("cifar10-dose") is None
    dose.main(["--seeds", "2", "--publish"])
    one = load("cifar10-dose")
    assert one.provenance["seeds"] == [2]
    assert number(one.summary, "turn", "purified", rate_factor=4.0).n == 1
    assert number(one.summary, "gain_per_turn", "purified") is None
    dose.main(["--seeds", "3", "--publish"])
    two = load("cifar10-dose")
    assert two.provenance["seeds"] == [2, 3]
    assert number(two.summary, "gain_per_turn", "purified").n == 2
    no_batches()
    dose.main(["--seeds", "2", "3", "--publish"])
    assert load("cifar10-dose").digest == two.digest
    with pytest.raises(ValueError, match="seed = 4: networks of 0 to 3 are published"):
        dose.main(["--seeds", "4"])
    monkeypatch.setattr(
        networks, "load_cifar10", lambda *_: (random_images(32), random_images(32, 1))
    )
    with pytest.raises(ValueError, match=r"is of random, 64 images.* move it away"):
        dose.main(["--seeds", "3", "--publish"])


def test_bounds_that_were_fixed_decide_once_two_seeds_are_whole():
    def verdict(*records):
        return verdict_on(bounds_of("P1-dose"), summarise(table([*records, *dose_fits(records)])))

    assert verdict(*both(2)) == "not yet measured"
    same = [*both(2, scale=1.5), *both(3, scale=1.5)]
    assert verdict(*same) == "holds"
    # a control in the place of w' clearly misses, and so does a gain that does not rise
    swapped = {"purified": "control", "control": "purified"}
    assert verdict(*({**row, "network": swapped[row["network"]]} for row in same)) == "fails"
    flat = [{**row, "value": 0.3} if row["quantity"] == "robust_gain" else row for row in same]
    assert verdict(*flat) == "fails"
