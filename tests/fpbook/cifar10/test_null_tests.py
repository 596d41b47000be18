from dataclasses import replace

import pytest
from cifar10_networks import TINY, family, random_images, value

from fpbook.cifar10.null_tests import cifar_nulls, measure_sparsity, relations_of_nulls
from fpbook.results import summarise, table
from fpcore.decomposition.feature_images import activity


def test_the_clean_network_stands_in_perfectly_and_random_weights_do_not():
    found = relations_of_nulls(family(), replace(TINY, width=1 / 4), seed=0)
    for quantity in ("share_dominant", "same_neuron_share", "cos_to_clean"):
        assert value(found, quantity, "clean") == pytest.approx(1.0)
        assert value(found, quantity, "random") < 0.5
    assert abs(value(found, "cos_to_init", "random", "highest")) < 0.2
    assert {row["network"] for row in found} == {"clean", "random"}
    assert {row.get("layer") for row in found} <= {None, "lowest", "highest"}


def test_sparsity_is_the_mean_over_layers_and_its_ratio_to_the_clean_network():
    nets = {name: net for name, net in family().items() if name != "init"}
    test = random_images(16)
    found = measure_sparsity(nets, test)
    for name, net in nets.items():
        shares = activity(net, test.x)
        mean = sum(shares.values()) / len(shares)
        assert value(found, "active_share", name) == pytest.approx(mean)
        ratio = mean / value(found, "active_share", "clean")
        assert value(found, "active_ratio", name) == pytest.approx(ratio)


def test_as_published_stand_ins_are_measured_for_every_experiment(monkeypatch):
    monkeypatch.delenv("FPCORE_RESULTS", raising=False)
    found = table(cifar_nulls())
    assert {*found["experiment"]} == {
        "cifar10",
        "cifar10-resnet",
        "cifar10-robustness",
        "own-networks",
        "cifar10-ntk",
    }
    ratio = summarise(found[found["quantity"] == "robust_ratio_to_scratch"])
    assert 0.2 < ratio["value"].item() < 0.23  # 11.2% of 52.1%
    control = found[(found["quantity"] == "autoattack_ratio") & (found["network"] == "control")]
    assert len(control) == 5 and (control["value"] < 1).all()
    further = found[found["quantity"] == "cos_to_clean_difference"]
    assert (further["value"] <= 0).all() and len(further) == 12
