import dataclasses
import math

import pytest
import torch

from fpbook.results import table
from fpbook.synthetic import measures
from fpbook.synthetic.measures import (
    accuracy_bounds,
    features_kept,
    measure_control,
    measure_synthetic,
    soundness,
)
from fpbook.synthetic.protocol import SyntheticRun
from fpcore.certificates.certificate import Certificate, certify
from fpcore.models.outputs import accuracy
from fpcore.models.two_layer import TwoLayer


def values(records, network):
    """{quantity: value} of a network."""
    return {row["quantity"]: row["value"] for row in records if row.get("network") == network}


@pytest.fixture
def planted_run(sparse, tiny):
    """A function that makes a run whose networks are known."""

    def make(clean, purified):
        x, y = sparse.test_set(100, seed=0)
        experiment = dataclasses.replace(tiny, d=sparse.d, k=sparse.k)
        init = TwoLayer(sparse.d, len(clean.weight), rng=torch.Generator().manual_seed(0))
        networks = {"init": init, "clean": clean, "purified": purified, "control": purified}
        return SyntheticRun(
            experiment=experiment,
            seed=0,
            data=sparse,
            x=x,
            y=y,
            networks=networks,
            histories={},
        )

    return make


@pytest.fixture
def holding(sparse):
    """A function that makes a network with one pure neuron a given feature, of given norms."""

    def make(*tops, norms=None):
        net = TwoLayer(sparse.d, len(tops))
        with torch.no_grad():
            net.weight.copy_(
                sparse.features.T[[*tops]] * torch.tensor(norms or [1.0] * len(tops))[:, None]
            )
        return net

    return make


@pytest.mark.parametrize(
    ("before", "after", "norms", "same", "held", "gained", "lost"),
    [
        ((0, 1, 2, 3), (0, 1, 2, 3), None, 1.0, 4, 0, 0),
        # a sign is no other feature
        ((0, 1, 2, 3), (0, 1, 2, 3), [-2.0, 1.0, -1.0, 3.0], 1.0, 4, 0, 0),
        ((0, 1, 2, 2), (0, 1, 3, 2), None, 0.75, 4, 1, 0),
        ((0, 1, 2, 3), (0, 0, 0, 0), None, 0.25, 1, 0, 3),
        ((0, 0, 0, 0), (0, 1, 2, 3), None, 0.25, 4, 3, 0),
        # neurons swap; the features stay
        ((0, 1, 2, 3), (1, 0, 3, 2), None, 0.0, 4, 0, 0),
        ((0, 1), (2, 3), None, 0.0, 2, 2, 2),
        # a dead neuron holds nothing, and its feature is lost
        ((0, 1, 2, 3), (0, 1, 2, 9), [1.0, 1.0, 1.0, 0.05], 1.0, 3, 0, 1),
    ],
)
def test_features_kept_gained_and_lost_are_counted(
    before, after, norms, same, held, gained, lost, planted_run, holding
):
    run = planted_run(holding(*before), holding(*after, norms=norms))
    expected = {
        "same_feature": same,
        "features_held": held / 48,
        "features_gained": gained / 48,
        "features_lost": lost / 48,
    }
    live = 3 if norms and min(map(abs, norms)) < 0.1 else len(after)
    expected["features_missed_by_chance"] = (47 / 48) ** live
    for network in ("purified", "control"):
        kept = features_kept(run, network)
        assert values(kept, network) == pytest.approx(expected)


def test_the_records_of_known_networks(planted_run, planted, check_records):
    run = planted_run(planted(dense=3.0, threshold=0.1), planted(dense=0.01))
    measured = measure_synthetic(run, restarts=1)
    check_records(table([*measured, *measure_control(run, restarts=1)]), "synthetic")
    init, clean, purified = (values(measured, name) for name in ("init", "clean", "purified"))
    assert values(measured, None)["radius"] == run.experiment.radius
    assert purified["purity"] > 0.99 and purified["dense_part"] < 0.02
    assert clean["dense_part"] == pytest.approx(3 / math.sqrt(10) * (1 - 1 / 48), rel=0.05)
    assert purified["cos_to_clean"] == pytest.approx(1 / math.sqrt(10), abs=0.15)
    assert purified["share_dominant"] < 0.05 and purified["share_live"] == 1.0
    assert purified["cos_removed_dense"] > 0.9
    assert abs(clean["cos_to_init"]) < 0.2 and init["purity"] < 0.6
    assert purified["same_feature"] == purified["features_held"] == 1
    assert purified["features_gained"] == purified["features_lost"] == 0
    for found in (clean, purified):
        certified, robust = found["certified_accuracy"], found["robust_accuracy"]
        assert certified <= robust <= found["clean_accuracy"]
    assert clean["clean_accuracy"] > 0.95
    assert clean["robust_accuracy"] < purified["robust_accuracy"]


def test_the_control_is_measured_as_the_purified_network_is(planted_run, planted):
    run = planted_run(planted(dense=3.0, threshold=0.1), planted(dense=0.01))
    control = values(measure_control(run, restarts=1), "control")
    purified = values(measure_synthetic(run, restarts=1), "purified")
    shared = {
        *("clean_accuracy", "robust_accuracy", "certified_accuracy", "certificate_exact"),
        *("purity", "dense_part", "share_dominant", "same_feature"),
    }
    assert control.keys() == shared
    for name in shared - {"certified_accuracy", "certificate_exact"}:  # which branch or do not
        assert control[name] == pytest.approx(purified[name], abs=1e-6), name


def test_robustness_counts_the_attack_along_the_dense_direction(
    sparse, planted_run, planted, monkeypatch
):
    run = planted_run(planted(dense=3.0, threshold=0.1), planted())
    moved = run.x - run.experiment.radius * run.y[:, None] * sparse.u_star

    def all_stand(_, x, *args):
        return torch.ones(len(x), dtype=torch.bool), torch.zeros(len(x), dtype=torch.bool)

    # what is left is the dense direction
    monkeypatch.setattr("fpcore.attacks.fgm", lambda _, x, *args: x)
    monkeypatch.setattr("fpcore.attacks.withstand", all_stand)
    found = values(accuracy_bounds(run, "clean", restarts=1), "clean")
    assert found["robust_accuracy"] == accuracy(run.clean, moved, run.y) < found["clean_accuracy"]


def test_a_certified_sample_that_an_attack_breaks_is_an_error(planted_run, planted, monkeypatch):
    run = planted_run(planted(dense=3.0, threshold=0.1), planted())
    ones = torch.ones(len(run.x))
    wrong = Certificate(ones, ones, ones.bool())
    monkeypatch.setattr(measures, "certify", lambda *_: wrong)
    with pytest.raises(ArithmeticError, match=r"an attack broke [1-9]"):
        accuracy_bounds(run, "clean", restarts=1)


def test_robustness_repeats_itself(planted_run, planted):
    run = planted_run(planted(dense=2.0), planted())
    torch.manual_seed(0)
    first = accuracy_bounds(run, "clean", restarts=2)
    torch.manual_seed(1)
    assert accuracy_bounds(run, "clean", restarts=2) == first
    assert values(first, "clean")["clean_accuracy"] == accuracy(run.clean, run.x, run.y)


def test_no_attack_breaks_a_certified_sample_in_a_hundred_thousand_pairs(every_kind, sparse):
    x, y = sparse.test_set(600, seed=11)
    radii = torch.linspace(0.0, 0.45, 20).tolist()
    total = {"pairs": 0, "certified": 0, "broken": 0}
    for net in every_kind.values():
        # branching costs most of the time
        for part, branches in ((slice(60), 20), (slice(60, None), 0)):
            rng = torch.Generator().manual_seed(0)
            for name, count in soundness(net, x[part], y[part], radii, branches, rng=rng).items():
                total[name] += count
    assert total["pairs"] >= 100_000
    assert total["certified"] > 0.2 * total["pairs"]
    assert total["broken"] == 0


def test_the_soundness_sweep_notices_a_broken_certificate(every_kind, sparse, monkeypatch):
    def at_half_the_radius(net, x, y, radius, branches, norm):
        return certify(net, x, y, 0.5 * radius, branches, norm=norm)

    monkeypatch.setattr(measures, "certify", at_half_the_radius)
    counts = soundness(every_kind["dense"], *sparse.test_set(60, seed=7), [0.1, 0.3])
    assert counts["pairs"] == 120 and counts["broken"] > 0
