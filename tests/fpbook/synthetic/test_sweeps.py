import dataclasses
import math

import nbformat
import pytest
import torch

from fpbook.build.chapters import ROOT
from fpbook.synthetic.protocol import SYNTHETIC, SyntheticRun
from fpbook.synthetic.sweeps import (
    SCALING_SIZES,
    at_size,
    base_experiment,
    boundary_along,
    home_settings,
    largest_radius,
    measure_limit,
    measure_scaling,
    measure_separation,
)
from fpcore.certificates.certificate import certified_accuracy
from fpcore.models.outputs import accuracy
from fpcore.models.two_layer import TwoLayer
from fpcore.theory.cubic import cubic_accuracy

CPU = torch.device("cpu")
VARIED = {
    "initial norm |w0|, no decay": {"init_norm", "decay"},
    "learning rate / ours": {"clean_lr", "adversarial_lr"},
    "active features k": {"k"},
    "width m / d": {"width"},
    "noise": {"noise"},
    "PGD steps in training (1: FGM)": {"attack_steps"},
    "radius * sqrt(k)": {"reach", "training_reach"},
    "margin": {"margin"},
}
profiles = pytest.mark.parametrize("profile", SCALING_SIZES)


def values(records, network):
    """{quantity: value} of a network."""
    return {row["quantity"]: row["value"] for row in records if row["network"] == network}


def differing(a, b):
    return {f.name for f in dataclasses.fields(a) if getattr(a, f.name) != getattr(b, f.name)}


def limits(profile):
    """The sweeps as the chapter's cell has them: {assumption: {setting: experiment}}."""
    cells = nbformat.read(ROOT / "chapters" / "limits.ipynb", 4).cells
    (cell,) = [cell for cell in cells if "sweeps" in cell.metadata.get("tags", [])]
    names = {"profile": profile, "base_experiment": base_experiment}
    exec(cell.source, names)
    return names["sweeps"]


def linear(weight):
    """The network f(x) = <weight, x>."""
    net = TwoLayer(len(weight), 1, threshold=0.0)
    with torch.no_grad():
        net.weight.copy_(weight[None])
    return net


def test_another_size_keeps_every_constant_of_the_protocol():
    assert differing(at_size(1536, 17), SYNTHETIC["full"]) == {
        "width",
        "seeds",
        "adversarial_steps",
        "test_samples",
        "patience",  # a collapse is what a sweep may measure
    }
    assert (
        at_size(300, 8, steps=7, width=0.5).width == 150
        and at_size(300, 8, steps=7).adversarial_steps == 7
    )


def test_an_unknown_profile_is_named():
    with pytest.raises(ValueError, match="profile = 'slow': choose one of 'quick', 'full'"):
        base_experiment("slow")


@profiles
def test_sizes_lie_along_the_regime_and_across_it_at_one_dimension(profile):
    along = [(d, k) for d, k in SCALING_SIZES[profile] if k <= 0.6 * math.sqrt(d)]
    assert len({d for d, _ in along}) >= 3
    across = {d for d, k in SCALING_SIZES[profile] if k > 0.6 * math.sqrt(d)}
    assert len(across) == 1 and sum(d in across for d, _ in SCALING_SIZES[profile]) >= 3
    for d, k in SCALING_SIZES[profile]:
        start, end = at_size(d, k).thresholds
        assert start < end < at_size(d, k).training_radius


@profiles
def test_each_sweep_varies_its_own_assumption_alone(profile):
    base = base_experiment(profile)
    assert {
        name: set().union(*(differing(e, base) for e in s.values()))
        for name, s in limits(profile).items()
    } == VARIED


@profiles
def test_each_sweep_rises_through_values_that_name_their_experiments(profile):
    value_of = {
        "initial norm |w0|, no decay": lambda e: e.init_norm,
        "learning rate / ours": lambda e: (
            e.adversarial_lr / base_experiment(profile).adversarial_lr
        ),
        "active features k": lambda e: e.k,
        "width m / d": lambda e: e.width / e.d,
        "noise": lambda e: e.noise,
        "PGD steps in training (1: FGM)": lambda e: e.attack_steps,
        "radius * sqrt(k)": lambda e: e.radius * math.sqrt(e.k),
        "margin": lambda e: e.margin,
    }
    for name, sweep in limits(profile).items():
        assert list(sweep) == sorted(sweep) and len(sweep) >= 2
        for value, experiment in sweep.items():
            assert value_of[name](experiment) == pytest.approx(value), name
            assert float(f"{value:g}") == value  # as the axes of figures have it
    for experiment in limits(profile)["learning rate / ours"].values():
        ratio = experiment.adversarial_lr / base_experiment(profile).adversarial_lr
        assert experiment.clean_lr / base_experiment(profile).clean_lr == pytest.approx(ratio)


@profiles
def test_each_sweep_but_that_without_decay_passes_through_home_once(profile):
    homes = {
        name: [*sweep.values()].count(base_experiment(profile))
        for name, sweep in limits(profile).items()
    }
    assert homes == {name: int("no decay" not in name) for name in VARIED}
    home = base_experiment(profile)
    stands = {n: v for n, sweep in limits(profile).items() for v, e in sweep.items() if e == home}
    assert stands == home_settings(home)
    without = limits(profile)["initial norm |w0|, no decay"].values()
    assert {e.decay for e in without} == {0.0} and base_experiment(profile).init_norm in {
        e.init_norm for e in without
    }


@profiles
def test_all_experiments_of_the_sweeps_can_be_made(profile):
    experiments = {e for sweep in limits(profile).values() for e in sweep.values()}
    for e in experiments:
        assert e.clean(0).steps == e.clean_steps and e.adversarial(0).steps == e.adversarial_steps
        assert e.network(0, CPU).weight.shape == (e.width, e.d)
    for d, k, margin, noise in {(e.d, e.k, e.margin, e.noise) for e in experiments}:
        x, y = (
            dataclasses.replace(base_experiment(profile), d=d, k=k, margin=margin, noise=noise)
            .data(0, CPU)
            .test_set(20, 0)
        )
        assert x.isfinite().all() and (y.abs() == 1).all()


def test_the_separation_is_what_is_certified_of_the_network_and_of_the_cubic(known):
    run = known()
    data, tau = (run.x, run.y), run.experiment.radius
    measured = measure_separation(run)
    assert values(measured, "purified") == {
        "certified_accuracy": certified_accuracy(run.purified, *data, tau, branches=1)
    }
    assert values(measured, "degree 3, witness") == {
        "certified_accuracy": cubic_accuracy(run.data, *data, tau)
    }


@pytest.fixture
def known(sparse, planted, tiny):
    """A function that makes a run from dense neurons to pure ones, with a given history."""

    def make(*robust):
        x, y = sparse.test_set(300, seed=0)
        history = [{"step": 10 * i, "robust_accuracy": share} for i, share in enumerate(robust)]
        experiment = dataclasses.replace(tiny, d=sparse.d, k=sparse.k)
        clean, purified = planted(dense=2.0, threshold=0.1), planted(threshold=0.1)
        return SyntheticRun(
            experiment=experiment,
            seed=0,
            data=sparse,
            x=x,
            y=y,
            networks={"init": planted(), "clean": clean, "purified": purified},
            histories={"purified": history},
        )

    return make


def test_limits_of_known_networks(known):
    measured = measure_limit(known())
    clean, purified = values(measured, "clean"), values(measured, "purified")
    assert clean["clean_accuracy"] > 0.95 and purified["purity"] == pytest.approx(1, abs=1e-5)
    certified = purified["certified_accuracy"]
    assert clean["robust_accuracy"] < certified <= purified["robust_accuracy"]
    assert clean["purity"] < 0.9 and purified["same_feature"] == 1


def test_scaling_of_known_networks(known):
    run = known(0.5)
    clean, purified = (values(measure_scaling(run), name) for name in ("clean", "purified"))
    assert clean["dense_coefficient"] == pytest.approx(
        2 * (1 - 1 / 48) / (1 + 2 / 48**0.5) / 48**0.5, rel=0.02
    )
    broken, certified = clean["broken_radius"], purified["certified_radius"]
    x, y, step = run.x[:150], run.y[:150], 2 / 6**0.5 / 99
    before, beyond = (
        accuracy(run.clean, x - r * y[:, None] * run.data.u_star, y)
        for r in (broken - step, broken + step)
    )
    assert before >= 0.5 >= beyond and broken > 0.1
    few = run.x[:60], run.y[:60]
    assert certified_accuracy(run.purified, *few, certified, 1) >= 0.9
    assert certified_accuracy(run.purified, *few, certified + 0.75 / 6**0.5 / 2**7, 1) < 0.9
    for found, net in ((clean, run.clean), (purified, run.purified)):
        scale = net.weight.norm(dim=1)
        assert found["active_share"] == pytest.approx(
            ((x @ net.weight.T).abs() > 0.1 * scale).float().mean().item()
        )


@pytest.mark.parametrize(
    ("robust", "steps"),
    [((0.5, 0.89, 0.9, 0.7), 20), ((0.95,), 0), ((0.5, 0.89), None), ((), None)],
)
def test_the_steps_are_those_of_the_first_entry_with_90_percent(robust, steps, known):
    assert values(measure_scaling(known(*robust)), "purified").get("steps_to_robust") == steps


@pytest.mark.parametrize("mixture", [0.0, 3.0])
def test_the_boundary_of_a_linear_network_is_that_of_the_closed_form(mixture, sparse):
    x, y = sparse.test_set(200, seed=1)
    weight = sparse.u_star + mixture * sparse.features[:, 0]
    end, exact = 2 / math.sqrt(sparse.k), y * (x @ weight) / (weight @ sparse.u_star)
    found = boundary_along(linear(weight), sparse, x, y)
    past = found - exact.clamp(0, end)  # the first point of the grid at or beyond
    assert past.min() > -1e-5 and past.max() < end / 99 + 1e-5


def test_a_finer_grid_comes_nearer_to_the_boundary(sparse):
    x, y = sparse.test_set(50, seed=1)
    coarse, fine = (
        boundary_along(linear(sparse.u_star), sparse, x, y, points=n) for n in (20, 2000)
    )
    exact = y * (x @ sparse.u_star)
    assert (
        (fine - exact).abs().max()
        < 2 / math.sqrt(sparse.k) / 1999 + 1e-5
        < (coarse - exact).abs().max()
    )


def test_a_sample_that_never_flips_is_at_the_end_and_a_wrong_one_at_zero(sparse):
    x, y = sparse.test_set(50, seed=1)
    end = torch.full((50,), 2 / math.sqrt(sparse.k))
    up, down = linear(10 * sparse.u_star), linear(-sparse.u_star)
    torch.testing.assert_close(
        boundary_along(up, sparse, x + 5 * y[:, None] * sparse.u_star, y), end
    )
    assert (boundary_along(down, sparse, x, y) == 0).all()


@pytest.mark.parametrize("edge", [0.0, 0.11, 0.5, 0.93])
def test_the_largest_radius_of_a_step_is_found_from_below(edge):
    found = largest_radius(lambda r: float(r <= edge), 0.9, 1.0, steps=10)
    assert found <= edge < found + 2**-10 + 1e-12


def test_the_largest_radius_of_a_linear_function_is_where_it_meets_the_share():
    assert largest_radius(lambda r: 1 - r / 4, 0.75, 3.0, steps=20) == pytest.approx(1.0, abs=1e-5)


def test_the_largest_radius_stays_within_its_range():
    assert largest_radius(lambda r: 0.0, 0.9, 2.0) == 0.0
    assert largest_radius(lambda r: 1.0, 0.9, 2.0) == pytest.approx(2 * (1 - 2**-7))
