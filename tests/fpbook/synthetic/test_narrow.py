"""The protocol for a narrow margin: its formulas, and its command."""

import dataclasses
import math

import pytest
import torch

from fpbook.results.columns import rows
from fpbook.results.ledger import bounds_of
from fpbook.results.store import load
from fpbook.synthetic import narrow
from fpbook.synthetic.narrow import (
    HELD_OUT,
    STABLE,
    WIDTH,
    largest_step,
    measure_narrow,
    narrow_experiment,
)
from fpcore.sparse_coding import SparseCoding


def test_constants_follow_d_and_k():
    small, large = narrow_experiment(400), narrow_experiment(1600)
    assert (small.k, large.k) == (13, 26)
    assert large.width == 4 * small.width
    for experiment in (small, large):
        step = experiment.adversarial_lr
        full = max(experiment.adversarial(0).at("lr", i) for i in range(600))
        assert full == pytest.approx(step * experiment.d)
        assert step * experiment.k * experiment.training_reach**2 == pytest.approx(
            8 * STABLE / WIDTH
        )
        radii = [experiment.adversarial(0).at("radius", i) for i in range(600)]
        assert radii[int(0.4 * 600)] == pytest.approx(experiment.training_radius, rel=1e-2)
        assert radii[int(0.2 * 600)] < 0.7 * experiment.training_radius
        rest = experiment.d * experiment.k / experiment.batch  # of prop-incoherent
        assert rest <= 12
        assert experiment.reach < experiment.last_threshold  # no attack wakes a silent neuron
        assert experiment.adversarial(0).patience == 20
    assert 0 not in HELD_OUT and len(set(HELD_OUT)) == 5


def test_the_largest_step_is_two_over_the_curvature_along_the_common_direction():
    """The Hessian of the loss along the step, of samples that have moved against a pure network."""
    d, k, neurons, reach = 200, 8, 6, 0.6
    data = SparseCoding(d, k, margin=1.0, noise=0.0, seed=0)
    tau = reach / math.sqrt(k)
    active = torch.zeros(400, d)
    rng = torch.Generator().manual_seed(0)
    for row in active:
        row[torch.randperm(d, generator=rng)[:k]] = 1
    # Each feature has `neurons` neurons: m = neurons d, and samples share neurons (k/d)^2 m.
    shared = neurons * (active @ active.T)
    kernel = shared * tau**2  # of the perturbations, all along one direction
    curvature = torch.linalg.eigvalsh(kernel / 400)[-1].item() / 4
    assert data.d * largest_step(d, k, neurons * d, reach) == pytest.approx(2 / curvature, rel=0.15)
    assert STABLE < 0.5


def test_a_run_says_what_is_kept_of_the_data(tiny, cache):
    found = {
        (row["quantity"], row.get("network")): row["value"]
        for row in measure_narrow(tiny, 0, torch.device("cpu"), progress=False)
    }
    # k = 4: scores are multiples of 1/2, and 1.2 asks for 3/2
    assert found["least_score", None] == 1.5
    assert 0.05 < found["codes_kept", None] < 0.3
    for one in bounds_of(narrow.NARROW_CLAIM):
        assert found[one.pick.quantity, one.pick.network] >= 0


def test_the_command_publishes_each_seed_with_its_records(
    tiny, results, cache, monkeypatch, capsys
):
    monkeypatch.setattr(narrow, "narrow_experiment", lambda d, margin, seeds=2: tiny)
    monkeypatch.setattr(narrow, "HELD_OUT", (3, 5))
    small = ["--d", "40", "--margin", "1.2"]
    with pytest.raises(ValueError, match=r"the claim is of d = 2048, margin 1\.7 and seeds of"):
        narrow.main(["--seeds", "3", "5", *small, "--publish"])
    narrow.main(["--seeds", "3", "5", *small])
    assert not (results / "narrow-margin.json").exists()
    monkeypatch.setattr(narrow, "NARROW_SIZE", 40)
    monkeypatch.setattr(narrow, "NARROW_MARGIN", 1.2)
    with pytest.raises(ValueError, match=r"the claim is of d = 40, margin 1\.2 and seeds of"):
        narrow.main(["--seeds", "3", "0", "--publish"])
    narrow.main(["--seeds", "3", "5", "--publish"])
    said = capsys.readouterr().out
    assert said.count("margin 1.2, seed 3: clean_accuracy") == said.count("all seeds: ") == 2
    assert "least_score of data 1.500, < 1.9 holds" in said
    assert "certified_accuracy of purified" in said and "> 0.99 fails" in said
    published = load("narrow-margin")
    assert published.provenance["seeds"] == [3, 5]
    assert {*published.records["seed"]} == {3, 5}


def test_seeds_are_added_to_those_of_the_same_protocol_alone(
    tiny, results, cache, monkeypatch, capsys
):
    results.mkdir()
    made = {"now": tiny}
    monkeypatch.setattr(narrow, "narrow_experiment", lambda d, margin, seeds=2: made["now"])
    for name, value in {"NARROW_SIZE": 40, "NARROW_MARGIN": 1.2, "HELD_OUT": (3, 5, 7)}.items():
        monkeypatch.setattr(narrow, name, value)

    def run(*arguments):
        narrow.main(["--d", "40", "--margin", "1.2", *arguments])

    with pytest.raises(ValueError, match=r"narrow-margin\.json is not there, leave --add out"):
        run("--seeds", "3", "--publish", "--add")
    run("--seeds", "3", "--publish")
    first = load("narrow-margin").records
    run("--seeds", "5", "--publish", "--add")
    both = load("narrow-margin")
    assert both.provenance["seeds"] == [3, 5]
    assert rows(both.records)[: len(first)] == rows(first)
    for arguments, said in (
        (("--seeds", "5", "7", "--publish", "--add"), r"seeds \[5\] are published already"),
        (("--seeds", "7", "--add"), "give it with --publish"),
        (("--seeds", "7", "--publish", "--add", "--curve"), "without --curve"),
        (("--seeds", "7", "7"), "give each of them once"),
    ):
        with pytest.raises(ValueError, match=said):
            run(*arguments)
    made["now"] = dataclasses.replace(tiny, reach=tiny.reach / 2)
    with pytest.raises(ValueError, match=r"published is .*, radius .*; leave --add out"):
        run("--seeds", "7", "--publish", "--add")
    assert load("narrow-margin").digest == both.digest


def test_the_curve_is_published_over_sizes_and_margins(tiny, results, cache, monkeypatch):
    def made(d, margin, seeds=1):
        return dataclasses.replace(tiny, margin=margin)

    monkeypatch.setattr(narrow, "narrow_experiment", made)
    monkeypatch.setattr(narrow, "CURVE", {40: (1.0, 1.5)})
    narrow.main(["--seeds", "3", "--curve", "--publish"])
    published = load("narrow-margin-curve").records
    scores = published[published["quantity"] == "least_score"]
    assert {*scores["setting"]} == {1.0, 1.5} == {*scores["value"]}


def test_what_is_no_size_is_refused():
    with pytest.raises(ValueError, match="d = 0"):
        narrow_experiment(0)
    with pytest.raises(ValueError, match="warm_up = 2"):
        dataclasses.replace(narrow_experiment(400), warm_up=2.0)
