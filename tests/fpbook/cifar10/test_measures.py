import dataclasses

import pytest
import torch
from cifar10_networks import TINY, family, random_images, value

from fpbook.cifar10 import (
    THREATS,
    TRAINED,
    Variant,
    autoattack_correct,
    measure_accuracies,
    measure_autoattack,
    measure_cifar,
    measure_relations,
    measure_two_seeds,
    pgd_accuracy,
)
from fpbook.results import joined, number, summarise, table

FEW = dataclasses.replace(TINY, width=1 / 4, attacked_images=4, autoattacked_images=8)


def attack_on_some(monkeypatch):
    """In place of AutoAttack, whose own tests are elsewhere: fewer images survive larger radii."""
    monkeypatch.setattr(
        "fpbook.cifar10.measures.autoattack",
        lambda net, x, y, ball, keep: torch.arange(len(x)) < len(x) * (1 - ball.radius),
    )


@pytest.mark.parametrize(
    ("options", "names", "named"),
    [
        ({"autoattacked_images": 0}, TRAINED, "autoattacked_images = 0"),
        ({"autoattacked_images": 9}, TRAINED, "autoattacked_images = 9: there are 8 images"),
        ({"radius": 0.3}, TRAINED, "l2 0.3, must be"),
        ({}, ["clean", "init"], "network = 'init'"),
    ],
)
def test_what_autoattack_cannot_measure_is_an_error_at_once(options, names, named, monkeypatch):
    monkeypatch.setattr("fpbook.cifar10.measures.autoattack", None)
    nets, config = family(), dataclasses.replace(FEW, **options)
    with pytest.raises(ValueError, match=named):
        autoattack_correct({name: nets[name] for name in names}, random_images(8), config)


def test_what_the_ledger_takes_from_a_run_is_among_its_records(check_records):
    nets = family()
    found = measure_cifar(nets, random_images(24), FEW)
    seeds = measure_two_seeds([nets, family()], 0)
    check_records(joined(table(found, seed=0), table(seeds)), "cifar10")
    assert value(found, "radius") == FEW.radius


def test_gains_and_losses_are_those_of_the_accuracies():
    data = random_images(24)
    nets = family()
    data = dataclasses.replace(data, y=nets["clean"](data.x).argmax(1))
    config = dataclasses.replace(FEW, attacked_images=24, radius=0.1)
    found = measure_cifar(nets, data, config)
    (clean, robust), (clean_too, robust_too) = (
        (value(found, "clean_accuracy", name), value(found, "robust_accuracy", name))
        for name in ("clean", "purified")
    )
    assert value(found, "robust_gain", "purified") == robust_too - robust
    assert value(found, "robust_ratio", "purified") == robust_too / max(robust, 1 / 24)
    assert value(found, "clean_lost", "purified") == clean - clean_too


def test_outcomes_of_autoattack_are_counted_beside_pgd(check_records, monkeypatch):
    attack_on_some(monkeypatch)
    nets, data = {name: net for name, net in family().items() if name != "init"}, random_images(24)
    withstood = autoattack_correct(nets, data, FEW)
    assert {name: [*each] for name, each in withstood.items()} == {n: [*THREATS] for n in nets}
    found = measure_autoattack(withstood, nets, data, FEW)
    check_records(table(found, seed=0), "cifar10-robustness")
    assert value(found, "autoattack_accuracy", "scratch", threat="l2 0.25") == 0.75
    assert value(found, "autoattack_ratio", "purified", threat="l2 0.5") == 1
    for name in nets:
        few = pgd_accuracy(nets[name], data, 4 / 255, 8, "linf")
        assert value(found, "pgd_accuracy", name, threat="linf 4/255") == few


def test_what_is_kept_is_counted_among_the_images_that_the_clean_network_withstands(monkeypatch):
    attack_on_some(monkeypatch)
    nets, data = {name: net for name, net in family().items() if name != "init"}, random_images(24)
    withstood = autoattack_correct(nets, data, FEW)
    withstood["purified"]["l2 0.5"] = torch.arange(8) < 2  # of the four that w withstands
    found = measure_autoattack(withstood, nets, data, FEW)
    home = {"threat": "l2 0.5"}
    assert value(found, "autoattack_ratio", "purified", **home) == 0.5
    kept = {name: value(found, "autoattack_kept_share", name, **home) for name in nets}
    assert kept == {"clean": None, "purified": 0.5, "control": 1, "scratch": 1}
    away = {"clean": {"l2 0.25": withstood["clean"]["l2 0.25"]}}
    found = measure_autoattack(away, nets, data, FEW)
    assert [row["quantity"] for row in found] == ["autoattack_accuracy", "pgd_accuracy"]


def test_accuracies_are_those_of_the_networks_ledger():
    nets, data = family(), random_images(24)
    data = dataclasses.replace(
        data, y=nets["clean"](data.x).argmax(1)
    )  # right on all, until attacked
    config = dataclasses.replace(TINY, attacked_images=20, radius=1.5)
    found, ledger = measure_accuracies(nets, data, config), measure_cifar(nets, data, config)
    robust = value(found, "robust_accuracy", "clean")
    assert 0 < robust < value(found, "clean_accuracy", "clean") == 1
    for name in TRAINED:
        for quantity in ("clean_accuracy", "robust_accuracy"):
            assert value(found, quantity, name) == value(ledger, quantity, name)


def test_accuracies_of_variants_have_their_columns():
    nets = {Variant("w - v", alpha=0.5): family()["clean"]}
    found = measure_accuracies(nets, random_images(12), TINY)
    assert value(found, "clean_accuracy", "w - v", alpha=0.5) is not None
    assert value(found, "robust_accuracy", "w - v", alpha=0.5) is not None


def test_the_seeds_that_chose_the_learning_rate_do_not_vouch_for_it():
    measured = joined(
        *(
            table([{"quantity": "cos_to_clean", "network": "purified", "value": cos}], seed=s)
            for s, cos in enumerate((0.1, 0.2, 0.8, 0.9))
        )
    )
    rest = number(summarise(measured, [0, 1]), "cos_to_clean", "purified", seeds="held out")
    assert rest is not None
    assert rest.value == pytest.approx(0.85)


def test_without_a_control_or_a_network_from_scratch_their_records_alone_are_missing(check_records):
    nets, data = family(), random_images(24)
    whole = measure_cifar(nets, data, FEW)
    for missing in ("scratch", "control"):
        given = {name: net for name, net in nets.items() if name != missing}
        found = measure_cifar(given, data, FEW)
        gone = {missing} | ({"difference"} if missing == "control" else set())
        assert found == [
            row
            for row in whole
            if row.get("network") not in gone and row["quantity"].split("_")[-1] not in gone
        ]
        if missing == "scratch":
            check_records(table(found, seed=0), "cifar10-resnet")
    del nets["purified"]
    for measure in (lambda: measure_cifar(nets, data, FEW), lambda: measure_relations(nets)):
        with pytest.raises(ValueError, match=r"give \['purified'\] as well"):
            measure()


def test_accuracy_under_attack_is_below_clean_accuracy_and_falls_with_the_radius():
    net, data = family()["clean"], random_images(40)
    data = dataclasses.replace(data, y=net(data.x).argmax(1))
    found = [pgd_accuracy(net, data, radius, 40) for radius in (0.0, 0.1, 3.0)]
    assert found[0] == 1.0
    assert found[0] >= found[1] >= found[2]
    assert found[2] < 1
