import copy
import dataclasses

import pytest
import torch

from fpbook.cifar10.layers import measure_explained, measure_relations, measure_two_seeds
from fpbook.cifar10.low_rank_and_ntk import (
    low_rank_rows,
    measure_low_rank,
    measure_tangent,
    smallest_rank,
    tangent_rows,
)
from fpbook.cifar10.measures import (
    SUFFIXES,
    autoattack_correct,
    measure_accuracies,
    measure_autoattack,
    measure_cifar,
    pgd_accuracy,
)
from fpbook.cifar10.networks import (
    SYMBOLS,
    cifar_runs,
    open_cifar10,
    publish_networks,
    published_networks,
)
from fpbook.cifar10.protocol import CIFAR, CifarExperiment, run_linearised
from fpbook.first import ROOT, held_out
from fpcore.decomposition.layers import switched_on
from fpcore.decomposition.relations import layer_relations
from fpcore.images import Images
from fpcore.models.convnet import ConvNet

TINY = CifarExperiment(
    1 / 8, 64, 32, 1, 1, seeds=1, batch=32, attacked=12, ranks=(0, 2), control_ranks=(2,)
)


def random_images(n, seed=0):
    rng = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 3, 32, 32, generator=rng).contiguous(memory_format=torch.channels_last)
    return Images(x, torch.arange(n) % 10, "random")


def near(net, scale, seed):
    """A copy of a network with noise on its parameters."""
    twin, rng = copy.deepcopy(net), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in twin.parameters():
            p.add_(scale * p.std().nan_to_num(0.0) * torch.randn(p.shape, generator=rng))
    return twin


def family():
    """Five networks: a clean one, near descendants of it, and two of other origin."""
    nets = []
    for seed in range(3):
        torch.manual_seed(seed)
        nets.append(ConvNet(1 / 4).eval())
    init, clean, scratch = nets
    return {
        "init": init,
        "clean": clean,
        "purified": near(clean, 0.4, 1),
        "control": near(clean, 0.1, 2),
        "scratch": scratch,
    }


def test_relations_tell_descendants_from_strangers():
    found = measure_relations(family())
    assert found["cos_clean_adv"] == pytest.approx(1 / 1.16**0.5, abs=0.03)
    assert found["cos_clean_adv_control"] > 0.98 and found["cos_clean_adv_difference"] > 0.04
    assert found["share_dominant"] == found["same_neuron_share"] == 1.0
    assert found["same_neuron_share_scratch"] < 0.4 and abs(found["cos_init_clean"]) < 0.1
    assert found["cos_clean_adv_lowest"] <= found["cos_clean_adv_highest"]
    assert {f"cos_init_adv/{layer}" for layer in ("conv1", "conv5", "linear")} <= found.keys()


def switch_off(net, layer, *which):
    with torch.no_grad():
        net.get_submodule(layer).weight[list(which)] *= 1e-6


@pytest.mark.parametrize("part", ["conv1", "bn1"])  # the weights, or the scale after them
def test_what_weight_decay_has_switched_off_is_not_counted(part):
    nets = family()
    before = measure_relations(nets)
    assert before["live_share"] == 1.0
    for net in (nets["clean"], nets["purified"]):
        switch_off(net, part, 1, 5)
    nets["purified"].conv1.weight.data[5] *= -1  # such a neuron's cosine means nothing
    assert switched_on(nets["clean"])["conv1"].logical_not().nonzero().flatten().tolist() == [1, 5]
    found = measure_relations(nets)
    hidden = sum(len(on) for on in switched_on(nets["clean"]).values()) - 10
    assert found["live_share"] == pytest.approx(1 - 2 / hidden)
    assert found["share_dominant/conv1"] == found["same_neuron_share"] == 1.0
    for name in ("cos_clean_adv/conv2", "cos_adv_scratch/conv5", "share_dominant/linear"):
        assert found[name] == before[name]
    kept = [i for i in range(8) if i not in (1, 5)]
    assert layer_relations(nets["clean"], nets["purified"])["conv1"] == pytest.approx(
        layer_relations(*(family()[name] for name in ("clean", "purified")))["conv1"][kept]
    )


def test_what_is_explained_is_measured_of_all_pairs_and_every_convolution():
    found = measure_explained(family(), random_images(40), 20)
    assert {
        f"explained_share{s}/conv{i}"
        for s in ("_adv", "_control", "_scratch", "_init")
        for i in range(1, 6)
    } < found.keys()
    assert found["explained_share_adv_lowest"] == min(
        found[f"explained_share_adv/conv{i}"] for i in range(1, 6)
    )
    with pytest.raises(ValueError, match="two times count = 42: there are 40 images"):
        measure_explained(family(), random_images(40), 21)


@pytest.mark.parametrize(
    ("options", "names", "named"),
    [
        ({"autoattacked": 0}, [*SUFFIXES], "autoattacked = 0"),
        ({"autoattacked": 9}, [*SUFFIXES], "autoattacked = 9: there are 8 images"),
        ({"radius": 0.3}, [*SUFFIXES], "l2 0.3, must be"),
        ({}, [*SYMBOLS], "network = 'init'"),
    ],
)
def test_what_autoattack_cannot_measure_is_an_error_at_once(options, names, named, monkeypatch):
    monkeypatch.setattr("fpcore.cifar_measures.autoattack", None)
    nets, config = family(), dataclasses.replace(TINY, **{"autoattacked": 8} | options)
    with pytest.raises(ValueError, match=named):
        autoattack_correct({name: nets[name] for name in names}, random_images(8), config)


def test_the_seeds_that_chose_the_learning_rate_do_not_vouch_for_it():
    measured = [{"cos_clean_adv_lowest": value} for value in (0.1, 0.2, 0.8, 0.9)]
    found = held_out(measured, 2, "cos_clean_adv_lowest")
    assert found["cos_clean_adv_lowest_held_out"]["value"] == pytest.approx(0.85)
    assert held_out(measured[:2], 2, "cos_clean_adv_lowest") == {}


def test_two_seeds_have_nothing_in_common():
    one, two = family(), family()
    two["clean"] = two["scratch"]
    (found,) = measure_two_seeds([one, two])
    assert abs(found["cos_two_seeds"]) < 0.05 < found["cos_two_seeds_size"] < 0.3
    assert measure_two_seeds([one]) == []
    assert measure_two_seeds([one, two, two, one, one]) == [
        found,
        found,
    ]  # each seed once, the last without a partner


def test_the_figures_of_a_run_are_those_that_the_ledger_names(check_figures, monkeypatch):
    def some_survive(net, x, y, ball):  # the attack itself has tests of its own
        return torch.arange(len(x)) < len(x) * (1 - ball.radius)

    monkeypatch.setattr("fpcore.cifar_measures.autoattack", some_survive)
    nets, config = family(), dataclasses.replace(TINY, width=1 / 4, autoattacked=8)
    found = measure_cifar(nets, random_images(24), config)
    found |= measure_two_seeds([nets, family()])[0]
    for name in ("cos_clean_adv_lowest", "share_dominant"):
        found[f"{name}_held_out"] = found[name]
    check_figures(found, "cifar10")
    assert found["radius"] == config.radius
    tested = {name: nets[name] for name in SUFFIXES}
    survived = autoattack_correct(tested, random_images(24), config)
    attacked = measure_autoattack(survived, tested, random_images(24), config)
    check_figures(found | attacked, "cifar10-robustness")
    assert (
        attacked["autoattack_accuracy_scratch/l2 0.25"] == 0.75
        and attacked["autoattack_ratio"] == 1
    )
    survived["purified/l2 0.5"] = torch.arange(8) < 2  # of the four that w withstands
    again = measure_autoattack(survived, tested, random_images(24), config)
    assert again["autoattack_ratio"] == again["autoattack_kept_share_adv"] == 0.5
    assert again["autoattack_kept_share_control"] == again["autoattack_kept_share_scratch"] == 1
    home = {"clean/l2 0.25": survived["clean/l2 0.25"]}
    assert measure_autoattack(home, tested, random_images(24), config).keys() == {
        "autoattack_accuracy/l2 0.25",
        "pgd_accuracy/l2 0.25",
    }


def test_accuracies_are_those_of_the_networks_ledger():
    nets, data = family(), random_images(24)
    data = dataclasses.replace(
        data, y=nets["clean"](data.x).argmax(1)
    )  # right on all, until attacked
    config = dataclasses.replace(TINY, attacked=20, radius=1.5)
    found, ledger = measure_accuracies(nets, data, config), measure_cifar(nets, data, config)
    assert 0 < found["clean/robust_accuracy"] < found["clean/clean_accuracy"] == 1
    for name, suffix in SUFFIXES.items():
        for kind in ("clean", "robust"):
            assert found[f"{name}/{kind}_accuracy"] == ledger[f"{kind}_accuracy{suffix}"]


def test_without_a_control_or_a_network_from_scratch_their_figures_alone_are_missing(check_figures):
    nets, data = family(), random_images(24)
    config = dataclasses.replace(TINY, attacked=4)
    whole = measure_cifar(nets, data, config)
    for missing, marks in {"scratch": ("scratch",), "control": ("control", "difference")}.items():
        found = measure_cifar(
            {name: net for name, net in nets.items() if name != missing}, data, config
        )
        assert found == {
            key: v for key, v in whole.items() if not any(mark in key for mark in marks)
        }
        if missing == "scratch":
            check_figures(found, "cifar10-resnet")
    del nets["purified"]
    for measure in (lambda: measure_cifar(nets, data, config), lambda: measure_relations(nets)):
        with pytest.raises(ValueError, match=r"give \['purified'\] as well"):
            measure()


def test_attacked_accuracy_is_below_clean_accuracy_and_falls_with_the_radius():
    net, data = family()["clean"], random_images(40)
    data = dataclasses.replace(data, y=net(data.x).argmax(1))
    found = [pgd_accuracy(net, data, radius, 40) for radius in (0.0, 0.1, 3.0)]
    assert found[0] == 1.0 and found[0] >= found[1] >= found[2] and found[2] < 1


def test_published_networks_come_back_as_they_went_in(results):
    nets = family()
    small = dataclasses.replace(TINY, width=1 / 4)
    publish_networks(nets, 7, small)
    again, x = published_networks(seed=7, config=small), random_images(5).x
    assert again.keys() == nets.keys() == SYMBOLS.keys()
    for name, net in nets.items():
        torch.testing.assert_close(again[name](x), net(x), atol=2e-2, rtol=2e-2)
    residual = dataclasses.replace(small, architecture="resnet18")
    with pytest.raises(ValueError, match=r"cifar10-seed7\.safetensors holds another network"):
        published_networks(seed=7, config=TINY)
    with pytest.raises(FileNotFoundError, match=r"cifar10-seed7-resnet18-width0\.25"):
        published_networks(seed=7, config=residual)
    publish_networks(nets, 7, residual)
    with pytest.raises(
        ValueError, match=r"cifar10-seed7-resnet18-width0\.25\.safetensors holds another network"
    ):
        published_networks(seed=7, config=residual)


def test_the_networks_of_all_seeds_are_published_in_less_than_20_mb():
    assert sum(path.stat().st_size for path in (ROOT / "results").glob("*.safetensors")) < 20e6
    for seed in range(CIFAR["full"].seeds):
        assert published_networks(seed=seed).keys() == SYMBOLS.keys()


def test_without_data_a_message_says_what_is_shown_and_nothing_is_trained(
    no_data_anywhere, capsys, monkeypatch, tmp_path
):
    monkeypatch.setenv("FPCORE_DATA", str(tmp_path))
    assert open_cifar10(TINY, torch.device("cpu")) == (None, None)
    assert "PUBLISHED" in capsys.readouterr().out
    assert cifar_runs(TINY, None, 0) == []


def test_low_rank_updates_are_measured_between_the_clean_and_the_purified_network(
    cache, monkeypatch
):
    data, test, nets = random_images(64), random_images(12, 1), family()
    config = dataclasses.replace(TINY, width=1 / 4)
    rows = low_rank_rows(config, data, nets["clean"], nets["purified"], 0)
    trained = ["adversarial/0", "adversarial/2", "random/2", "clean/2", "full"]
    assert [*rows] == [*trained, "truncated/0", "truncated/2"]
    robust = {
        nets["clean"]: 0.2,
        nets["purified"]: 0.6,
        rows["full"]: 0.7,
        rows["adversarial/2"]: 0.5,
    }
    monkeypatch.setattr(
        "fpcore.cifar_measures.attacked_accuracy", lambda net, *_: robust.get(net, 0.1)
    )
    found = measure_low_rank(
        {**rows, "adversarial/99": nets["purified"]}, nets["clean"], nets["purified"], test, config
    )
    for name, regained, of_full in (
        ("adversarial/2", 0.75, 0.6),
        ("adversarial/99", 1, 0.8),
        ("clean/2", -0.25, -0.2),
    ):
        assert found[f"{name}/regained"] == pytest.approx(regained)
        assert found[f"{name}/regained_of_full"] == pytest.approx(of_full)
    assert found["full/parameter_share"] == 1.0
    assert found["adversarial/99/parameter_share"] == 1.0
    assert (
        found["adversarial/0/parameter_share"]
        < found["random/2/parameter_share"]
        < found["adversarial/2/parameter_share"]
    )


def test_the_smallest_rank_regains_enough_with_its_whole_interval():
    def regained(value, low=None):
        return {"value": value, "low": low, "high": low and 2 * value - low}

    few = {
        "adversarial/1/regained": regained(0.85, 0.7),
        "adversarial/16/regained": regained(0.9, 0.85),
    }
    assert (
        smallest_rank(
            few
            | {"adversarial/4/regained": regained(0.82, 0.81), "clean/0/regained": regained(1, 1)}
        )
        == 4
    )
    assert (
        smallest_rank(few) == 16 and smallest_rank(few, 0.87) is None and smallest_rank({}) is None
    )
    assert smallest_rank({"adversarial/1/regained": regained(0.85)}) == 1


def test_what_breaks_a_source_is_tried_on_a_model_that_hides_its_gradient():
    class Hidden(torch.nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(x.detach()) + 0 * x.sum()

    nets, data = family(), random_images(20)
    data = dataclasses.replace(data, y=nets["clean"](data.x).argmax(1))
    hidden = Hidden(nets["clean"])
    found = [
        measure_tangent({"h": hidden}, sources, data, (4.0,), 20)
        for sources in ([], [nets["clean"]])
    ]
    alone, transferred = (one["h/robust_accuracy/4"] for one in found)
    assert transferred < 0.5 < alone


@pytest.mark.parametrize("more", [False, True])
def test_the_linearisations_of_a_seed_with_their_losses(more, cache, monkeypatch):
    def run(config, *given, **named):
        configs.append(config)
        return run_linearised(config, *given, **named)

    configs = []
    monkeypatch.setattr("fpcore.cifar_updates.run_linearised", run)
    data, tiny = random_images(64), dataclasses.replace(TINY, tangent_epochs=1, batch=16)
    models, losses = tangent_rows(tiny, data, TINY.initial(1), 0, more)
    epochs = {"ntk, clean": 1, "ntk, adversarial": 1, "informed, adversarial": 1}
    epochs |= {"ntk, longer": 4, "ntk, PGD": 1} if more else {}
    assert [*models] == [*epochs]
    changed = (
        {"tangent_epochs": 4, "tangent_adversarial_lr": tiny.tangent_adversarial_lr / 4},
        {"attack_steps": 3},
    )
    assert (
        configs == [tiny] * 3 + [dataclasses.replace(tiny, **change) for change in changed] * more
    )
    assert [*losses] == [
        f"{name}/loss/{i}" for name, count in epochs.items() for i in range(1, count + 1)
    ]
    deltas = {
        name: torch.cat([d.detach().flatten() for d in model.delta])
        for name, model in models.items()
    }
    assert not [
        (a, b) for a in deltas for b in deltas if a < b and torch.equal(deltas[a], deltas[b])
    ]


def test_tangent_figures_hold_all_radii_and_never_exceed_clean_accuracy():
    nets, data = family(), random_images(20)
    data = dataclasses.replace(data, y=nets["clean"](data.x).argmax(1))
    found = measure_tangent({"one": nets["clean"]}, [nets["purified"]], data, (0.05, 2.0), 20)
    assert (
        found["one/clean_accuracy"]
        == 1.0
        >= found["one/robust_accuracy/0.05"]
        >= found["one/robust_accuracy/2"]
    )
    assert found["one/kept_share/2"] == found["one/robust_accuracy/2"]
