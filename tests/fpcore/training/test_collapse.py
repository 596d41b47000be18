"""A training that has collapsed to f = 0 is noticed, named and stopped; others are not."""

import dataclasses

import pytest
import torch
from trainings import network, same_state

from fpcore.training import Schedule, Training, train
from fpcore.training.collapse import BELOW, FLAT, NEAR, Collapse, CollapseError

LEARNT, ZERO = FLAT - 2 * BELOW, FLAT + NEAR / 2


def seen(losses, patience=3):
    collapse = Collapse(patience, torch.device("cpu"))
    for step, loss in enumerate(losses):
        collapse.see(torch.tensor(loss))
        collapse.stop(step + 1)


@pytest.mark.parametrize(
    "losses",
    [
        [ZERO] * 9,  # not yet learnt: as every training begins
        [LEARNT, ZERO, ZERO, LEARNT, ZERO, ZERO],  # on its way through
        [LEARNT, *[FLAT + 2 * NEAR] * 9],  # wrong, but not nothing
    ],
)
def test_what_is_no_collapse_goes_on(losses):
    seen(losses)


def test_a_loss_that_stays_at_that_of_zero_is_a_collapse():
    with pytest.raises(CollapseError, match=r"by step 4: for 3 steps the loss was log 2.* lr"):
        seen([LEARNT, ZERO, ZERO, ZERO])
    seen([LEARNT, *[ZERO] * 50], patience=None)


def test_a_training_that_silences_all_neurons_is_stopped_within_twenty_steps(data):
    # A threshold beyond the longest sample: no neuron fires any more, and none has a gradient.
    rising = Schedule((0, 0.05), (0.5, 0.05), (0.6, 4.0))
    silenced = Training(steps=100, lr=5.0, batch=128, threshold=rising)
    losses = [entry["loss"] for entry in train(network(64), data, silenced, every=1)[1:]]
    assert losses[40] < FLAT - BELOW and losses[-1] == pytest.approx(FLAT)
    flat = [abs(loss - FLAT) < NEAR for loss in losses]
    begins = max(step for step, near in enumerate(flat) if not near) + 1
    noted = []
    with pytest.raises(CollapseError):
        patient = dataclasses.replace(silenced, patience=20)
        train(network(64), data, patient, every=1, measure=lambda _: noted.append(1) or {})
    assert begins < len(noted) <= begins + 20 + 1  # the first is of step 0


def test_a_training_that_has_collapsed_collapses_again_from_its_checkpoint(data, tmp_path):
    rising = Schedule((0, 0.05), (0.5, 0.05), (0.6, 4.0))
    patient = Training(steps=100, lr=5.0, batch=128, threshold=rising, patience=20)
    kept = {"every": 5, "checkpoint": tmp_path / "one.safetensors"}
    said = []
    for _ in range(2):
        with pytest.raises(CollapseError) as stopped:
            train(network(64), data, patient, **kept)
        said.append(str(stopped.value))
    assert said[0] == said[1]


def test_patience_changes_no_training_that_learns(data):
    config = dict(steps=40, lr=5.0, batch=128, radius=Schedule((0, 0.0), (1, 0.1)))
    nets = [network(64) for _ in range(2)]
    for net, patience in zip(nets, (None, 20)):
        train(net, data, Training(**config, patience=patience))
    assert same_state(*nets)


def test_patience_is_a_positive_number():
    with pytest.raises(ValueError, match="patience"):
        Training(steps=1, lr=1.0, patience=0)
