"""A file of weights and a name become the network that was saved, bit by bit."""

import functools
import sys
import types
from collections import OrderedDict

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from fpcore.loading import Normalised, load_into, load_network
from fpcore.models import ConvNet

MEAN, STD = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])


class Normalise(nn.Module):
    """A layer in front, with names as others give them."""

    def __init__(self, names=("mean", "std"), shape=(1, 3, 1, 1)):
        super().__init__()
        self.names = names
        for name, value in zip(names, (MEAN, STD)):
            self.register_buffer(name, value.reshape(shape).clone())

    def forward(self, x):
        mean, std = (getattr(self, name).reshape(3, 1, 1) for name in self.names)
        return (x - mean) / std


class Flat(nn.Module):
    """A network with the mean and deviation at its top."""

    def __init__(self, net):
        super().__init__()
        self.register_buffer("mu", MEAN.clone())
        self.register_buffer("sigma", STD.clone())
        self.model = net

    def forward(self, x):
        return self.model((x - self.mu[:, None, None]) / self.sigma[:, None, None])


class Small(nn.Sequential):
    def __init__(self):
        super().__init__(
            OrderedDict(conv=nn.Conv2d(3, 4, 3), pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten())
        )
        self.fc = nn.Linear(4, 5)


class Second(nn.Sequential):
    """A network whose names begin with 1. as they are."""

    def __init__(self):
        super().__init__(nn.Identity(), Small())


class Whole(nn.Sequential):
    """A factory's network with its own normalisation."""

    def __init__(self):
        super().__init__(Normalise(), Small())


@pytest.fixture
def theirs(monkeypatch):
    """Somebody's module of networks."""
    module = types.ModuleType("theirs")
    module.Small, module.Second, module.Whole = Small, Second, Whole
    monkeypatch.setitem(sys.modules, "theirs", module)


def x(size=16):
    return torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("arch", "make", "suffix", "head"),
    [
        ("torchvision:resnet18", torchvision.models.resnet18, "pt", "fc"),
        ("torchvision:squeezenet1_1", torchvision.models.squeezenet1_1, "pth", "classifier.1"),
        ("torchvision:mobilenet_v3_small", torchvision.models.mobilenet_v3_small, "pt", None),
        (
            "torchvision:mnasnet0_5",
            torchvision.models.mnasnet0_5,
            "pt",
            "classifier.1",
        ),  # a version
        ("fpcore:ConvNet:0.25", functools.partial(ConvNet, 0.25), "safetensors", "linear"),
    ],
)
def test_the_network_of_a_file_gives_the_same_outputs(arch, make, suffix, head, tmp_path):
    torch.manual_seed(1)
    options = {"classes" if arch.startswith("fpcore") else "num_classes": 7} if head else {}
    net, path = make(**options), tmp_path / f"w.{suffix}"
    net(x(32))  # its statistics
    (save_file if suffix == "safetensors" else torch.save)(net.state_dict(), path)
    loaded, notes = load_network(path, arch)
    assert type(loaded) is type(net) and not any(m.training for m in loaded.modules())
    assert torch.equal(loaded(x(32)), net.eval()(x(32)))
    assert notes == ([f"7 classes, the rows of {head}.weight"] if head else [])


FRONTS = {
    "Sequential": lambda net: nn.Sequential(Normalise(), net),
    "Sequential of (3,)": lambda net: nn.Sequential(Normalise(shape=(3,)), net),
    "normalize and model": lambda net: nn.Sequential(OrderedDict(normalize=Normalise(), model=net)),
    "mu and sigma": lambda net: nn.Sequential(
        OrderedDict(normalizer=Normalise(("mu", "sigma")), net=net)
    ),
    "at the top": Flat,
    "parallel": lambda net: nn.DataParallel(nn.Sequential(Normalise(), net)),
    "parallel inside": lambda net: nn.Sequential(Normalise(), nn.DataParallel(net)),
    "ours": lambda net: Normalised(net, MEAN, STD),
}


@pytest.mark.parametrize("front", FRONTS)
def test_a_normalisation_in_front_is_kept_and_said(front, theirs, tmp_path):
    torch.manual_seed(1)
    net = FRONTS[front](Small()).eval()
    torch.save({"state_dict": net.state_dict()}, tmp_path / "w.pt")
    loaded, notes = load_network(tmp_path / "w.pt", "theirs:Small")
    assert isinstance(loaded, Normalised) and isinstance(loaded.network, Small)
    assert torch.equal(loaded(x()), net(x()))
    assert notes[-1].startswith("kept the normalisation in front, (x - ")


@pytest.mark.parametrize("front", ["Sequential", "normalize and model", "parallel"])
def test_behind_it_a_networks_own_first_number_stays(front, theirs, tmp_path):
    net = FRONTS[front](Second()).eval()
    torch.save(net.state_dict(), tmp_path / "w.pt")
    loaded, _ = load_network(tmp_path / "w.pt", "theirs:Second")
    assert isinstance(loaded.network, Second) and torch.equal(loaded(x()), net(x()))


def test_a_networks_own_normalisation_is_loaded_into_it(theirs, tmp_path):
    torch.manual_seed(1)
    net = Whole().eval()
    net[0].mean += 0.1
    torch.save(net.state_dict(), tmp_path / "w.pt")
    loaded, _ = load_network(tmp_path / "w.pt", "theirs:Whole")
    assert isinstance(loaded, Whole) and torch.equal(loaded(x()), net(x()))


def test_a_network_with_a_normalisation_needs_it_in_the_file(theirs, tmp_path):
    torch.save(Small().state_dict(), tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"does not fit Whole \(missing: 0.mean, 0.std"):
        load_network(tmp_path / "w.pt", "theirs:Whole")


def test_load_into_drops_no_normalisation():
    with pytest.raises(ValueError, match=r"unexpected: 0.mean, 0.std\): load it by load_network"):
        load_into(Small(), Whole().state_dict())


@pytest.mark.parametrize(
    ("name", "value"), [("0.std", 0.0), ("0.std", -1.0), ("0.mean", torch.nan)]
)
def test_a_normalisation_that_is_none_is_named(name, value, theirs, tmp_path):
    state = Whole().state_dict()
    torch.save(state | {name: torch.full_like(state[name], value)}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"w.pt, the normalisation in front: mean = "):
        load_network(tmp_path / "w.pt", "theirs:Small")


def test_a_resnet_for_small_images_needs_its_own_function(tmp_path):
    net = torchvision.models.resnet18(num_classes=10)
    net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    torch.save({"net": net.state_dict()}, tmp_path / "cifar.pt")
    with pytest.raises(ValueError, match=r"cifar.pt: conv1.weight .* of 3 x 3.* 7 x 7.*:factory"):
        load_network(tmp_path / "cifar.pt", "torchvision:resnet18")


def test_another_architecture_is_an_error_that_names_file_and_fix(tmp_path):
    torch.save(Small().state_dict(), tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"w.pt does not fit ConvNet \(missing: .*my.module:fac"):
        load_network(tmp_path / "w.pt", "fpcore:ConvNet")


def test_the_file_is_read_before_a_network_is_built(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none.pt is not there"):
        load_network(tmp_path / "none.pt", "torchvision:resnet18")
