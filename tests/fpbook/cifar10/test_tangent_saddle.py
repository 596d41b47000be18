"""Tangent kernels under attack: the saddle problem, its end, and its command."""

import dataclasses

import pytest
import torch
from cifar10_networks import random_images

from fpbook.cifar10 import networks, tangent_saddle
from fpbook.cifar10.tangent_kernel import InfiniteAnswer
from fpbook.cifar10.tangent_saddle import (
    KERNEL_SEEDS,
    KernelExperiment,
    at_rest,
    measure_tangent_kernel,
    robust_answer,
    squared_off,
    worst_images,
)
from fpbook.cifar10.tangent_verdict import CLASS_LOSS, ROBUST_SHARE, class_or_optimisation
from fpbook.results.records import record, table
from fpbook.results.store import load
from fpcore.ball import Ball

TINY_KERNEL = KernelExperiment(
    images=6, test_images=8, rounds=2, steps=2, epochs=1, most_epochs=1, radius=2.0
)


def clean_answer(data):
    answer = InfiniteAnswer()
    answer.mix(data.x, data.y, 1.0)
    return answer


def test_a_loss_is_settled_after_three_rounds_without_a_change_of_a_percent():
    assert at_rest([5, 1, 1.005, 1, 1])
    assert not at_rest([1, 1, 1])
    assert not at_rest([1, 1, 1, 1.02, 1])
    assert not at_rest([1.02, 1, 1, 1])


def test_the_worst_images_stay_in_the_ball_and_lose_no_loss():
    data, ball = random_images(5), Ball("l2", 1.0, (0.0, 1.0))
    net = clean_answer(data).solve(0.1)[0]
    moved, losses = worst_images(net, data.x, data.y, ball, 4, data.x)
    assert (ball.size(moved - data.x) <= 1 + 1e-5).all()
    assert moved.min() >= 0 and moved.max() <= 1
    torch.testing.assert_close(losses, squared_off(net, moved, data.y).detach())
    assert (losses >= squared_off(net, data.x, data.y).detach()).all()


def test_under_attack_what_is_reached_and_the_bound_meet():
    data = random_images(6)
    config = dataclasses.replace(TINY_KERNEL, rounds=8, steps=5)
    _, rounds = robust_answer(clean_answer(data), data, config)
    reached, bounds = zip(*rounds)
    assert max(bounds) <= min(reached) + 1e-4
    assert min(reached) - max(bounds) < 0.1 * min(reached)
    assert bounds[-1] > bounds[0]  # an attack costs something
    assert len(rounds) <= 9


def test_without_a_radius_the_first_answer_is_the_last():
    data = random_images(6)
    config = dataclasses.replace(TINY_KERNEL, radius=0.0, rounds=4)
    _, rounds = robust_answer(clean_answer(data), data, config)
    for reached, bound in rounds:
        assert reached == pytest.approx(bound, abs=1e-4)


@pytest.mark.filterwarnings("ignore::fpcore.alerts.ZeroGradientWarning")
def test_the_command_publishes_each_seed_and_width(results, cache, monkeypatch, capsys):
    monkeypatch.setattr(
        networks,
        "load_cifar10",
        lambda *_: (random_images(30), random_images(8, seed=1)),
    )
    monkeypatch.setattr(tangent_saddle, "KernelExperiment", lambda **_: TINY_KERNEL)
    words = ["--seeds", "1", "2", "--widths", "0.0625", "0"]
    tangent_saddle.main(words)
    assert not (results / "cifar10-kernel.json").exists()
    tangent_saddle.main([*words, "--publish"])
    assert capsys.readouterr().out.count("seed 2, width infinite") == 2
    found = load("cifar10-kernel").records
    assert {*found["seed"]} == {1, 2}
    for name in ("NTK, clean", "NTK, adversarial", "infinite NTK, clean", "network, adversarial"):
        assert {*found[found["network"] == name]["quantity"]} >= {
            "train_robust_accuracy",
            "robust_accuracy",
        }


def test_seed_0_is_for_choices_and_the_others_have_other_images():
    assert 0 not in KERNEL_SEEDS
    assert CLASS_LOSS == ROBUST_SHARE == 0.5


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"images": 0}, "images = 0"),
        ({"ridge": 0.0}, "ridge = 0: give a number above 0"),
        ({"radius": -1.0}, "radius = -1"),
        ({"rounds": 1.5}, "rounds = 1.5"),
    ],
)
def test_what_is_no_experiment_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        KernelExperiment(**given)


def test_infinite_width_has_no_network_of_its_own(cache):
    found = measure_tangent_kernel(TINY_KERNEL, random_images(6), random_images(8, seed=1), 0.0, 1)
    names = {row.get("network") for row in found}
    assert names == {"infinite NTK, clean", "infinite NTK, adversarial"}
    assert torch.tensor([row["value"] for row in found]).isfinite().all()


@pytest.mark.parametrize(
    ("clean", "least", "network", "robust", "said"),
    [
        (1.0, 0.8, 1.0, 0.0, "class"),
        (1.0, 0.8, 0.4, 0.0, "open"),  # the network cannot either
        (0.9, 0.8, 1.0, 0.0, "open"),  # it does not even fit clean images
        (1.0, 0.4, 1.0, 0.3, "open"),  # not yet at rest
        (1.0, 0.4, 1.0, 0.6, "optimisation"),
    ],
)
def test_the_verdict_follows_the_bounds_in_every_seed(clean, least, network, robust, said):
    def of_a_seed(seed, robust):
        at = {"width_factor": 0.25, "seed": seed}
        attacked = at | {"radius": 0.5}
        return [
            record("train_accuracy", clean, "NTK, clean", **at),
            record("least_attacked_loss", 0.1, "NTK, adversarial", round=0, **at),
            record("least_attacked_loss", least, "NTK, adversarial", **at),
            record("train_robust_accuracy", robust, "NTK, adversarial", **attacked),
            record("train_robust_accuracy", network, "network, adversarial", **attacked),
        ]

    both = [*of_a_seed(1, robust), *of_a_seed(2, robust)]
    assert class_or_optimisation(table(both), 0.25) == said
    assert class_or_optimisation(table(both), 0.5) == "open"  # nothing was measured there
    if said == "optimisation":
        mixed = [*of_a_seed(1, robust), *of_a_seed(2, 0.2)]
        assert class_or_optimisation(table(mixed), 0.25) == "open"


def test_at_infinite_width_no_network_can_make_it_the_class():
    records = [
        record("train_accuracy", 1.0, "infinite NTK, clean", seed=1),
        record("least_attacked_loss", 0.9, "infinite NTK, adversarial", seed=1),
    ]
    assert class_or_optimisation(table(records)) == "open"
    robust = record("train_robust_accuracy", 1.0, "infinite NTK, adversarial", radius=0.5, seed=1)
    assert class_or_optimisation(table([*records, robust])) == "optimisation"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--seeds", "1", "1"], r"seeds = \[1, 1\]: give each once"),
        (["--widths", "0.25", "0.25"], "give each once"),
        (["--seeds", "-1"], "seed = -1"),
        (["--widths", "2"], "width = 2"),
        (["--widths", "nan"], "width = nan"),
        (["--widths", "0.001"], "width = 0.001"),
        (["--images", "0"], "images = 0"),
        (["--images", "30000"], "train_images = 120000"),
    ],
)
def test_the_command_refuses_before_any_work(given, said, monkeypatch):
    monkeypatch.setattr(tangent_saddle, "kept", lambda *_: pytest.fail("it went to work"))
    with pytest.raises(ValueError, match=said):
        tangent_saddle.main(given)


def test_without_the_data_the_command_says_where_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("FPCORE_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="Ways to get CIFAR-10"):
        tangent_saddle.main([])
