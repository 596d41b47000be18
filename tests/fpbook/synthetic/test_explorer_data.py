import dataclasses
import itertools
import json

import pytest
import torch

from fpbook.results import explorers
from fpbook.results.files import DamagedError
from fpbook.synthetic import explorer_data as module
from fpbook.synthetic.explorer_data import (
    COSINE_BINS,
    MEASURED_AT,
    MOVED,
    STEMS,
    Sliders,
    main,
    measure_group,
    measured_sliders,
    publish_sliders,
    published_sliders,
    shown_sliders,
    slider_experiment,
)

FEW = Sliders((40,), (4,), (1.0, 1.2), (0.62,), (1.0,), (0.0, 0.65))


@pytest.fixture
def short(monkeypatch, cache):
    """The protocol of the sliders in a blink."""

    def experiment(d, k, margin, threshold):
        found = slider_experiment(d, k, margin, threshold)
        return dataclasses.replace(found, clean_steps=4, adversarial_steps=6, batch=32)

    monkeypatch.setattr(module, "slider_experiment", experiment)


@pytest.fixture(scope="module")
def group(tiny, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FPCORE_CACHE", str(tmp_path_factory.mktemp("cache")))
        return measure_group(tiny, (1.0, 2.0), (0.0, 0.65), 0, "cpu")


def test_a_group_has_every_network_with_certificates_below_attacks(group):
    assert [*group["trained"]] == [*group["clean"]] == ["1", "2"]
    networks = [*group["clean"].values()]
    for width in group["trained"].values():
        assert [*width] == ["0", "0.65"]
        networks += width.values()
    for network in networks:
        assert len(network["attacked"]) == len(network["certified"]) == len(MEASURED_AT)
        assert all(c <= a + 1e-9 for c, a in zip(network["certified"], network["attacked"]))
        assert network["attacked"] == sorted(network["attacked"], reverse=True)
        low, middle, high = network["moved"]
        assert len(low) == len(MOVED) and all(a <= b <= c for a, b, c in zip(low, middle, high))


def test_neurons_are_counted_and_the_typical_one_begins_with_its_own_feature(group):
    for network in group["trained"]["2"].values():
        assert sum(network["cosines"]) == network["live"] and len(network["cosines"]) == COSINE_BINS
        before, after = network["neuron"]
        assert len(before) == len(after) == STEMS
        assert after[0] == max(map(abs, after))
        assert 0 <= network["principle"] <= 100


def test_numbers_are_plain_and_few(group):
    assert len(json.dumps(group)) < 8_000
    assert group["linear"] == sorted(group["linear"], reverse=True)


def test_a_network_without_a_live_neuron_has_none_that_is_typical(tiny, cache, monkeypatch):
    monkeypatch.setattr(module, "live", lambda net: torch.zeros(len(net.weight), dtype=torch.bool))
    group = measure_group(tiny, (1.0,), (0.0,), 0, "cpu")
    found = group["trained"]["1"]["0"]
    assert found["live"] == found["principle"] == 0 and found["neuron"] == []


def test_what_was_measured_is_kept_and_goes_on(short, no_batches):
    first = measured_sliders(FEW, 0, "cpu")
    assert [*first] == ["40-4-1.2-0.62", "40-4-1-0.62"]
    no_batches()
    assert measured_sliders(FEW, 0, "cpu") == first


def test_the_command_publishes_with_provenance_and_a_checksum(short, results):
    sizes = "--d 40 --k 4 --margin 1 1.2 --threshold 0.62 --width 1 --reach 0 0.65"
    main(["--device", "cpu", *sizes.split()])
    sliders, groups, source = published_sliders()
    assert sliders == FEW and groups.keys() == {"40-4-1.2-0.62", "40-4-1-0.62"}
    assert source["seeds"] == [0] and source["protocol"]["batch"] == 32
    path = explorers.explorer_path("sizes")
    path.write_text(path.read_text().replace("[100.0", "[99.0", 1))
    with pytest.raises(DamagedError, match="explorer"):
        published_sliders()


def test_where_nothing_is_published_a_few_networks_are_trained(short, results):
    assert published_sliders() is None
    sliders, groups, source = shown_sliders(0, "cpu")
    assert len(groups) == len(sliders.groups) == 1 and source["profile"] == "now"
    publish_sliders(sliders, groups, 0, "cpu")
    assert shown_sliders(0, "cpu")[:2] == (sliders, groups)


def test_every_position_of_the_published_sliders_is_a_network():
    sliders, groups, source = published_sliders()
    for d, k, margin, threshold in itertools.product(
        sliders.d, sliders.k, sliders.margin, sliders.threshold
    ):
        group = groups[f"{d:g}-{k:g}-{margin:g}-{threshold:g}"]
        assert len(group["linear"]) == len(MEASURED_AT)
        for width, reach in itertools.product(sliders.width, sliders.reach):
            assert group["trained"][f"{width:g}"][f"{reach:g}"]["attacked"]
    assert source["samples"] > 100 and source["seeds"]
    assert explorers.explorer_path("sizes").stat().st_size < 400_000


def test_the_published_default_shows_what_the_chapter_says():
    """A linear classifier is broken, FGM training is robust, and P1 can be seen."""
    _, groups, _ = published_sliders()
    group = groups["300-7-2.5-0.62"]
    after, clean = group["trained"]["2"]["0.3"], group["clean"]["2"]
    assert group["linear"][4] < 10 > clean["attacked"][4]
    assert after["certified"][4] > 60 and after["principle"] > 60
