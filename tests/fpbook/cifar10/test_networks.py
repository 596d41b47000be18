import dataclasses

import pytest
import torch
from cifar10_networks import TINY, family, random_images

from fpbook.cifar10 import (
    CIFAR,
    SYMBOLS,
    TRAINED,
    Variant,
    cifar_runs,
    of_each_seed,
    open_cifar10,
    publish_networks,
    published_networks,
    setting,
)
from fpbook.results import record, rows
from fpbook.results.files import ROOT


def test_published_networks_come_back_as_they_went_in(results):
    nets = family()
    small = dataclasses.replace(TINY, width=1 / 4)
    publish_networks(nets, 7, small)
    again, x = published_networks(seed=7, config=small), random_images(5).x
    assert again.keys() == nets.keys() == SYMBOLS.keys() == {"init", *TRAINED}
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
    assert setting(None, []) == ""


def test_a_result_says_what_it_was_trained_on_and_over_how_many_seeds():
    assert setting(random_images(2000), [{}, {}]) == "random, 2,000 images, 2 seeds"


def test_a_variant_names_the_columns_of_its_records_that_are_not_empty():
    assert Variant("w - v", alpha=0.0).columns == {"network": "w - v", "alpha": 0.0}
    assert Variant("adversarial update", rank=0).columns == {
        "network": "adversarial update",
        "rank": 0,
    }
    assert Variant("w - v", "conv1", 1.0).columns["layer"] == "conv1"


def test_a_table_of_each_seed_holds_what_is_measured_of_each():
    runs = [{"clean": 0.1}, {"clean": 0.3}]
    found = of_each_seed(lambda nets, least: [record("loss", nets["clean"] + least)], runs, 4, 1.0)
    assert rows(found) == [
        {"quantity": "loss", "seed": 4, "value": 1.1},
        {"quantity": "loss", "seed": 5, "value": 1.3},
    ]
    assert rows(of_each_seed(lambda nets: [], [], 0)) == []
