import dataclasses

import pytest
import torch
from cifar10_networks import TINY, family, random_images, value

from fpbook.cifar10 import (
    Variant,
    low_rank_variants,
    measure_beside_scratch,
    measure_low_rank,
    measure_tangent,
    smallest_rank,
)
from fpbook.results import record, summarise, summary_table, table
from fpcore.alerts import ZeroGradientWarning

UPDATE = "adversarial update"


def labelled(net, n=20):
    """Random images that a network has right."""
    data = random_images(n)
    return dataclasses.replace(data, y=net(data.x).argmax(1))


def test_low_rank_updates_are_measured_between_the_clean_and_the_purified_network(
    cache, monkeypatch
):
    data, test, nets = random_images(64), random_images(12, 1), family()
    clean, purified = nets["clean"], nets["purified"]
    config = dataclasses.replace(TINY, width=1 / 4)
    variants = low_rank_variants(config, data, clean, purified, 0)
    assert [*variants] == [
        Variant(UPDATE, rank=0),
        Variant(UPDATE, rank=2),
        Variant("random update", rank=2),
        Variant("clean update", rank=2),
        Variant("full update"),
        Variant("truncated update", rank=0),
        Variant("truncated update", rank=2),
    ]
    full, one = variants[Variant("full update")], variants[Variant(UPDATE, rank=2)]
    robust = {clean: 0.2, purified: 0.6, full: 0.7, one: 0.5}
    monkeypatch.setattr(
        "fpbook.cifar10.measures.pgd_accuracy", lambda net, *_: robust.get(net, 0.1)
    )
    variants |= {Variant(UPDATE, rank=99): purified}
    found = measure_low_rank(variants, clean, purified, test, config)
    for name, rank, regained, of_full in (
        (UPDATE, 2, 0.75, 0.6),
        (UPDATE, 99, 1, 0.8),
        ("clean update", 2, -0.25, -0.2),
    ):
        assert value(found, "regained", name, rank=rank) == pytest.approx(regained)
        assert value(found, "regained_of_full", name, rank=rank) == pytest.approx(of_full)
    assert value(found, "robust_accuracy", "clean") == 0.2
    assert value(found, "robust_accuracy", "purified") == 0.6


def test_an_updates_share_of_the_parameters_grows_with_what_is_learnt(cache):
    nets, config = family(), dataclasses.replace(TINY, width=1 / 4)
    clean, purified = nets["clean"], nets["purified"]
    variants = low_rank_variants(config, random_images(64), clean, purified, 0)
    found = measure_low_rank(variants, clean, purified, random_images(12, 1), config)
    assert value(found, "parameter_share", "full update") == 1.0
    none, random, two = (
        value(found, "parameter_share", name, rank=rank)
        for name, rank in ((UPDATE, 0), ("random update", 2), (UPDATE, 2))
    )
    assert none < random < two < 1


def test_the_smallest_rank_regains_enough_with_its_whole_interval():
    def regained(name, rank, mean, low=None):
        ends = {} if low is None else {"low": low, "high": 2 * mean - low}
        n = 1 if low is None else 3
        of = {"quantity": "regained", "network": name, "rank": rank}
        return {**of, "value": mean, **ends, "n": n}

    few = [regained(UPDATE, 1, 0.85, 0.7), regained(UPDATE, 16, 0.9, 0.85)]
    more = [regained(UPDATE, 4, 0.82, 0.81), regained("clean update", 0, 1, 1)]
    assert smallest_rank(summary_table(few + more)) == 4
    assert smallest_rank(summary_table(few)) == 16
    assert smallest_rank(summary_table(few), 0.87) is None
    assert smallest_rank(summary_table([])) is None
    assert smallest_rank(summary_table([regained(UPDATE, 1, 0.85)])) == 1


def test_the_smallest_rank_is_found_in_the_summary_of_a_run():
    found = [record("regained", v, UPDATE, rank=r) for r, v in ((8, 0.9), (0, 0.5), (16, 0.95))]
    found.append(record("regained", 1.0, "full update"))
    assert smallest_rank(summarise(table(found, seed=0))) == 8


def test_what_breaks_a_source_is_tried_on_a_model_that_hides_its_gradient():
    class Hidden(torch.nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(x.detach()) + 0 * x.sum()

    clean = family()["clean"]
    data, hidden = labelled(clean), Hidden(clean)
    with pytest.warns(ZeroGradientWarning):  # it is also said
        measured = [
            measure_tangent({"h": hidden}, sources, data, (4.0,), 20) for sources in ([], [clean])
        ]
    alone, transferred = (value(one, "robust_accuracy", "h", radius=4.0) for one in measured)
    assert transferred < 0.5 < alone


def test_robust_accuracy_never_exceeds_clean_accuracy_nor_grows_with_the_radius():
    nets = family()
    data = labelled(nets["clean"])
    found = measure_tangent({"one": nets["clean"]}, [nets["purified"]], data, (0.05, 2.0), 20)
    robust = [value(found, "robust_accuracy", "one", radius=r) for r in (0.0, 0.05, 2.0)]
    assert value(found, "clean_accuracy", "one") == robust[0] == 1.0
    assert robust == sorted(robust, reverse=True)
    assert value(found, "kept_share", "one", radius=2.0) == robust[-1]


@pytest.mark.parametrize("more", [False, True])
def test_ntks_stand_beside_the_network_from_scratch_at_the_radius_of_training(more):
    config = dataclasses.replace(TINY, attacked_images=10)
    robust = {"NTK, adversarial": 0.1, "scratch": 0.4} | ({"NTK, PGD": 0.2} if more else {})
    tangent = [
        record("robust_accuracy", share, name, radius=radius)
        for radius, factor in ((0.0, 2.0), (0.5, 1.0))
        for name, share in ((name, factor * share) for name, share in robust.items())
    ]
    data = random_images(12)
    data.y[:3] = 7  # four of the first ten, with the label in turn
    found = measure_beside_scratch(tangent, data, config)
    assert value(found, "constant_accuracy") == 0.4
    ratio = "robust_ratio_to_scratch"
    assert value(found, ratio, "NTK, adversarial") == pytest.approx(0.25)
    assert value(found, ratio, "NTK, PGD") == (0.5 if more else None)


def test_a_network_from_scratch_that_withstands_nothing_counts_as_one_image():
    tangent = [
        record("robust_accuracy", share, name, radius=0.5)
        for name, share in (("NTK, adversarial", 0.25), ("scratch", 0.0))
    ]
    found = measure_beside_scratch(tangent, random_images(12), TINY)
    assert value(found, "robust_ratio_to_scratch", "NTK, adversarial") == 0.25 * 12
