"""What cannot be measured is an error of one line before any work, with the fix."""

import copy

import pytest
import torch
from reported_networks import BALL, convolutional, five, images, moved, perceptron
from torch import nn

from fpcore.ball import Ball
from fpcore.reporting import assembly, report
from fpcore.reporting.inputs import _check_devices as check_devices
from fpcore.reporting.inputs import _check_finite as check_finite


@pytest.fixture(autouse=True)
def no_work(monkeypatch):
    """Measuring a layer would be work."""

    def refuse(*_):
        raise AssertionError("work was done before the check")

    monkeypatch.setattr(assembly, "measure_layer", refuse)


class Says(nn.Module):
    """A perceptron that gives what a function makes of its scores."""

    def __init__(self, made, seed=1):
        super().__init__()
        self.net = perceptron(seed)
        self.made = made

    def forward(self, x):
        return self.made(self.net(x))


def refused(match, *networks, **options):
    with pytest.raises(ValueError, match=match) as caught:
        report(*networks, progress=False, **options)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def wider(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(108, 20), nn.ReLU(), nn.Linear(20, 3))


@pytest.mark.parametrize("role", ["adversarial", "control", "init", "scratch"])
def test_networks_of_other_shapes_are_named_with_layer_and_both_shapes(role):
    nets = five(perceptron) | {role: wider(1)}
    name = "purified" if role == "adversarial" else role
    refused(rf"clean against {name}: layer 1 is \(16, 108\) against \(20, 108\)", **nets)


def test_networks_of_other_layers_or_normalisation_are_refused():
    clean = convolutional(1)
    refused("clean against purified: layer", clean, perceptron(1))
    other = moved(clean, 0.1, 2)
    other[4] = nn.Identity()
    refused(r"clean against purified: 4.weight is \(8,\) against not there", clean, other)


@pytest.mark.parametrize("role", ["clean", "adversarial", "control", "init", "scratch"])
@pytest.mark.parametrize(("name", "what"), [("0.weight", "nan"), ("1.running_var", "inf")])
def test_weights_that_are_no_numbers_are_named(role, name, what):
    nets = five()
    nets[role].state_dict()[name].view(-1)[:2] = float(what)
    shown = "purified" if role == "adversarial" else role
    refused(f"{shown}: {name} is not finite in 2 of", **nets)


def test_a_mask_of_minus_infinity_is_no_fault():
    clean = perceptron(1)
    clean.register_buffer("mask", torch.full((4, 4), float("-inf")).triu(1))
    check_finite("clean", clean)


@pytest.mark.parametrize("role", ["adversarial", "control", "init", "scratch"])
def test_one_and_the_same_object_is_refused_and_so_are_equal_weights(role):
    nets = five()
    shown = "purified" if role == "adversarial" else role
    refused(f"clean and {shown} are one and the same object", **(nets | {role: nets["clean"]}))
    twin = copy.deepcopy(nets["clean"])
    refused(f"{shown} has the very weights of clean", **(nets | {role: twin}))
    if role == "control":
        twin = copy.deepcopy(nets["adversarial"])
        refused("control has the very weights of purified", **(nets | {role: twin}))


@pytest.mark.parametrize("given", [None, "w.pt", {"weight": torch.zeros(2, 2)}])
def test_what_is_no_network_is_refused(given):
    refused("clean is a .*: give a network", given, perceptron(1))
    refused("purified is a .*: give a network", perceptron(1), given)


def test_networks_without_weights_or_layers_are_refused():
    refused("clean has no weights", nn.ReLU(), nn.GELU())
    refused("clean", nn.BatchNorm1d(3), moved(nn.BatchNorm1d(3), 1, 1))


def test_networks_on_different_devices_are_refused():
    nets = {"clean": perceptron(1), "purified": perceptron(2).to("meta")}
    with pytest.raises(ValueError, match="clean is on cpu, purified is on meta: bring all to one"):
        check_devices(nets)
    refused("1.weight has no values", *nets.values())  # which comes first


@pytest.mark.parametrize(
    ("made", "match"),
    [
        (lambda s: (s, s), "gives a tuple: wrap it"),
        (lambda s: {"logits": s}, "gives a dict: wrap it"),
        (lambda s: s[:, :, None], r"gives outputs \(2, 3, 1\) for 2 images: wrap it"),
        (lambda s: s[:1], r"gives outputs \(1, 3\) for 2 images: wrap it"),
        (lambda s: s[:, :1], "one logit a sample"),
        (lambda s: s / 0, "gives outputs that are not finite"),
    ],
)
@pytest.mark.parametrize("role", ["clean", "purified"])
def test_outputs_that_are_no_scores_are_refused_with_the_fix(made, match, role):
    nets = [Says(made if role == who else lambda s: s, seed) for seed, who in
            enumerate(("clean", "purified"))]  # fmt: skip
    refused(f"{role}.*{match}", *nets, images=images())


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda x, y: (x, y + 1), r"y holds classes 1 to 3: the network has scores of 0 to 2"),
        (lambda x, y: (x, y - 1), r"y holds classes -1 to 1"),
        (lambda x, y: (x, y.float()), "give class numbers"),
        (lambda x, y: (x, y[:-1]), "give one label a sample"),
        (lambda x, y: (x[:, :, :4], y), "cannot read images"),
        (lambda x, y: (255 * x, y), "box = "),
        (lambda x, y: (x - 0.5, y), "box = "),
        (lambda x, y: ((255 * x).byte(), y), "give floats"),
        (lambda x, y: (x / x.new_zeros(()), y), "not finite"),
        (lambda x, y: (x[:3], y[:3]), "holds 3 samples: give 4"),
        (lambda x, y: x, "images is a Tensor: give"),
        (lambda x, y: "cifar10", "images is a str: give"),
    ],
)
def test_images_that_do_not_fit_are_refused(change, match):
    given = change(*images())
    refused(match, perceptron(1), perceptron(2), images=given, ball=BALL)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"ball": BALL}, "give images as well"),
        ({"ball": ("l2", 0.5), "images": images()}, "give a fpcore.Ball"),
        ({"seed": -1}, "seed = -1"),
        ({"seed": 0.5}, "seed = 0.5"),
        ({"attacked": 0}, "attacked = 0"),
        ({"layers": "conv*"}, r"layers = \['conv\*'\]: the network's layers are \['1', '3'\]"),
        ({"layers": []}, "give a shell pattern"),
        ({"layers": [1]}, "give a shell pattern"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, match):
    refused(match, perceptron(1), perceptron(2), **options)


@pytest.mark.parametrize("inside", ["", "below"])
def test_a_file_is_no_folder(tmp_path, inside):
    (tmp_path / "report").write_text("mine")
    out = tmp_path / "report" / inside
    refused("is a file, give a folder", perceptron(1), perceptron(2), out=out)
    assert (tmp_path / "report").read_text() == "mine"


def test_weights_of_inference_mode_cannot_be_attacked():
    with torch.inference_mode():
        clean = perceptron(1)
    refused("inference_mode", clean, perceptron(2), images=images(), ball=Ball("l2", 0.1))
