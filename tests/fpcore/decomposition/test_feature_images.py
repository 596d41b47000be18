import copy

import pytest
import torch

from fpcore.decomposition.feature_images import (
    activity,
    coding_error,
    exciting,
    maximise,
    patches,
    thresholds,
)
from fpcore.decomposition.preactivations import preactivation
from fpcore.models.convnet import ConvNet
from fpcore.seeding import generator


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return ConvNet(1 / 8).eval()


def photos(n=12):
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_a_preactivation_is_what_the_layer_gives_and_leaves_no_hook(net):
    x = photos(2)
    torch.testing.assert_close(preactivation(net, "conv1", x), net.conv1((x - net.mean) / net.std))
    assert not net.conv1._forward_hooks


@pytest.mark.parametrize("layer", ["conv1", "conv3"])
def test_maximisation_stays_in_its_ball_and_drives_the_neuron_more_than_photographs_do(net, layer):
    which = torch.tensor([0, 1, 2])
    x = maximise(net, layer, which, norm=4.0, steps=40)
    assert x.min() >= 0 and x.max() <= 1 and ((x - 0.5).flatten(1).norm(dim=1) <= 4.0 + 1e-4).all()
    contrast = torch.nn.functional.normalize((photos(3) - 0.5).flatten(1)).view(3, 3, 32, 32)
    driven, others = (preactivation(net, layer, one) for one in (x, 0.5 + 4.0 * contrast))
    middle = driven.shape[2] // 2
    centre = ([0, 1, 2], which, middle, middle)
    assert (driven[centre] > others[centre]).all()
    assert torch.equal(x, maximise(net, layer, which, norm=4.0, steps=40))


def test_bad_arguments_of_maximisation_are_named(net):
    for options, named in (
        ({"steps": 0}, "steps = 0"),
        ({"norm": -1.0}, "norm = -1"),
        ({"smooth": 0.0}, "smooth = 0"),
    ):
        with pytest.raises(ValueError, match=named):
            maximise(net, "conv1", torch.tensor([0]), **options)


def test_the_most_exciting_images_come_first(net):
    x = photos()
    found = exciting(net, "conv2", 1, x, count=3, chunk=5)
    peaks = preactivation(net, "conv2", x)[:, 1].flatten(1).amax(1)
    assert torch.equal(found, x[peaks.argsort(descending=True)[:3]])


@pytest.mark.parametrize("count", [0, 13])
def test_more_exciting_images_than_there_are_cannot_be_had(net, count):
    with pytest.raises(
        ValueError, match=f"count = {count}: (there are 12 images|give a whole number)"
    ):
        exciting(net, "conv2", 1, photos(), count)


def test_activity_is_the_share_that_each_relu_lets_through(net):
    x = photos()
    found = activity(net, x)
    assert [*found] == ["bn1", "bn2", "bn3", "bn4", "bn5"]
    assert all(0 <= share <= 1 for share in found.values())
    expected = (net.bn1(net.conv1((x - net.mean) / net.std)) > 0).float().mean().item()
    assert found["bn1"] == pytest.approx(expected)


def test_activity_leaves_out_what_weight_decay_has_switched_off(net):
    net, x = copy.deepcopy(net), photos()
    with torch.no_grad():
        net.bn1.weight[3], net.bn1.bias[3] = 1e-6, 1.0  # let through, always
    kept = [i for i in range(net.bn1.num_features) if i != 3]
    expected = (net.bn1(net.conv1((x - net.mean) / net.std))[:, kept] > 0).float().mean().item()
    assert activity(net, x)["bn1"] == pytest.approx(expected)


def test_patches_have_no_mean_and_follow_the_seed():
    rows = patches(photos(), 5, 20)
    assert rows.shape == (20, 75)
    assert rows.view(20, 3, 25).mean(2).abs().max() < 1e-6
    assert torch.equal(rows, patches(photos(), 5, 20))
    assert not torch.equal(rows, patches(photos(), 5, 20, seed=1))


def test_a_patch_is_a_square_of_an_image():
    x = photos(5)
    found = patches(x, 6, 30, seed=2).view(30, 3, 6, 6)
    every = x.unfold(2, 6, 1).unfold(3, 6, 1)  # all squares there are
    squares = every.flatten(2, 3).movedim(2, 1).flatten(0, 1)
    squares = squares - squares.mean((2, 3), keepdim=True)
    gap = torch.cdist(found.flatten(1), squares.flatten(1)).min(1).values
    assert gap.max() < 0.05  # different ones are some 3 apart
    with pytest.raises(ValueError, match="size = 33: give 1 to 32"):
        patches(x, 33, 4)


def test_sums_of_few_atoms_are_coded_by_as_many_and_more_atoms_never_leave_more():
    rng = generator(0, "dictionary")
    atoms = torch.linalg.qr(torch.randn(30, 30, generator=rng)).Q[:20]
    code = torch.zeros(50, 20).scatter(1, torch.rand(50, 20, generator=rng).topk(3).indices, 1.0)
    errors = [coding_error(atoms, code @ atoms, k) for k in (1, 2, 3)]
    assert errors == pytest.approx([2 / 3, 1 / 3, 0.0], abs=1e-6)
    noise = torch.randn(50, 30, generator=rng)
    left = [coding_error(atoms, noise, k) for k in (1, 5, 20)]
    assert 1 > left[0] > left[1] > left[2] > 0
    assert coding_error(atoms, 2 * atoms[:1], 1) == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="atoms = 0"):
        coding_error(atoms, noise, 0)


# 1e-5 is what is added to variances
@pytest.mark.parametrize(("variance", "sign"), [(1.0, 1), (1e-5, 1), (1.0, -1)])
def test_a_threshold_is_where_the_relu_opens_of_neurons_that_are_on(variance, sign):
    net = ConvNet(1 / 8).eval()
    with torch.no_grad():
        net.bn2.weight.copy_(sign * torch.tensor([2.0, 2.0, 2.0, 1e-6, 2.0, 2.0, 2.0, 2.0]))
        net.bn2.bias.copy_(torch.tensor([-1.0, -1.0, -1.0, -9.0, -1.0, -1.0, 1.0, 1.0]))
        net.bn2.running_var.fill_(variance)
        threshold = thresholds(net)["bn2"]
        assert threshold == pytest.approx(0.5 if variance == 1 else 0.5**0.5, abs=1e-4)
        assert thresholds(net)["bn1"] == 0.0
        normal = torch.randn(8000, 8, 1, 1, generator=torch.Generator().manual_seed(0))
        opened = (net.bn2(variance**0.5 * normal)[:, 0] > 0).float().mean()
    assert opened == pytest.approx(1 - torch.special.ndtr(torch.tensor(threshold)).item(), abs=0.02)
