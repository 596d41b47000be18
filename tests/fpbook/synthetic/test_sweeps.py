import dataclasses
import math

import numpy as np
import pytest
import torch

from fpbook.synthetic import sweeps as variations
from fpbook.synthetic.power_laws import exponents, power_law
from fpbook.synthetic.protocol import SYNTHETIC, SyntheticRun, run_synthetic
from fpbook.synthetic.sweeps import (
    SCALING_SIZES,
    at_size,
    base_experiment,
    boundary_along,
    largest_radius,
    limits,
    measure_limit,
    measure_scaling,
    run_limits,
    run_scaling,
)
from fpcore.certificates.certificate import certified_accuracy
from fpcore.models.outputs import accuracy
from fpcore.models.two_layer import TwoLayer

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
LAWS = {
    "dense coefficient ~ k/d": 1.2,
    "breaking radius ~ d": 0.5,
    "breaking radius ~ k": -2.0,
    "certified radius ~ k": -0.5,
    "active share, clean ~ k/d": 0.8,
    "active share, purified ~ k/d": 1.0,
    "steps to 90% ~ d": 0.4,
}
profiles = pytest.mark.parametrize("profile", SCALING_SIZES)


def differing(a, b):
    return {f.name for f in dataclasses.fields(a) if getattr(a, f.name) != getattr(b, f.name)}


def linear(weight):
    """The network f(x) = <weight, x>."""
    net = TwoLayer(len(weight), 1, threshold=0.0)
    with torch.no_grad():
        net.weight.copy_(weight[None])
    return net


def rows_of(sizes, steps=lambda d: 5 * d**0.4):
    """Rows of `run_scaling` that follow the laws exactly inside the regime, k < sqrt(d), and miss them all beyond."""

    def row(d, k):
        laws = {
            "dense_coefficient": 3 * (k / d) ** 1.2,
            "broken_radius": d**0.5 / k**2,
            "certified_radius": 0.3 / k**0.5,
            "active_clean": (k / d) ** 0.8,
            "active_adv": 2 * k / d,
        }
        off = 1 if k < d**0.5 else 7
        return {"d": d, "k": k, "seed": 0, "steps": steps(d)} | {
            name: off * value for name, value in laws.items()
        }

    return [row(d, k) for d, k in sizes]


def test_another_size_keeps_every_constant_of_the_protocol():
    assert differing(at_size(1536, 17), SYNTHETIC["full"]) == {
        "width",
        "seeds",
        "adversarial_steps",
        "test_samples",
    }
    assert (
        at_size(300, 8, steps=7, width=0.5).width == 150
        and at_size(300, 8, steps=7).adversarial_steps == 7
    )


@pytest.mark.parametrize(
    "make", [base_experiment, limits, lambda profile: run_scaling(profile, [0], CPU)]
)
def test_an_unknown_profile_is_named(make):
    with pytest.raises(ValueError, match="profile = 'slow': choose one of 'quick', 'full'"):
        make("slow")


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
            assert float(f"{value:g}") == value  # figures read values off their names
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


def test_limits_are_measured_for_each_value_over_the_seeds(tiny, cache, monkeypatch):
    wide = dataclasses.replace(tiny, reach=0.8)
    monkeypatch.setattr(
        variations, "limits", lambda profile: {"a / b": {0.65: tiny, 0.8: wide}, "c": {1.0: tiny}}
    )
    found = run_limits("quick", [3, 4], CPU)
    runs = {seed: run_synthetic(wide, seed, CPU, progress=False) for seed in (3, 4)}
    expected = [measure_limit(run)["purity_adv"] for run in runs.values()]
    number = found["a / b/0.8/purity_adv"]
    assert (
        number["n"] == 2
        and number["value"] == pytest.approx(np.mean(expected))
        and expected[0] != expected[1]
    )
    names = measure_limit(runs[3])
    assert [*found] == [
        f"{key}/{name}" for key in ("a / b/0.65", "a / b/0.8", "c/1") for name in names
    ]
    assert found["c/1/purity_adv"] == found["a / b/0.65/purity_adv"]


def test_scaling_has_one_row_a_size_and_seed(tiny, cache, monkeypatch):
    monkeypatch.setattr(variations, "SCALING", {"quick": ((40, 4), (50, 5))})
    monkeypatch.setattr(variations, "small", lambda d, k: dataclasses.replace(tiny, d=d, k=k))
    rows = run_scaling("quick", [0, 7], CPU)
    assert [(row["d"], row["k"], row["seed"]) for row in rows] == [
        (40, 4, 0),
        (40, 4, 7),
        (50, 5, 0),
        (50, 5, 7),
    ]
    run = run_synthetic(dataclasses.replace(tiny, d=50, k=5), 7, CPU, progress=False)
    assert repr(rows[3]) == repr({"d": 50, "k": 5, "seed": 7, **measure_scaling(run)})


@pytest.fixture
def known(sparse, planted, tiny):
    """A function that makes a run from dense neurons to pure ones, with a given history of FGM training."""

    def make(*robust):
        x, y = sparse.test_set(300, seed=0)
        history = [{"step": 10 * i, "robust_accuracy": share} for i, share in enumerate(robust)]
        experiment = dataclasses.replace(tiny, d=sparse.d, k=sparse.k)
        clean, purified = planted(dense=2.0, threshold=0.1), planted(threshold=0.1)
        return SyntheticRun(
            experiment, sparse, x, y, planted(), clean, purified, {"adversarial": history}
        )

    return make


def test_limits_of_known_networks(known):
    found = measure_limit(known())
    assert found["clean_accuracy"] > 0.95 and found["purity_adv"] == pytest.approx(1, abs=1e-5)
    assert (
        found["robust_accuracy"] < found["certified_accuracy_adv"] <= found["robust_accuracy_adv"]
    )
    assert found["purity"] < 0.9 and found["same_feature"] == 1


def test_scaling_of_known_networks(known):
    run = known(0.5)
    found = measure_scaling(run)
    assert found["dense_coefficient"] == pytest.approx(
        2 * (1 - 1 / 48) / (1 + 2 / 48**0.5) / 48**0.5, rel=0.02
    )
    broken, certified, step = found["broken_radius"], found["certified_radius"], 2 / 6**0.5 / 99
    pushed = [
        run.x[:150] - r * run.y[:150, None] * run.data.u_star
        for r in (broken - step, broken + step)
    ]
    assert (
        accuracy(run.clean, pushed[0], run.y[:150])
        >= 0.5
        >= accuracy(run.clean, pushed[1], run.y[:150])
        and broken > 0.1
    )
    few = run.x[:60], run.y[:60]
    assert certified_accuracy(run.purified, *few, certified, 1) >= 0.9
    assert certified_accuracy(run.purified, *few, certified + 0.75 / 6**0.5 / 2**7, 1) < 0.9
    for name, net in (("active_clean", run.clean), ("active_adv", run.purified)):
        scale = net.weight.norm(dim=1)
        assert found[name] == pytest.approx(
            ((run.x[:150] @ net.weight.T).abs() > 0.1 * scale).float().mean().item()
        )


@pytest.mark.parametrize(
    ("robust", "steps"),
    [((0.5, 0.89, 0.9, 0.7), 20), ((0.95,), 0), ((0.5, 0.89), None), ((), None)],
)
def test_the_steps_are_those_of_the_first_entry_with_90_percent(robust, steps, known):
    assert measure_scaling(known(*robust))["steps"] == steps


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


def test_power_laws_are_recovered_exactly():
    d, k = np.array([100.0, 200, 300, 400, 500]), np.array([7.0, 9, 8, 20, 11])
    fitted = power_law({"d": d, "k": k}, 5 * d**0.7 / k**2)
    for name, exponent in (("d", 0.7), ("k", -2.0)):
        assert [fitted[name][end] for end in ("low", "value", "high")] == pytest.approx(
            [exponent] * 3, abs=1e-6
        )
        assert fitted[name]["n"] == 5


def test_units_change_no_exponent():
    rng = np.random.default_rng(0)
    d, values = np.array([1.0, 2, 3, 4, 5]), rng.uniform(1, 2, 5)
    one, two = power_law({"d": d}, values)["d"], power_law({"d": 60 * d}, 1000 * values)["d"]
    assert one == pytest.approx(two)


def test_intervals_of_exponents_cover_the_truth_at_their_rate():
    rng, trials = np.random.default_rng(0), 1000
    d, k = np.geomspace(100, 1000, 8), rng.uniform(5, 25, 8)
    covered = np.zeros(2)
    for _ in range(trials):
        fitted = power_law({"d": d, "k": k}, d**0.5 / k * np.exp(0.2 * rng.normal(size=8)))
        covered += [
            fitted["d"]["low"] < 0.5 < fitted["d"]["high"],
            fitted["k"]["low"] < -1 < fitted["k"]["high"],
        ]
    assert abs(covered / trials - 0.95).max() < 4 * math.sqrt(0.05 * 0.95 / trials)


def test_seeds_of_a_size_are_no_sizes_of_their_own():
    rng = np.random.default_rng(0)
    off = {
        size: math.exp(0.2 * rng.normal()) for size in SCALING_SIZES["full"]
    }  # common to the seeds of a size
    rows = [
        row | {"broken_radius": off[row["d"], row["k"]] * row["broken_radius"]}
        for row in rows_of(SCALING_SIZES["full"])
    ]
    seeds = [
        row | {"seed": seed, "broken_radius": row["broken_radius"] * by}
        for row in rows
        for seed, by in ((0, 2.0), (1, 0.5))
    ]
    seeds[0]["steps"] = None
    once, twice = exponents(rows), exponents(seeds)
    for name, fit in once.items():
        assert twice[name] == pytest.approx(fit)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0])
def test_a_measurement_that_has_no_logarithm_is_left_out(bad):
    fitted = power_law({"d": [1.0, 2, 3, 4]}, [1.0, 4.0, bad, 16.0])["d"]
    assert fitted["n"] == 3 and fitted["value"] == pytest.approx(2)


@pytest.mark.parametrize(
    ("factors", "values", "named"),
    [
        ({"d": [1.0, 2]}, [1.0, 2], "2 usable measurements of 2"),
        ({"d": [1.0, 2, 3]}, [1.0, math.nan, 3], "2 usable measurements of 3"),
        ({"d": [1.0, 2, 3]}, [math.nan] * 3, "0 usable measurements of 3"),
        ({"d": [1.0, 2, 3], "k": [7.0, 8, 9]}, [1.0, 2, 3], r"\['d', 'k'\]"),
        ({"d": [5.0, 5, 5, 5]}, [1.0, 2, 3, 4], r"cannot fit \['d'\]: measure at more sizes"),
        (
            {"d": [1.0, 2, 3, 4, 5], "k": [1.0, 4, 9, 16, 25]},
            [1.0, 2, 3, 4, 5],
            "measure at more sizes",
        ),
    ],
)
def test_measurements_that_determine_no_exponent_are_an_error(factors, values, named):
    with pytest.raises(ValueError, match=named):
        power_law(factors, values)


@profiles
def test_exponents_of_known_laws_are_recovered_on_the_grid(profile):
    fitted = exponents(rows_of(SCALING_SIZES[profile]))
    inside = {name: number for name, number in fitted.items() if "all sizes" not in name}
    assert {name: number["value"] for name, number in inside.items()} == pytest.approx(LAWS)
    assert all(number["high"] - number["low"] < 1e-5 for number in inside.values())
    for name, number in inside.items():
        other = fitted[f"{name} (all sizes)"]
        assert other["n"] > number["n"] and (other["high"] - other["low"] > 0.1 or "steps" in name)


def test_runs_that_never_get_robust_do_not_count_in_the_steps():
    rows = rows_of(SCALING_SIZES["full"], lambda d: None if d == 400 else 5 * d**0.4)
    found = exponents(rows)["steps to 90% ~ d"]
    assert found["value"] == pytest.approx(0.4) and found["n"] == 6


@pytest.mark.parametrize(
    "steps",
    [
        lambda d: None,
        lambda d: 50.0 if d < 500 else None,
        lambda d: 50.0 if d == 576 else None,
        lambda d: 50.0 if d > 700 else 0.0,
    ],
    ids=["none", "at two runs", "at one size", "all but two at once"],
)
def test_steps_of_too_few_sizes_have_no_exponent_and_the_others_stay(steps):
    rows = rows_of([*SCALING_SIZES["full"], (576, 7)], steps)
    fitted = exponents(rows)
    assert not any("steps" in name for name in fitted) and len(fitted) == 2 * (len(LAWS) - 1)
    inside = {name: number["value"] for name, number in fitted.items() if "all sizes" not in name}
    assert inside == pytest.approx({name: law for name, law in LAWS.items() if "steps" not in name})
