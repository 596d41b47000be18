"""The copy that attacks call computes what its network does, or there is none."""

import copy

import pytest
import torch
from torch import nn

from fpcore.attacks import pgd
from fpcore.ball import Ball
from fpcore.models.convnet import ConvNet
from fpcore.models.folded import CACHED, Unshuffled, folded, taken
from fpcore.models.outputs import correct, loss
from fpcore.models.resnet import ResNet


def with_statistics(net, size=32):
    """The network after some batches in training mode, so that there is something to fold in."""
    torch.manual_seed(1)
    for _ in range(3):
        net(torch.rand(32, 3, size, size))
    return net


class Pooled(nn.Module):
    """Layers as modules: normalisation of pixels, a stem with a stride, ReLU, max-pooling."""

    def __init__(self):
        super().__init__()
        self.register_buffer("std", torch.tensor([0.2, 0.3, 0.4])[:, None, None])
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8, affine=False)
        self.relu, self.pool = nn.ReLU(), nn.MaxPool2d(2)
        self.last = nn.Linear(8, 4)

    def forward(self, x):
        h = self.pool(self.relu(self.norm(self.stem(x / self.std))))
        return self.last(h.mean((2, 3)))


def networks():
    torch.manual_seed(0)
    return {"ConvNet": ConvNet(1 / 4), "ResNet": ResNet(1 / 8), "modules": Pooled()}


def value_and_grad(net, x, y):
    x = x.clone().requires_grad_()
    output = net(x)
    return output, torch.autograd.grad(loss(output, y).sum(), x)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["ConvNet", "ResNet", "modules"])
def test_the_copy_has_the_outputs_and_gradients_of_its_network(name, dtype):
    net = with_statistics(networks()[name]).to(dtype)
    x, y = torch.rand(9, 3, 32, 32, dtype=dtype), torch.arange(9) % 4
    twin = folded(net, x)
    assert twin is not net and net.training and not twin.training
    assert not any(isinstance(module, nn.BatchNorm2d) for module in twin.modules())
    still = copy.deepcopy(net).eval()
    tolerance = {"rtol": 1e-3, "atol": 1e-5} if dtype == torch.float32 else {}
    for ours, theirs in zip(value_and_grad(twin, x, y), value_and_grad(still, x, y)):
        torch.testing.assert_close(ours, theirs, **tolerance)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(5, 2, 2), (3, 2, 1), (7, 2, 3), (4, 2, 1), (3, 3, 1)]
)
def test_a_convolution_with_a_stride_is_one_without(kernel, stride, padding):
    torch.manual_seed(0)
    conv, x = nn.Conv2d(3, 6, kernel, stride, padding), torch.rand(2, 3, 24, 12)
    torch.testing.assert_close(Unshuffled(conv)(x), conv(x), rtol=1e-4, atol=1e-6)


class Twice(nn.Module):
    """One convolution with two normalisations: both cannot be folded into it."""

    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 4)
        self.one, self.two = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.last(self.two(self.conv(self.one(self.conv(x)).relu())).mean((2, 3)))


class Counting(Pooled):
    """It looks at the values, which a tracer cannot see."""

    def forward(self, x):
        return super().forward(x if x.sum() > 0 else -x)


def hooked():
    net = Pooled()
    net.norm.register_forward_hook(lambda module, given, output: 2 * output)
    return net


@pytest.mark.parametrize(
    "net",
    [with_statistics(Twice()), Counting(), hooked(), Pooled().half(), nn.Linear(3, 2)],
    ids=["a shared convolution", "branches", "hooks", "float16", "no images"],
)
def test_what_cannot_be_folded_stays_as_it_is(net):
    x = torch.rand(4, 3, 32, 32, dtype=next(net.parameters()).dtype)
    assert folded(net, x if not isinstance(net, nn.Linear) else torch.rand(4, 3)) is net


class Rounding(torch.autograd.Function):
    """Pixels of 8 values, with a gradient as if they were not rounded."""

    @staticmethod
    def forward(ctx, x):
        return (8 * x).round() / 8

    @staticmethod
    def backward(ctx, grad):
        return grad


class Straight(Pooled):
    """It rounds its pixels, and lets their gradient pass straight through."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def forward(self, x):
        if self.how == "function":
            return super().forward(Rounding.apply(x))
        with torch.no_grad() if self.how == "no_grad" else torch.inference_mode():
            rounded = (8 * x).round() / 8 - x
        return super().forward(x + rounded.clone())


@pytest.mark.parametrize("how", ["function", "no_grad", "inference_mode"])
def test_a_gradient_that_a_tracer_does_not_see_is_followed(how):
    torch.manual_seed(0)
    net, x = with_statistics(Straight(how)).eval(), torch.rand(100, 3, 16, 16)
    assert folded(net, x) is net
    y = net(x).argmax(1)
    found = pgd(net, x, y, Ball("l2", 0.5, (0.0, 1.0)), steps=10)
    assert (loss(net(found), y) > loss(net(x), y)).all()  # of a copy no gradient was left


def test_a_network_under_autocast_stays_as_it_is():
    with torch.autocast("cpu", torch.bfloat16):
        net = Pooled()
        assert folded(net, torch.rand(4, 3, 32, 32)) is net


@pytest.mark.parametrize("stop", [True, False])
def test_an_attack_on_the_copy_is_one_on_the_network(stop, monkeypatch):
    torch.manual_seed(0)
    net, x = with_statistics(ConvNet(1 / 8)), torch.rand(CACHED + 9, 3, 32, 32)
    y = copy.deepcopy(net).eval()(x).argmax(1)
    ball = Ball("l2", 0.1, (0.0, 1.0))
    found = pgd(net, x, y, ball, steps=8, stop=stop)
    monkeypatch.setattr("fpcore.attacks.folded", lambda model, _: model)
    slow = pgd(net, x, y, ball, steps=8, stop=stop)
    alive = [correct(copy.deepcopy(net).eval()(one), y) for one in (found, slow)]
    assert 0.1 < alive[0].float().mean() < 0.9
    assert (alive[0] != alive[1]).float().mean() < 0.03
    assert ball.size(found - x).max() < 0.1 + 1e-5 and found.stride() == x.stride()


@pytest.mark.parametrize("shape", [(9,), (9, 4), (9, 3, 6, 5), (9, 1, 6, 5), (9, 3, 1, 1)])
@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_samples_are_taken_in_their_memory_format(shape, form, dtype):
    x = (100 * torch.randn(shape)).to(dtype)
    x = x.contiguous(memory_format=form) if len(shape) == 4 else x
    for index in (torch.tensor([7, 0, 3, 3]), torch.empty(0, dtype=torch.int64)):
        found = taken(x, index)
        assert torch.equal(found, x[index]) and found.dtype == dtype
        assert len(shape) != 4 or found.is_contiguous(memory_format=form)
