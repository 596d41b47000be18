import math
from dataclasses import replace

import pytest
import torch

from fpbook.results import number, record, rows, summarise, table
from fpbook.synthetic.model_classes import (
    LowComplexity,
    lower_bounds,
    measure_low_complexity,
    model_accuracies,
    run_low_complexity,
    run_widths,
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
    assert found["robust_accuracy"] < found["gradient_accuracy"] - 0.2
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


def test_the_side_by_side_respects_every_bound_and_is_kept(experiment, cache):
    config = low_complexity((1, 2))
    short = replace(experiment, clean_steps=5, adversarial_steps=5, test_samples=40)
    measured = measure_low_complexity(config, short, 0, CPU)
    models = by_network(measured)
    assert len(models) == 11
    for name, row in models.items():
        robust = row["robust_accuracy"]
        assert 0 <= robust <= row["gradient_accuracy"] <= row["clean_accuracy"] <= 1, name
        assert robust <= row.get("class_bound", 1.0) + 2 / math.sqrt(30), name
    assert models["linear, clean"]["clean_accuracy"] > 0.9
    both = run_low_complexity(config, short, 0, CPU)
    assert both[: len(measured)] == measured
    nets = by_network(both[len(measured) :])
    assert [*nets] == ["clean", "purified"]
    for row in nets.values():
        certified = row["certified_accuracy"]
        assert 0 <= certified <= row["robust_accuracy"] <= row["clean_accuracy"] <= 1
    (kept,) = cache.glob("measure_low_complexity-*.json")
    kept.write_text("[]")
    assert run_low_complexity(config, short, 0, CPU) == both[len(measured) :]


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


def test_the_lower_bounds_hold_what_the_ledger_takes(experiment, cache, check_records):
    config = low_complexity((1,))
    short = replace(experiment, clean_steps=5, adversarial_steps=5, test_samples=40)
    found = lower_bounds(measure_low_complexity(config, short, 0, CPU), short.radius)
    check_records(table(found), "lower-bounds")
    bounds = by_network(found)
    linear = bounds["linear"]["class_bound"]
    assert bounds["degree 2"]["class_bound"] == pytest.approx(0.5 + linear / 2)


def test_wider_tangent_models_are_measured_one_by_one(experiment, cache):
    config = low_complexity((0.5, 1))
    found = run_widths(config, experiment, [0, 1], CPU)
    wide = experiment.width
    assert {row["width"] for row in rows(found)} == {wide // 2, wide}
    summary = summarise(found)
    assert all(row["n"] == 2 for row in rows(summary))

    def value(summary, quantity, network):
        return number(summary, quantity, network, width=wide).value

    for name in ("NTK, trained", "NTK, witness"):
        robust = value(summary, "robust_accuracy", name)
        assert robust <= value(summary, "gradient_accuracy", name)
    # the mean over both seeds: one measured here, one on its own
    data = experiment.data(1, CPU)
    model = config.tangent(experiment.network(1, data.device), data, experiment.radius, 1)
    one = model_accuracies(model, data, *data.test_set(30, 1), experiment.radius)
    alone = summarise(run_widths(config, experiment, [0], CPU))
    other = value(alone, "clean_accuracy", "NTK, trained")
    mean = value(summary, "clean_accuracy", "NTK, trained")
    assert mean == pytest.approx((other + one["clean_accuracy"]) / 2)


@pytest.mark.parametrize(
    ("options", "says"), [({"attacked": 0}, "attacked = 0"), ({"widths": (0,)}, "width = 0")]
)
def test_bad_values_are_named(options, says):
    whole = {"seeds": 1, "samples": 256, "widths": (1,), "tangent_steps": 5, "attacked": 9}
    with pytest.raises(ValueError, match=says):
        LowComplexity(**whole | options)
