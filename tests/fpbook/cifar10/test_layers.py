import pytest
from cifar10_networks import family, random_images, switch_off, value

from fpbook.cifar10 import measure_explained, measure_relations, measure_two_seeds
from fpcore.decomposition.layers import switched_on
from fpcore.decomposition.relations import layer_relations


def test_relations_tell_descendants_from_strangers():
    found = measure_relations(family())
    assert value(found, "cos_to_clean", "purified") == pytest.approx(1 / 1.16**0.5, abs=0.03)
    assert value(found, "cos_to_clean", "control") > 0.98
    assert value(found, "cos_to_clean_difference", "purified") > 0.04
    assert value(found, "share_dominant", "purified") == 1.0
    assert value(found, "same_neuron_share", "purified") == 1.0
    assert value(found, "same_neuron_share", "scratch") < 0.4
    assert abs(value(found, "cos_to_init", "clean")) < 0.1
    lowest, highest = (
        value(found, "cos_to_clean", "purified", extreme) for extreme in ("lowest", "highest")
    )
    assert lowest <= highest
    for layer in ("conv1", "conv5", "linear"):
        assert value(found, "cos_to_init", "purified", layer) is not None


def test_what_is_compared_is_the_network_with_the_one_that_the_quantity_names():
    nets = family()
    found = measure_relations(nets)
    for quantity, one, other in (
        ("cos_to_init", "init", "clean"),
        ("cos_to_init", "init", "purified"),
        ("cos_to_clean", "clean", "purified"),
        ("cos_to_clean", "clean", "control"),
        ("cos_to_clean", "clean", "scratch"),
        ("cos_to_purified", "purified", "scratch"),
    ):
        cosines = layer_relations(nets[one], nets[other])
        assert value(found, quantity, other, "conv3") == cosines["conv3"].median().item()


@pytest.mark.parametrize("part", ["conv1", "bn1"])  # the weights, or the scale after them
def test_what_weight_decay_has_switched_off_is_not_counted(part):
    nets = family()
    before = measure_relations(nets)
    assert value(before, "share_switched_on", "purified") == 1.0
    for net in (nets["clean"], nets["purified"]):
        switch_off(net, part, 1, 5)
    nets["purified"].conv1.weight.data[5] *= -1  # such a neuron's cosine means nothing
    assert switched_on(nets["clean"])["conv1"].logical_not().nonzero().flatten().tolist() == [1, 5]
    found = measure_relations(nets)
    hidden = sum(len(on) for on in switched_on(nets["clean"]).values()) - 10
    assert value(found, "share_switched_on", "purified") == pytest.approx(1 - 2 / hidden)
    assert value(found, "share_dominant", "purified", "conv1") == 1.0
    assert value(found, "same_neuron_share", "purified") == 1.0
    for of in (
        ("cos_to_clean", "purified", "conv2"),
        ("cos_to_purified", "scratch", "conv5"),
        ("share_dominant", "purified", "linear"),
    ):
        assert value(found, *of) == value(before, *of)
    kept = [i for i in range(8) if i not in (1, 5)]
    assert layer_relations(nets["clean"], nets["purified"])["conv1"] == pytest.approx(
        layer_relations(*(family()[name] for name in ("clean", "purified")))["conv1"][kept]
    )


def test_what_is_explained_is_measured_of_all_pairs_and_every_convolution():
    found = measure_explained(family(), random_images(40), 20)
    for of in (
        ("explained_by_clean", "purified"),
        ("explained_by_clean", "control"),
        ("explained_by_clean", "scratch"),
        ("explained_by_init", "purified"),
    ):
        shares = [value(found, *of, f"conv{i}") for i in range(1, 6)]
        assert value(found, *of, "lowest") == min(shares)
    with pytest.raises(ValueError, match="two times count = 42: there are 40 images"):
        measure_explained(family(), random_images(40), 21)


def test_two_seeds_have_nothing_in_common():
    one, two = family(), family()
    two["clean"] = two["scratch"]
    found = measure_two_seeds([one, two], 0)
    size = value(found, "cos_two_seeds_size", "clean")
    assert abs(value(found, "cos_two_seeds", "clean")) < 0.05 < size < 0.3
    assert {row["seed"] for row in found} == {0}
    assert measure_two_seeds([one], 0) == measure_two_seeds([], 0) == []


def test_each_seed_is_in_one_pair_and_the_last_may_have_no_partner():
    one, two = family(), family()
    two["clean"] = two["scratch"]
    first = measure_two_seeds([one, two], 5)
    second = [{**row, "seed": 7} for row in first]
    assert measure_two_seeds([one, two, two, one, one], 5) == first + second


def test_without_w0_and_the_controls_the_rest_is_measured():
    nets = family()
    whole = measure_relations(nets)
    some = measure_relations({name: nets[name] for name in ("clean", "purified")})
    gone = {"cos_to_init", "cos_to_clean_difference", "cos_to_purified"}
    assert {row["quantity"] for row in whole} - {row["quantity"] for row in some} == gone
    assert all(row in whole for row in some)
