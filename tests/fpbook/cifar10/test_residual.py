from dataclasses import replace

import pytest
import torch
from cifar10_networks import TINY, random_images, same_weights

from fpbook.cifar10 import networks, publish_networks, published_networks, residual, run_cifar
from fpbook.cifar10.residual import attacked, publish_attacked, with_missing
from fpbook.results import number
from fpbook.results.store import load, published_arrays

ASKED = replace(TINY, seeds=1, attacked_images=4, autoattacked_images=4, test_images=500)


def test_networks_that_a_seed_lacks_are_those_of_a_whole_run(cache, no_batches):
    data = random_images(64)
    whole = run_cifar(ASKED, data, 0, progress=False)
    given = {name: whole[name] for name in ("init", "clean", "purified")}
    no_batches()  # what a whole run trained is found again
    every = with_missing(ASKED, data, 0, given, ("control", "scratch"), progress=False)
    assert every.keys() == whole.keys()
    assert all(same_weights(every[name], whole[name]) for name in whole)
    with pytest.raises(ValueError, match="name = 'purified'"):
        with_missing(ASKED, data, 0, given, ["purified"])
    other = {**given, "init": ASKED.initial(1)}
    with pytest.raises(ValueError, match=r"published w0 of seed 0 has another \S*weight than"):
        with_missing(ASKED, data, 0, other, ["control"])


def test_what_withstands_is_counted_network_by_network_and_added_to(results, monkeypatch):
    test, outcomes = random_images(500), {}

    def told(net, x, y, ball):
        assert ball.radius == 0.5 and len(x) == 2
        return outcomes[id(net)].pop(0)

    monkeypatch.setattr(residual, "kept_autoattack", told)
    monkeypatch.setattr(residual, "GROUP", 2)
    nets = {
        name: ASKED.initial(i).eval() for i, name in enumerate(("clean", "control", "purified"))
    }
    right = {"clean": [0, 1, 0, 0], "control": [1, 1, 0, 0], "purified": [0, 1, 1, 1]}
    for name, net in nets.items():
        outcomes[id(net)] = [*torch.tensor(right[name]).bool().split(2)]
    monkeypatch.setattr(residual, "classified", lambda *_: torch.ones(4).bool())
    found, withstood = attacked(nets, test, ASKED, {})
    ratio = {row["network"]: row["value"] for row in found if row["quantity"] == "autoattack_ratio"}
    assert ratio == {"purified": 3, "control": 2}
    assert withstood["purified"].tolist() == [False, True, True, True]

    again, same = attacked(nets, test, ASKED, withstood)  # nothing is attacked again
    assert again == found and same.keys() == withstood.keys()
    short = {"clean": torch.ones(3).bool()}
    with pytest.raises(ValueError, match="clean: the published outcomes are of another one"):
        attacked(nets, test, ASKED, short)


def test_attacks_are_published_seed_by_seed_and_networks_added_later_join(results, monkeypatch):
    test, asked = random_images(500), []

    def told(net, x, y, ball):
        asked.append(net)
        return torch.zeros(len(x)).bool()

    monkeypatch.setattr(residual, "kept_autoattack", told)
    nets = {
        name: ASKED.initial(i).eval() for i, name in enumerate(("clean", "purified", "control"))
    }
    first = {name: nets[name] for name in ("clean", "purified")}
    for seed, some in ((0, nets), (1, first), (1, nets)):
        publish_networks(some, seed, ASKED)
        publish_attacked(test, ASKED, [seed], "full")
    assert len(asked) == 3 + 2 + 1
    both = load("cifar10-resnet-robustness")
    assert both.provenance["seeds"] == [0, 1]
    for name in ("control", "purified"):
        assert number(both.summary, "autoattack_ratio", name, threat="l2 0.5").n == 2
    assert len(published_arrays("cifar10-resnet-robustness")) == 6


def test_the_command_refuses_what_is_not_there(results, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="seed = 3: networks of 0 to 2 are published"):
        residual.main(["--seeds", "3"])
    monkeypatch.setenv("FPCORE_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="Ways to get CIFAR-10"):
        residual.main([])


def test_the_command_adds_networks_and_leaves_those_that_are_there(results, cache, monkeypatch):
    monkeypatch.setattr(residual, "CIFAR", {"narrow-resnet": ASKED})
    monkeypatch.setattr(
        networks, "load_cifar10", lambda *_: (random_images(64), random_images(500))
    )
    whole = run_cifar(ASKED, random_images(64), 0, ["purified"], progress=False)
    publish_networks(whole, 0, ASKED)
    before = published_networks(seed=0, config=ASKED)
    residual.main(["--names", "control", "--publish"])
    after = published_networks(seed=0, config=ASKED)
    assert after.keys() == {*before, "control"}
    assert all(same_weights(before[name], after[name]) for name in before)
    found = load("cifar10-resnet")
    assert number(found.summary, "cos_to_clean", "control").n == 1
    assert number(found.summary, "robust_accuracy", "scratch") is None
