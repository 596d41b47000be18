import math
from dataclasses import replace

import pytest
import torch

from fpbook.results.records import table
from fpbook.results.store import Published
from fpbook.synthetic.family import (
    FAMILY_MEMBERS,
    FamilyExperiment,
    best_linear,
    family_quotes,
    measure_member,
    on_member,
)
from fpbook.synthetic.protocol import run_synthetic
from fpcore.ball import Ball
from fpcore.members import Member
from fpcore.sparse_coding import SparseCoding

CPU = torch.device("cpu")


def small(name):
    short = {"clean_steps": 12, "adversarial_steps": 12, "batch": 32, "test_samples": 40}
    return replace(on_member(name, 24, 7), margin=1.5, **short)


@pytest.mark.parametrize("name", FAMILY_MEMBERS)
def test_every_member_is_trained_and_measured(name, monkeypatch, tmp_path):
    monkeypatch.setenv("FPCORE_CACHE", str(tmp_path))
    experiment = small(name)
    member, norm = FAMILY_MEMBERS[name]
    assert experiment.data(1, CPU).member == member
    assert experiment.adversarial(1).norm == norm and experiment.clean(1).radius == 0
    found = {
        (row["quantity"], row["network"]): row["value"]
        for row in measure_member(run_synthetic(experiment, 1, CPU, progress=False))
    }
    assert ("robust_accuracy", "linear") in found and ("cos_to_init", "purified") in found
    assert found["certified_accuracy", "purified"] <= found["robust_accuracy", "purified"]
    cubic = {q for q, network in found if network == "degree 3, witness"}
    exact = norm == "l2" or member.block == 1
    assert cubic == {"certified_accuracy" if exact else "robust_accuracy"}


def test_the_simplest_member_has_the_constants_of_the_protocol_itself():
    ours = on_member("simplest", 100, 7)
    assert (ours.clean_lr, ours.init_norm, ours.first_threshold) == (0.02, 0.05, 1.9)
    longer = on_member("magnitudes 1 or 3", 100, 7)  # |x|^2 is 5 times as large
    assert longer.clean_lr * 5 == pytest.approx(ours.clean_lr)
    assert longer.first_threshold == pytest.approx(math.sqrt(5) * ours.first_threshold)
    assert longer.radius == pytest.approx(math.sqrt(5) * ours.radius)


def test_rescaled_inputs_train_as_those_of_the_protocol(monkeypatch, tmp_path):
    """Inputs twice as long, and the constants of `on_member`: the same network, half as large."""
    monkeypatch.setenv("FPCORE_CACHE", str(tmp_path))
    plain = replace(small("simplest"), noise=0.0)
    s, t = 2.0, plain.last_threshold
    double = replace(
        plain,
        member=Member(magnitudes=(s, s)),
        first_threshold=s * plain.first_threshold,
        last_threshold=s * t,
        init_norm=plain.init_norm / s,
        clean_lr=plain.clean_lr / s**2,
    )
    clean = [run_synthetic(e, 1, CPU, progress=False).clean.weight for e in (plain, double)]
    torch.testing.assert_close(clean[0], s * clean[1], atol=1e-3, rtol=0.02)


def test_the_best_linear_classifier_is_found_on_the_axes():
    data = SparseCoding(24, 4, 1.5, seed=2, member=Member(block=1))
    x, y = data.test_set(500, seed=1)
    assert best_linear(data, x, y, Ball("linf", 0.0), 0) > 0.97
    # u* loses radius |u*|_1 = radius sqrt(24) of a score of at least 1.5/sqrt(24)
    exact = (y * (x @ data.u_star) > 0.08 * math.sqrt(24)).float().mean().item()
    assert best_linear(data, x, y, Ball("linf", 0.08), 0) >= exact


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"member": Member(magnitudes=(2, 3), bounded=0.7)}, "bounded = 0.7 reaches"),
        ({"norm": "l1"}, "norm = 'l1'"),
    ],
)
def test_bad_input_is_an_error_that_says_what_remains(change, named):
    with pytest.raises(ValueError) as error:
        replace(small("simplest"), **change)
    assert named in str(error.value)


def test_an_unknown_member_is_an_error():
    with pytest.raises(ValueError, match="name = 'largest'"):
        on_member("largest", 24, 7)
    assert isinstance(on_member("simplest", 24, 7), FamilyExperiment)


def test_a_chapter_quotes_the_largest_and_the_smallest_size():
    of = {"quantity": "robust_accuracy", "network": "purified", "member": "on the axes, linf"}
    found = table(
        {**of, "d": d, "k": k, "seed": seed, "value": value}
        for d, k, value in ((256, 7, 0.9), (784, 13, 0.5))
        for seed in (0, 1)
    )
    quotes = family_quotes(Published(found, table([]), {}))
    assert (quotes["axes_small"], quotes["axes"], quotes["noise"]) == ("90.0%", "50.0%", "-")
    assert set(family_quotes(None).values()) == {"-"}
