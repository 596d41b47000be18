import pytest
import torch

from fpbook.figures.layers import (
    images,
    layer_histograms,
    over_depth,
    over_frequency,
    pairwise,
    singular_values,
)
from fpbook.figures.style import CLEAN, PURIFIED
from fpcore.decomposition.filter_spectra import spectrum
from fpcore.decomposition.layers import neurons
from fpcore.decomposition.purification import chance_cosine
from fpcore.decomposition.relations import layer_relations
from fpcore.models.convnet import ConvNet

pytestmark = pytest.mark.usefixtures("closed")


def test_every_layers_cosines_stand_at_its_depth_beside_chance():
    torch.manual_seed(0)
    nets = {name: ConvNet(1 / 8) for name in ("clean", "purified")}
    found, chance = pairwise(
        nets, {"both": ("clean", "purified", PURIFIED), "same": ("clean", "clean", "black")}
    )
    assert [*found] == [*chance] == [*neurons(nets["clean"])]
    assert chance["conv2"] == chance_cosine(neurons(nets["clean"])["conv2"].shape[1])
    assert torch.equal(found["conv3"]["both"][0], layer_relations(*nets.values())["conv3"])
    assert torch.allclose(found["conv3"]["same"][0], torch.ones(()))
    (axis,) = over_depth(found, chance).axes
    medians = [line.get_ydata()[0] for line in axis.lines if line.get_color() == "white"]
    expected = [
        found[layer][label][0].quantile(0.5).item() for label in ("both", "same") for layer in found
    ]
    assert medians == pytest.approx(expected, abs=1e-6)
    assert [label.get_text() for label in axis.get_xticklabels()] == [*found]
    heights = [band.get_paths()[0].get_extents().y1 for band in axis.collections]
    assert heights == pytest.approx([2 * value for value in chance.values()])


def test_every_layer_has_a_histogram_of_shares_beside_chance():
    cosines = torch.tensor([0.9, 0.9, 0.1, 0.0])
    layers = {layer: {"both": (cosines, PURIFIED)} for layer in ("conv1", "conv2", "conv3")}
    chance = {"conv1": 0.1, "conv2": 0.05, "conv3": 0.02}
    axes = layer_histograms(layers, chance).axes
    assert [axis.get_title() for axis in axes] == ["conv1", "conv2", "conv3", ""]
    assert [axis.axison for axis in axes] == [True, True, True, False]
    for axis, layer in zip(axes, layers):
        *bars, band = axis.patches
        assert sorted({round(bar.get_height(), 6) for bar in bars}) == [0, 0.25, 0.5]
        assert band.get_x() == pytest.approx(-2 * chance[layer])
        assert band.get_width() == pytest.approx(4 * chance[layer])


def test_spectra_are_drawn_over_their_frequencies():
    filters = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    (axis,) = over_frequency({"filters": (filters, CLEAN)}).axes
    line, noise = axis.lines
    frequencies, energy = spectrum(filters)
    assert line.get_xdata().tolist() == frequencies.tolist()
    assert line.get_ydata().tolist() == energy.tolist()
    assert {*noise.get_ydata()} == {1}


def test_singular_values_are_counted_from_one():
    (axis,) = singular_values({"conv1": torch.tensor([1.0, 0.5]), "fc": torch.ones(3)}).axes
    assert [line.get_xdata()[-1] for line in axis.lines] == [2, 3]
    assert [line.get_label() for line in axis.lines] == ["conv1", "fc"]


def test_images_are_shown_as_they_are_and_signed_ones_around_grey():
    plain = torch.full((2, 3, 4, 4), 0.25)
    signed = torch.zeros(3, 3, 4, 4)
    signed[:, 0, 0, 0] = -2.0
    axes = images({"plain": plain, "signed": signed}).axes
    assert len(axes) == 4
    above, _, below, _ = (axis.images[0].get_array() for axis in axes)
    assert above.min() == above.max() == 0.25
    assert (below.min(), below[1, 1, 1]) == (0, 0.5)
    assert [axis.texts[0].get_text() for axis in (axes[0], axes[2])] == ["plain", "signed"]
