import math
from dataclasses import replace

import pytest
import torch

from fpbook.results import record, table
from fpbook.synthetic.model_classes import (
    MODELS,
    TRAININGS,
    LowComplexity,
    lower_bounds,
    measure_model,
    measure_networks,
    measure_width,
    measure_witness,
    model_accuracies,
    smoothed_pgd,
)
from fpbook.synthetic.protocol import SyntheticExperiment
from fpcore.ball import Ball
from fpcore.models.two_layer import TwoLayer
from fpcore.theory.kernels import tangent_witness

CPU = torch.device("cpu")


def low_complexity(widths):
    """The models of the book, trained for a blink."""
    return LowComplexity(
        seeds=1, samples=256, widths=widths, tangent_steps=5, attacked=30, batch=64
    )


@pytest.fixture(scope="module")
def experiment():
    return SyntheticExperiment(
        d=100,
        k=5,
        width=150,
        seeds=1,
        clean_steps=1,
        adversarial_steps=1,
        test_samples=200,
        margin=1.5,
    )


def test_smooth_attacks_break_what_the_gradient_alone_does_not(experiment):
    data = experiment.data(0, CPU)
    x, y = data.test_set(100, 0)
    rng = torch.Generator().manual_seed(0)
    wide = TwoLayer(100, 2000, experiment.thresholds[0], init_norm=1.0, rng=rng)
    witness = tangent_witness(wide, data)
    found = model_accuracies(witness, data, x, y, experiment.radius)
    assert found["robust_accuracy"] < found["gradient_accuracy"] - 0.1
    ball = Ball("l2", experiment.radius)
    moved = smoothed_pgd(witness, ball, 0.1)(witness, x, y)
    assert (moved - x).norm(dim=1).max() <= experiment.radius + 1e-5
    assert witness.temperature == 0.0


def by_network(records):
    """{network: {quantity: value}}."""
    found = {}
    for row in records:
        found.setdefault(row.get("network"), {})[row["quantity"]] = row["value"]
    return found


@pytest.fixture(scope="module")
def measured(experiment):
    """Records of all models and of the witness, as the chapter's loop has them."""
    of = (low_complexity((1, 2)), experiment, 0, CPU)
    found = [row for how in TRAININGS for name in MODELS for row in measure_model(*of, name, how)]
    return [*found, *measure_witness(*of)]


def test_the_side_by_side_respects_every_bound(measured):
    models = by_network(measured)
    assert len(models) == 11
    for name, row in models.items():
        robust = row["robust_accuracy"]
        assert 0 <= robust <= row["gradient_accuracy"] <= row["clean_accuracy"] <= 1, name
        assert robust <= row.get("class_bound", 1.0) + 2 / math.sqrt(30), name
    assert models["linear, clean"]["clean_accuracy"] > 0.9
    assert 0 < models["degree 3, witness"]["certified_accuracy"] <= 1


def test_the_networks_stand_beside_them_between_their_bounds(experiment, cache):
    short = replace(experiment, clean_steps=5, adversarial_steps=5, test_samples=40)
    nets = by_network(measure_networks(low_complexity((1,)), short, 0, CPU))
    assert [*nets] == ["clean", "purified"]
    for row in nets.values():
        certified = row["certified_accuracy"]
        assert 0 <= certified <= row["robust_accuracy"] <= row["clean_accuracy"] <= 1


@pytest.mark.parametrize(
    ("name", "training", "says"),
    [("degree 4", "clean", "name = 'degree 4'"), ("linear", "cleanly", "training = 'cleanly'")],
)
def test_an_unknown_model_or_training_is_named(name, training, says, experiment):
    with pytest.raises(ValueError, match=says):
        measure_model(low_complexity((1,)), experiment, 0, CPU, name, training)


def test_the_lower_bounds_are_the_better_of_two_trainings_the_class_bounds_and_the_witness():
    models = ("linear", "degree 2", "degree 3", "NTK, network's width", "NTK, infinite width")
    measured = [
        record("robust_accuracy", (i + 5 * (how == better)) / 10, f"{name}, {how}")
        for i, (name, better) in enumerate(zip(models, ("clean", "adversarial") * 3))
        for how in ("clean", "adversarial")
    ]
    measured += [
        record("class_bound", bound, f"{name}, {how}")
        for name, bound in (("linear", 0.6), ("degree 2", 0.8))
        for how in ("clean", "adversarial")
    ]
    witness = "degree 3, witness"
    measured += [record(f"{kind}_accuracy", 0.95, witness) for kind in ("robust", "certified")]
    assert by_network(lower_bounds(measured, 0.25)) == {
        None: {"radius": 0.25},
        "linear": {"class_bound": 0.6, "robust_accuracy": 0.5},
        "degree 2": {"class_bound": 0.8, "robust_accuracy": 0.6},
        "degree 3": {"robust_accuracy": 0.7},
        "NTK, network's width": {"robust_accuracy": 0.8},
        "NTK, infinite width": {"robust_accuracy": 0.9},
        witness: {"certified_accuracy": 0.95},
    }


def test_the_lower_bounds_hold_what_the_ledger_takes(measured, experiment, check_records):
    found = lower_bounds(measured, experiment.radius)
    check_records(table(found), "lower-bounds")
    bounds = by_network(found)
    linear = bounds["linear"]["class_bound"]
    assert bounds["degree 2"]["class_bound"] == pytest.approx(0.5 + linear / 2)


def test_a_wider_tangent_model_is_measured_at_its_width(experiment):
    config, wider = low_complexity((1,)), replace(experiment, width=2 * experiment.width)
    found = by_network(measure_width(config, wider, 1, CPU))
    assert [*found] == ["NTK, trained", "NTK, witness"]
    data, net = wider.data(1, CPU), wider.network(1, CPU)
    assert len(net.weight) == 2 * experiment.width
    model = config.tangent(net, data, wider.radius, 1)
    samples = data.test_set(30, 1)
    assert found["NTK, trained"] == model_accuracies(model, data, *samples, wider.radius)
    for row in found.values():
        assert row["robust_accuracy"] <= row["gradient_accuracy"]


@pytest.mark.parametrize(
    ("options", "says"), [({"attacked": 0}, "attacked = 0"), ({"widths": (0,)}, "width = 0")]
)
def test_bad_values_are_named(options, says):
    whole = {"seeds": 1, "samples": 256, "widths": (1,), "tangent_steps": 5, "attacked": 9}
    with pytest.raises(ValueError, match=says):
        LowComplexity(**whole | options)
