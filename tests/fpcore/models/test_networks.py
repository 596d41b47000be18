import copy
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from fpcore.models.convnet import CIFAR10_MEAN, CIFAR10_STD, ConvNet
from fpcore.models.outputs import accuracy, correct, evaluating, loss
from fpcore.models.resnet import ResNet
from fpcore.models.two_layer import TwoLayer

seeds, thresholds = st.integers(0, 10**6), st.floats(0, 1.5)


def network(seed, threshold, d=9, m=7):
    """A network of neurons of very different norms, and a batch of inputs."""
    rng = torch.Generator().manual_seed(seed)
    net = TwoLayer(d, m, threshold, init_norm=3.0, rng=rng)
    with torch.no_grad():
        net.weight.mul_(torch.logspace(-2, 1, m)[:, None])
    return net, torch.randn(11, d, generator=rng)


def literal(w, x, threshold):
    """The two-ReLU formula, b detached."""
    b = threshold * w.detach().norm(dim=1)
    return (F.relu(x @ w.T - b) - F.relu(-x @ w.T - b)).sum(1)


@given(seeds, thresholds)
def test_the_output_is_the_two_relu_formula(seed, threshold):
    net, x = network(seed, threshold)
    assert net(x).shape == (11,)
    torch.testing.assert_close(net(x), literal(net.weight, x, threshold), rtol=1e-4, atol=1e-4)


@given(seeds, thresholds)
def test_gradients_are_those_of_the_formula_with_b_held_fixed(seed, threshold):
    net, x = network(seed, threshold)
    x.requires_grad_()
    w = net.weight.detach().clone().requires_grad_()
    up = torch.linspace(-1, 1, 11)
    found = torch.autograd.grad(net(x) @ up, (net.weight, x))
    expected = torch.autograd.grad(literal(w, x, threshold) @ up, (w, x))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@given(seeds, thresholds)
def test_the_network_is_odd(seed, threshold):
    net, x = network(seed, threshold)
    torch.testing.assert_close(net(-x), -net(x))


@given(seeds, thresholds, st.floats(1e-3, 1e3))
def test_the_network_is_homogeneous_in_its_weights(seed, threshold, scale):
    net, x = network(seed, threshold)
    scaled = copy.deepcopy(net)
    with torch.no_grad():
        scaled.weight.mul_(scale)
    torch.testing.assert_close(scaled(x), scale * net(x), rtol=1e-4, atol=1e-4 * scale)


def test_a_neuron_is_active_where_its_preactivation_exceeds_its_bias():
    net, x = network(0, 0.8)
    one = copy.deepcopy(net)
    for i in range(7):
        with torch.no_grad():
            one.weight.copy_(torch.zeros_like(net.weight))
            one.weight[i] = net.weight[i]
        active = net.preactivations(x)[:, i].abs() > net.bias[i]
        assert torch.equal(one(x) != 0, active)
    torch.testing.assert_close(net.bias, 0.8 * net.weight.norm(dim=1))
    assert not net.bias.requires_grad


def test_a_neuron_of_norm_zero_does_no_harm():
    net, x = network(0, 0.3)
    with torch.no_grad():
        net.weight[0] = 0
    value = net(x)
    value.sum().backward()
    assert value.isfinite().all() and net.weight.grad.isfinite().all()
    torch.testing.assert_close(value, literal(net.weight, x, 0.3), rtol=1e-4, atol=1e-4)


def test_the_initialization_has_the_stated_norm_and_is_seeded():
    rngs = [torch.Generator().manual_seed(seed) for seed in (0, 0, 1)]
    a, b, c = (TwoLayer(64, 500, init_norm=0.05, rng=rng) for rng in rngs)
    assert torch.equal(a.weight, b.weight) and not torch.equal(a.weight, c.weight)
    assert abs(a.weight.square().sum(1).mean() - 0.05**2) < 5 * 0.05**2 * math.sqrt(2 / 64 / 500)
    assert abs(a.weight.mean()) < 5 * 0.05 / 8 / math.sqrt(64 * 500)


def test_the_threshold_is_saved_but_not_trained():
    net = TwoLayer(4, 3, threshold=0.25)
    assert net.state_dict()["threshold"] == 0.25
    assert [name for name, _ in net.named_parameters()] == ["weight"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"d": 0, "m": 4}, "d = 0"),
        ({"d": 4, "m": 0}, "width) = 0"),
        ({"d": 4, "m": -2}, "width) = -2"),
        ({"d": 4, "m": 4, "init_norm": math.nan}, "init_norm = nan"),
        ({"d": 4, "m": 4, "threshold": -0.1}, "threshold = -0.1"),
    ],
)
def test_a_bad_two_layer_network_is_named(arguments, named):
    with pytest.raises(ValueError) as error:
        TwoLayer(**arguments)
    assert named in str(error.value)


@pytest.mark.parametrize("width", [1 / 8, 0.3, 1.0])
def test_the_convnet_maps_images_to_class_scores(width):
    net = ConvNet(width, classes=7)
    assert net(torch.rand(4, 3, 32, 32)).shape == (4, 7)
    convolutions = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    channels = [round(width * c) for c in (32, 64, 96, 64, 64)]
    assert [c.out_channels for c in convolutions] == channels


def test_the_convnet_of_width_one_has_171k_parameters():
    assert round(sum(p.numel() for p in ConvNet().parameters()) / 1000) == 171


@pytest.mark.parametrize("times_std", [0.0, 1.0])
def test_the_convnet_normalises_pixels_itself(times_std):
    net, seen = ConvNet(1 / 8), []
    net.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (CIFAR10_MEAN, CIFAR10_STD))
    net((mean + times_std * std).expand(2, 3, 32, 32))
    torch.testing.assert_close(seen[0], torch.full((2, 3, 32, 32), times_std))


@pytest.mark.parametrize("width", [0, 0.0, -1.0, math.nan, math.inf, 0.01])
def test_a_bad_width_is_named(width):
    with pytest.raises(ValueError, match=f"width = {width}"):
        ConvNet(width)


def test_a_bad_number_of_classes_is_named():
    with pytest.raises(ValueError, match="classes = 0"):
        ConvNet(classes=0)


def test_the_loss_of_one_logit_is_logistic():
    output = torch.tensor([-30.0, -1.0, 0.0, 2.0, 50.0])
    y = torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0])
    expected = [math.log1p(math.exp(-a * b)) for a, b in zip(output.tolist(), y.tolist())]
    torch.testing.assert_close(loss(output, y), torch.tensor(expected))


def test_the_loss_of_class_scores_is_cross_entropy():
    scores, y = torch.tensor([[1.0, 2.0, 0.5], [0.0, 0.0, 0.0]]), torch.tensor([1, 2])
    expected = [
        math.log(sum(math.exp(s) for s in row)) - row[label]
        for row, label in zip(scores.tolist(), y.tolist())
    ]
    torch.testing.assert_close(loss(scores, y), torch.tensor(expected))


def test_correct_compares_the_sign_or_the_largest_score():
    logits, signs = torch.tensor([0.1, -0.1, 2.0]), torch.tensor([1.0, 1.0, -1.0])
    assert correct(logits, signs).tolist() == [True, False, False]
    scores, classes = torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([1, 0])
    assert correct(scores, classes).tolist() == [True, False]


def test_a_tie_counts_as_wrong():
    assert correct(torch.zeros(2), torch.tensor([1.0, -1.0])).tolist() == [False, False]
    assert correct(torch.zeros(3, 4), torch.tensor([0, 1, 3])).tolist() == [False, False, False]
    assert correct(torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor([0])).tolist() == [False]


@pytest.mark.parametrize("output", [torch.ones(3), torch.eye(3)])
def test_labels_of_another_shape_are_refused(output):
    for measure in (loss, correct):
        with pytest.raises(ValueError, match=r"y is \(3, 1\): give one label a sample, \(3,\)"):
            measure(output, torch.ones(3, 1, dtype=torch.long))


@pytest.mark.parametrize(
    "labels", [torch.tensor([0, 1] * 5 + [1]), torch.tensor([2.0, -1.0] * 5 + [1.0])]
)
def test_accuracy_of_one_logit_wants_signs(labels):
    net, x = network(1, 0.1)
    with pytest.raises(ValueError, match=r"y holds \[[02].*give labels -1 and \+1"):
        accuracy(net, x, labels)


def test_accuracy_is_the_share_of_correct_samples_whatever_the_chunk():
    net, x = network(1, 0.1)
    y = net(x).detach().sign()
    y[:3] *= -1
    for chunk in (1, 4, 100):
        assert accuracy(net, x, y, chunk) == pytest.approx(8 / 11)


def test_accuracy_is_measured_in_evaluation_mode():
    net, x, y = ConvNet(1 / 8).train(), torch.rand(8, 3, 32, 32), torch.arange(8)
    before = copy.deepcopy(net.state_dict())
    shares = {accuracy(net, x, y, chunk) for chunk in (1, 3, 8)}
    assert len(shares) == 1 and net.training
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


def modes(net):
    return [m.training for m in net.modules()]


def test_evaluating_puts_back_mixed_modes():
    net = ConvNet(1 / 8).train()
    net.bn2.eval()
    before = modes(net)
    assert set(before) == {True, False}
    with evaluating(net):
        assert not any(modes(net))
    assert modes(net) == before


def test_evaluating_puts_back_the_modes_after_an_exception():
    net = ConvNet(1 / 8).train()
    net.bn2.eval()
    before = modes(net)
    with pytest.raises(RuntimeError, match="within"), evaluating(net):
        raise RuntimeError("within")
    assert modes(net) == before


def test_evaluating_nests():
    net = ConvNet(1 / 8).train()
    with evaluating(net):
        with evaluating(net):
            pass
        assert not any(modes(net))
    assert all(modes(net))


@pytest.mark.parametrize("width", [1 / 64, 1 / 16, 1 / 8])
def test_a_resnet_maps_images_to_class_scores_one_by_one(width):
    torch.manual_seed(0)
    net = ResNet(width).eval()
    x = torch.rand(3, 3, 32, 32)
    assert net(x).shape == (3, 10)
    torch.testing.assert_close(net(x)[:1], net(x[:1]))


def test_a_full_width_resnet_is_resnet_18():
    net = ResNet()
    kernels = [m.kernel_size for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert sum(p.numel() for p in net.parameters()) == 11_172_170
    assert kernels.count((3, 3)) == 17


def test_bad_resnet_sizes_are_named():
    with pytest.raises(ValueError, match="width = 0"):
        ResNet(0.0)
    with pytest.raises(ValueError, match="classes = 0"):
        ResNet(classes=0)
