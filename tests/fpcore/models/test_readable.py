"""Networks whose weights cannot be read are one error: scripted, adapted, empty, diverged."""

import warnings

import pytest
import torch
from torch import nn

from fpcore.decomposition.ablation import removed, swapped, truncated
from fpcore.decomposition.data_flow import called
from fpcore.decomposition.layers import decompose_layers, neurons, switched_on
from fpcore.decomposition.relations import explained, layer_relations
from fpcore.models.batch_norm import recalibrated
from fpcore.models.low_rank_update import low_rank
from fpcore.reporting.assembly import report

PAIRS = {
    "decompose_layers": decompose_layers,
    "layer_relations": layer_relations,
    "removed": lambda a, b: removed(a, b, 1.0),
    "swapped": lambda a, b: swapped(a, b, torch.rand(8, 4)),
    "truncated": lambda a, b: truncated(a, b, 1, torch.rand(8, 4)),
    "explained": lambda a, b: explained(a, b, torch.rand(8, 4), torch.rand(8, 4)),
    "report": lambda a, b: report(a, b, progress=False),
}


def network():
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))


class Adapted(nn.Module):
    """A layer with a low-rank update beside it, laid out as peft's."""

    def __init__(self, base):
        super().__init__()
        self.base_layer = base
        self.down, self.up = nn.Linear(4, 2, bias=False), nn.Linear(2, 5, bias=False)

    def get_delta_weight(self, adapter):
        return self.up.weight @ self.down.weight

    def forward(self, x):
        return self.base_layer(x) + self.up(self.down(x))


def adapted():
    net = network()
    net[0] = Adapted(net[0])
    return net


def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(network())


@pytest.mark.parametrize(
    ("make", "fix"), [(adapted, r"layer 0 .*merge_and_unload\(\)"), (scripted, "was made of")]
)
@pytest.mark.parametrize(
    "measure",
    [neurons, switched_on, lambda net: low_rank(net, 1, 0)],
    ids=["neurons", "switched_on", "low_rank"],
)
def test_layers_that_do_not_hold_what_acts_are_refused(measure, make, fix):
    with pytest.raises(ValueError, match=fix):
        measure(make())


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("which", ["first", "second"])
@pytest.mark.parametrize("name", PAIRS)
def test_weights_that_are_not_finite_are_named(name, which, bad):
    pair = {"first": network(), "second": network()}
    pair[which][0].weight.data[2, 3] = bad
    with pytest.raises(ValueError, match=r"0.* not finite in 1 of 20 entries: give"):
        PAIRS[name](*pair.values())


@pytest.mark.parametrize(
    "measure", [switched_on, lambda net: low_rank(net, 1, 0)], ids=["switched_on", "low_rank"]
)
def test_weights_of_one_network_that_are_not_finite_are_named(measure):
    net = network()
    net[2].weight.data[0, 0] = torch.nan
    with pytest.raises(ValueError, match="layer 2 is not finite in 1 of 15 entries: give"):
        measure(net)


@pytest.mark.parametrize("name", PAIRS)
def test_a_pair_without_values_is_refused(name):
    with pytest.raises(ValueError, match=r"0.* has no values \(device meta\)"):
        PAIRS[name](network().to("meta"), network().to("meta"))


def test_a_network_without_values_has_neurons_of_a_shape():
    assert neurons(network().to("meta")).shape("0") == (5, 4)
    with pytest.raises(ValueError, match=r"0.weight has no values \(device meta\)"):
        low_rank(network().to("meta"), 1, 0)


def test_a_network_without_layers_has_no_head():
    with pytest.raises(ValueError, match="a ReLU has no layer with neurons"):
        _ = neurons(nn.ReLU()).head


@pytest.mark.parametrize(
    "x",
    [3, (torch.rand(2, 4), 1), torch.rand(2, 7), {"other": torch.rand(2, 4)}, [1.0]],
    ids=["a number", "two arguments", "too wide", "another name", "a list"],
)
def test_what_a_network_cannot_be_called_with_is_named(x):
    with pytest.raises(ValueError, match=r"x = .*cannot be called with it .*give a batch"):
        called(network(), x)


@pytest.mark.parametrize(
    ("x", "named"),
    [
        ({"x": torch.rand(8, 4)}, "x = dict"),
        (torch.rand(8, 7), r"\(8, 7\)"),
        (torch.rand(8, 4, dtype=torch.float64), "float64"),
        ((torch.rand(8, 4) * 255).byte(), "uint8"),
    ],
)
def test_images_that_statistics_cannot_be_estimated_on_are_named(x, named):
    with pytest.raises(ValueError, match=f"{named}.*: give"):
        recalibrated(network(), x)


@pytest.mark.parametrize("at", [2, 3])
def test_images_that_are_not_numbers_explain_nothing(at):
    arguments = [network(), network(), torch.rand(8, 4), torch.rand(8, 4)]
    arguments[at][0, 0] = torch.nan
    with pytest.raises(ValueError, match=f"{('x', 'held')[at - 2]} is not finite"):
        explained(*arguments)


def test_quantised_weights_are_left_out_by_name_and_count():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        half = nn.Sequential(nn.Conv1d(4, 6, 1), nn.Flatten(), nn.Linear(6, 4))
        net = torch.ao.quantization.quantize_dynamic(half, {nn.Linear})
        whole = torch.ao.quantization.quantize_dynamic(network(), {nn.Linear})
    assert neurons(net).coverage.left_out == {"2.weight": 24}
    assert neurons(net).coverage.share == 0.5
    assert neurons(whole).coverage.share == 0
