import dataclasses

import pytest
import torch
from cifar10_networks import TINY, random_images, same_weights

from fpbook.cifar10.experiment import training_threat

LONGER = dataclasses.replace(TINY, clean_epochs=2)


def test_the_control_differs_from_adversarial_training_in_the_radius_alone():
    data = random_images(64)
    adversarial, control = (LONGER.adversarial(data, 0, radius) for radius in (LONGER.radius, 0.0))
    assert (
        dataclasses.replace(control, radius=adversarial.radius, box=adversarial.box) == adversarial
    )
    assert adversarial.box == (0.0, 1.0)
    assert adversarial.radius == LONGER.radius > 0
    clean = LONGER.clean(data, 0)
    assert clean.radius == control.radius == 0.0
    assert clean.box is None
    assert (clean.steps, control.steps) == (4, 2)


def test_training_from_scratch_is_clean_training_but_for_a_radius_that_is_warmed_up():
    data = random_images(64)
    training = LONGER.scratch(data, 0)
    assert training.at("radius", 0) == 0.0
    assert training.at("radius", training.steps - 1) == LONGER.radius
    assert dataclasses.replace(training, radius=0.0, box=None) == LONGER.clean(data, 0)


def test_initial_weights_are_the_seeds_and_leave_the_global_generators_alone(monkeypatch):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    monkeypatch.setattr(
        "torch.cuda.manual_seed_all", lambda seed: pytest.fail("the GPU's generators were seeded")
    )
    one, two, other = TINY.initial(0), TINY.initial(0), TINY.initial(1)
    assert torch.equal(before, torch.get_rng_state())
    assert same_weights(one, two)
    assert not same_weights(one, other)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"adversarial_epochs": 0}, "adversarial_epochs = 0"),
        ({"attacked_images": 1000}, "attacked_images = 1000"),
        ({"autoattacked_images": 33}, "autoattacked_images = 33: give at most test_images = 32"),
        ({"width": 0}, "width = 0"),
        ({"tangent_widths": (1.0, 0.01)}, "width = 0.01"),
        ({"narrow_widths": (-1,)}, "width = -1"),
        ({"tangent_adversarial_lr": float("nan")}, "tangent_adversarial_lr = nan"),
        ({"attacked_images": 0}, "attacked_images = 0"),
        ({"adversarial_lr": -1.0}, r"adversarial_lr = -1\.0"),
        ({"ranks": (0, -1)}, "rank = -1"),
        ({"radius": -0.5}, r"radius = -0\.5"),
        ({"norm": "l1"}, "norm = 'l1'"),
        ({"architecture": "vgg"}, "architecture = 'vgg'"),
    ],
)
def test_an_experiment_that_would_fail_after_hours_fails_at_once(change, named):
    with pytest.raises(ValueError, match=named):
        dataclasses.replace(TINY, **change)


def test_the_threat_of_the_training_is_one_of_those_that_networks_are_attacked_with():
    assert training_threat(TINY) == "l2 0.5"
    assert training_threat(dataclasses.replace(TINY, norm="linf", radius=4 / 255)) == "linf 4/255"
    with pytest.raises(ValueError, match=r"l2 0.3, must be among them"):
        training_threat(dataclasses.replace(TINY, radius=0.3))
