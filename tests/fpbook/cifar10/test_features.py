import pytest
from cifar10_networks import family, random_images, value

from fpbook.cifar10 import measure_activity, measure_coding
from fpcore.decomposition.feature_images import activity, thresholds
from fpcore.models.batch_norm import recalibrated


def test_activity_is_that_of_each_network_with_the_statistics_of_w0_estimated_first():
    nets, train, test = family(), random_images(30), random_images(20, 1)
    found = measure_activity(nets, train, test)
    for name, net in nets.items():
        net = recalibrated(net, train.x) if name == "init" else net
        for layer, share in activity(net, test.x).items():
            assert value(found, "active_share", name, layer) == share
        for layer, opens in thresholds(net).items():
            assert value(found, "opens", name, layer) == opens
    assert len(found) == 2 * 5 * len(nets)


def test_more_atoms_leave_less_of_a_patch_and_scrambled_filters_are_a_dictionary_too():
    nets = family()
    found = measure_coding(nets, random_images(20), 0, (1, 4))
    assert {row["network"] for row in found} == {*nets, "scrambled"}
    for name in (*nets, "scrambled"):
        one, four = (value(found, "unexplained_share", name, atoms=k) for k in (1, 4))
        assert 0 < four < one < 1
    other = measure_coding(nets, random_images(20), 1, (4,))
    pair = [value(rows, "unexplained_share", "scrambled", atoms=4) for rows in (found, other)]
    assert pair[0] != pair[1]
    assert value(other, "unexplained_share", "clean", atoms=4) == pytest.approx(
        value(found, "unexplained_share", "clean", atoms=4)
    )
