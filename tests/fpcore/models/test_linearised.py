import copy

import pytest
import torch
from shared import Noise

from fpcore.attacks import pgd
from fpcore.ball import Ball
from fpcore.models.batch_norm import recalibrated
from fpcore.models.convnet import ConvNet
from fpcore.models.linearised import Linearised
from fpcore.training import Training, train


def images(n=6, seed=9):
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def model(scale=0.0, seed=0):
    """A linearisation with a random delta of that scale, in double precision."""
    torch.manual_seed(seed)
    lin = Linearised(ConvNet(1 / 8), images(64)).double()
    with torch.no_grad():
        for d in lin.delta:
            d.add_(scale * torch.randn_like(d))
    return lin


def test_at_delta_zero_it_is_the_network():
    lin, x = model(), images().double()
    torch.testing.assert_close(lin(x), lin.net(x))


def test_it_is_linear_in_delta():
    one, x = model(0.1), images().double()
    double = copy.deepcopy(one)
    with torch.no_grad():
        for d in double.delta:
            d.mul_(2)
    base = one.net(x)
    torch.testing.assert_close(double(x) - base, 2 * (one(x) - base))


def test_for_small_delta_it_is_the_displaced_network_up_to_second_order():
    x, gaps = images().double(), []
    for scale in (1e-4, 1e-5):
        lin = model(scale)
        gaps.append((lin(x) - lin.displaced()(x)).norm() / (lin(x) - lin.net(x)).norm())
    assert gaps[1] < 0.3 * gaps[0] < 0.1


def test_training_changes_delta_alone_whatever_mode_is_asked_for():
    lin = model().float()
    before = copy.deepcopy(lin.net.state_dict())
    train(lin, Noise(), Training(2, 0.1, batch=4, radius=0.5, box=(0.0, 1.0)))
    assert all(torch.equal(v, before[k]) for k, v in lin.net.state_dict().items())
    assert all(d.abs().max() > 0 for d in lin.delta)
    lin.train()
    assert lin.training and not any(m.training for m in lin.net.modules())


def test_it_is_a_function_of_each_image_alone():
    lin, x = model(0.1), images().double()
    torch.testing.assert_close(lin.train()(x)[:1], lin(x[:1]))


def test_it_can_be_attacked():
    lin, x, y = model(0.05).float(), images(), torch.arange(6)
    found = pgd(lin, x, y, Ball("l2", 0.5, (0.0, 1.0)), steps=3)
    assert ((found - x).flatten(1).norm(dim=1) <= 0.5 + 1e-6).all() and not torch.equal(found, x)


def test_recalibrated_statistics_are_those_of_the_images():
    torch.manual_seed(0)
    net, x = ConvNet(1 / 8), images(40)
    twin = recalibrated(net, x, chunk=40)
    inputs = net.conv1((x - net.mean) / net.std)
    torch.testing.assert_close(twin.bn1.running_mean, inputs.mean((0, 2, 3)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(twin.bn1.running_var, inputs.var((0, 2, 3)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(twin(x), copy.deepcopy(net).train()(x), atol=2e-3, rtol=1e-2)
    assert torch.equal(net.bn1.running_mean, torch.zeros_like(net.bn1.running_mean))
    assert not twin.training and twin.bn1.momentum == net.bn1.momentum


def test_a_chunk_that_is_left_over_counts_no_more_than_its_images():
    net, x = ConvNet(1 / 16), torch.rand(41, 3, 32, 32)
    x[40] = 0
    found, whole = (recalibrated(net, x, chunk=chunk).bn1.running_mean for chunk in (40, 41))
    assert (found - whole).norm() < 0.02 * whole.norm()


def test_recalibration_keeps_the_weights_and_is_the_same_again():
    torch.manual_seed(0)
    net, x = ConvNet(1 / 8), images(30)
    once = recalibrated(net, x, chunk=10)
    twice = recalibrated(once, x, chunk=10)
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), once.parameters()))
    for one, two in zip(once.state_dict().values(), twice.state_dict().values()):
        assert torch.allclose(one.float(), two.float(), atol=1e-5)


@pytest.mark.parametrize("width", [1 / 8, 1 / 4])
def test_there_is_a_delta_for_every_parameter(width):
    lin = Linearised(ConvNet(width), images(8))
    assert [d.shape for d in lin.delta] == [p.shape for p in ConvNet(width).parameters()]


def test_statistics_of_no_images_or_chunks_are_refused():
    net, x = ConvNet(1 / 8), torch.rand(4, 3, 32, 32)
    with pytest.raises(ValueError, match="chunk = 0: give a whole number of at least 1"):
        recalibrated(net, x, chunk=0)
    with pytest.raises(ValueError, match=r"x is \(0, 3, 32, 32\): give one image"):
        recalibrated(net, x[:0])
    with pytest.raises(ValueError, match="x is not finite"):
        recalibrated(net, x / 0)
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(3 * 32 * 32))
    with pytest.raises(ValueError, match=r"x = torch.float32 \(1, 3, 32, 32\): the network cannot"):
        recalibrated(flat, x[:1])
