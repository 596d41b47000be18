import math
from dataclasses import replace

import pytest
import torch

from fpbook.synthetic import model_classes
from fpbook.synthetic.model_classes import (
    LowComplexity,
    lower_bound_figures,
    measure_low_complexity,
    model_accuracies,
    run_low_complexity,
    run_separation,
    run_widths,
    smoothed_pgd,
)
from fpbook.synthetic.protocol import SyntheticExperiment, run_synthetic
from fpcore.attacks import Ball
from fpcore.certificates.certificate import certified_accuracy
from fpcore.models.two_layer import TwoLayer
from fpcore.theory.cubic import cubic_accuracy
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


def test_the_side_by_side_respects_every_bound_and_is_kept(experiment, cache):
    config = low_complexity((1, 2))
    short = replace(experiment, clean_steps=5, adversarial_steps=5, test_samples=40)
    rows = measure_low_complexity(config, short, 0, CPU)
    assert len(rows) == 11
    for name, row in rows.items():
        robust = row["robust_accuracy"]
        assert 0 <= robust <= row["gradient_accuracy"] <= row["clean_accuracy"] <= 1, name
        assert robust <= row.get("class_bound", 1.0) + 2 / math.sqrt(30), name
    assert rows["linear, clean"]["clean_accuracy"] > 0.9
    (figures,) = lower_bound_figures([rows], experiment.radius)
    linear = figures["class_bound_linear_accuracy"]
    assert figures["class_bound_degree2_accuracy"] == pytest.approx(0.5 + linear / 2)
    both = run_low_complexity(config, short, 0, CPU)
    nets = {name: row for name, row in both.items() if name not in rows}
    assert [*nets] == ["clean network", "purified network"] and len(both) == 13
    for row in nets.values():
        certified = row["certified_accuracy"]
        assert 0 <= certified <= row["robust_accuracy"] <= row["clean_accuracy"] <= 1
    (kept,) = cache.glob("measure_low_complexity-*.json")
    kept.write_text('{"kept": {}}')
    again = run_low_complexity(config, short, 0, CPU)
    assert again == {"kept": {}} | nets


def test_wider_tangent_models_are_measured_one_by_one(experiment, cache):
    config = low_complexity((0.5, 1))
    found = run_widths(config, experiment, [0, 1], CPU)
    wide = experiment.width
    assert {key.split("/")[0] for key in found} == {str(wide // 2), str(wide)}
    assert all(number["n"] == 2 for number in found.values())
    for name in ("trained", "witness"):
        robust = found[f"{wide}/{name}/robust_accuracy"]["value"]
        assert robust <= found[f"{wide}/{name}/gradient_accuracy"]["value"]
    # the mean over both seeds: one measured here, one on its own
    data = experiment.data(1, CPU)
    model = config.tangent(experiment.network(1, data.device), data, experiment.radius, 1)
    one = model_accuracies(model, data, *data.test_set(30, 1), experiment.radius)
    figure = f"{wide}/trained/clean_accuracy"
    other = run_widths(config, experiment, [0], CPU)[figure]["value"]
    assert found[figure]["value"] == pytest.approx((other + one["clean_accuracy"]) / 2)


def test_the_separation_is_that_of_the_runs_along_the_regime(experiment, cache, monkeypatch):
    monkeypatch.setattr(model_classes, "SCALING_SIZES", {"quick": ((100, 4), (100, 9), (64, 4))})
    short = replace(experiment, clean_steps=5, adversarial_steps=5, test_samples=40)
    monkeypatch.setattr(model_classes, "at_size", lambda d, k: replace(short, d=d, k=k))
    found = run_separation("quick", [3], CPU)
    # k = 9 is beyond, k = 4 of d = 100 at the edge
    assert [key.split("/")[0] for key in found] == ["100"] * 4 + ["64"] * 4
    run = run_synthetic(replace(short, d=64, k=4), 3, CPU, progress=False)
    tau = run.experiment.radius
    assert found["64/cubic_accuracy"]["value"] == cubic_accuracy(run.data, run.x, run.y, tau)
    certified = certified_accuracy(run.purified, run.x, run.y, tau, branches=1)
    assert found["64/purified_accuracy"]["value"] == certified
    linear = found["64/linear_accuracy"]["value"]
    assert found["64/quadratic_accuracy"]["value"] == pytest.approx(0.5 + linear / 2)


@pytest.mark.parametrize(
    ("options", "says"), [({"attacked": 0}, "attacked = 0"), ({"widths": (0,)}, "width = 0")]
)
def test_bad_values_are_named(options, says):
    whole = {"seeds": 1, "samples": 256, "widths": (1,), "tangent_steps": 5, "attacked": 9}
    with pytest.raises(ValueError, match=says):
        LowComplexity(**whole | options)
