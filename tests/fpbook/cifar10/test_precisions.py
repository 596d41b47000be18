"""Published CIFAR-10 networks in several arithmetics: alike, and found out where they are not."""

from dataclasses import replace

import pytest
import torch
from cifar10_networks import TINY, family, random_images, value

from fpbook.cifar10 import CIFAR, precisions, publish_networks, published_networks
from fpbook.cifar10.layers import measure_relations
from fpbook.cifar10.precisions import EXPERIMENTS, converted, measure_all, measure_converted
from fpbook.results import rows, table
from fpbook.results.arithmetics import bounded_figures, compared, conclusions

TWO = (("float64", 1), ("bfloat16", 1))
SMALL = replace(TINY, width=1 / 4, test_images=12, attacked_images=8)


@pytest.fixture
def networks(results, cache, monkeypatch):
    """Two experiments with published networks of one seed."""
    monkeypatch.setattr(precisions, "CIFAR", dict.fromkeys(("full", "narrow-resnet"), SMALL))
    publish_networks(family(), 0, SMALL)


def measured_in(precision, experiment="cifar10"):
    images = random_images(12), random_images(20, 1)
    return measure_converted(
        family(), images[1].x, images[0], SMALL, experiment, precision, count=1
    )


def test_weights_are_rounded_and_the_networks_given_are_left_alone():
    nets = family()
    rough = converted(nets, "bfloat16")
    for name, net in nets.items():
        assert all(p.dtype == torch.float32 for p in net.parameters())
        assert all(p.dtype == torch.bfloat16 for p in rough[name].parameters())
    with pytest.raises(ValueError, match="precision = 'float8': choose one of"):
        converted(nets, "float8")


def test_arithmetics_measure_alike_but_for_rounding():
    exact, near, rough = (measured_in(name) for name in ("float64", "float32", "bfloat16"))
    of = {"experiment": "cifar10", "threads": 1}
    for found, name, slack in ((near, "float32", 1e-6), (rough, "bfloat16", 0.01)):
        for quantity, layer in (("cos_to_clean", "lowest"), ("cos_to_init", "highest")):
            one = value(exact, quantity, "purified", layer, precision="float64", **of)
            two = value(found, quantity, "purified", layer, precision=name, **of)
            assert one == pytest.approx(two, abs=slack) and one != two


def test_all_that_the_ledger_bounds_of_these_results_is_compared():
    found = [*measured_in("float32"), *measured_in("float32", "cifar10-resnet")]
    results = {*EXPERIMENTS, "cifar10-removal", "cifar10-activity"}
    wanted = {one for one in bounded_figures() if one.result in results}
    assert {one for one, _ in compared(table(found, seed=0))} == wanted
    assert len(wanted) > 12


def test_published_conclusions_hold_of_the_weights_and_fail_of_weights_too_coarse(monkeypatch):
    """The comparison can tell: of the published networks, with weights of a few bits less.

    The cosines alone, which need no images.
    """
    monkeypatch.delenv("FPCORE_RESULTS", raising=False)
    nets = published_networks("cpu", 2, CIFAR["full"])

    def relations(nets, precision):
        of = {"experiment": "cifar10", "precision": precision, "threads": 1, "seed": 2}
        return [{**row, **of} for row in measure_relations(nets)]

    exact, rough = (relations(converted(nets, name), name) for name in ("float64", "bfloat16"))
    total, differing = conclusions(table([*exact, *rough]))
    assert total > 5 and differing == 0
    with torch.no_grad():
        for net in nets.values():
            for weight in net.parameters():  # of a convolution's weights a tenth are not zero
                weight.mul_(weight.abs() > weight.abs().quantile(0.9) if weight.ndim == 4 else 1)
    assert conclusions(table([*exact, *relations(nets, "few weights")]))[1] > 0


def test_the_command_measures_compares_and_publishes_on_request(
    networks, results, monkeypatch, capsys
):
    images = random_images(20, 1), random_images(12)
    monkeypatch.setattr(precisions, "load_cifar10", lambda *_: images)
    monkeypatch.setattr(precisions.measure_all, "__defaults__", (TWO,))
    precisions.main(["--images", "12", "--attacked", "8", "--publish"])
    said = capsys.readouterr().out
    assert (
        "conclusions compared, " in said and "`cifar10-removal`: `robust_accuracy`, w - v" in said
    )
    assert (results / "numerics-cifar10.json").exists()


def test_without_networks_or_images_there_is_one_error(results, monkeypatch, tmp_path):
    images = random_images(12)
    with pytest.raises(FileNotFoundError, match="results is not there: published results are"):
        measure_all(images.x, images, 8)
    results.mkdir()
    with pytest.raises(FileNotFoundError, match="cifar10-seed0"):
        measure_all(images.x, images, 8)
    monkeypatch.setenv("FPCORE_DATA", str(tmp_path / "nothing"))
    with pytest.raises(FileNotFoundError, match="nothing"):
        precisions.main([])


def test_what_is_measured_is_kept(networks, monkeypatch):
    images = random_images(12)
    first = measure_all(images.x, images, 8, TWO)
    monkeypatch.setattr(precisions, "measure_pipeline", None)
    assert rows(measure_all(images.x, images, 8, TWO)) == rows(first)
