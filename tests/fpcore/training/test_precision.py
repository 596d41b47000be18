"""What networks are computed in: the device's arithmetic, or what was asked for."""

import copy
import math

import pytest
import torch
from trainings import D, network, same_state

from fpcore import checks
from fpcore.checks import arithmetic
from fpcore.images import Images
from fpcore.models.convnet import ConvNet
from fpcore.training import Training, precision, train


@pytest.mark.parametrize(
    ("able", "dtype"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "avx512_f": True}, torch.float32),
        ({"bf16": True, "architecture": "arm64"}, torch.float32),
    ],
)
def test_networks_are_trained_in_bfloat16_where_the_processor_multiplies_in_it(
    able, dtype, data, monkeypatch
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert arithmetic(torch.device("cpu")) == dtype
    seen, net = [], network()

    def note(*_):
        on = torch.is_autocast_enabled("cpu")
        seen.append(torch.get_autocast_dtype("cpu") if on else torch.float32)

    handle = net.register_forward_hook(note)
    train(net, data, Training(steps=1, lr=0.1, batch=4, radius=0.1))
    handle.remove()
    assert seen and set(seen) == {dtype} and net.weight.dtype == torch.float32


@pytest.mark.parametrize("able", [True, False])
def test_a_gpu_without_bfloat16_trains_in_float32(able, monkeypatch):
    def supported(including_emulation):
        return able and not including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert arithmetic(torch.device("cuda")) == (torch.bfloat16 if able else torch.float32)


@pytest.mark.parametrize("steps", [1, 2])
def test_class_scores_in_bfloat16_are_attacked_in_training(steps, monkeypatch):
    monkeypatch.setattr(checks, "arithmetic", lambda device: torch.bfloat16)
    images = Images(torch.rand(16, 3, 32, 32), torch.arange(16) % 10, "random")
    torch.manual_seed(0)
    net = ConvNet(1 / 16)
    box = (0.0, 1.0)
    config = Training(steps=2, lr=0.01, batch=8, radius=0.5, attack_steps=steps, box=box)
    history = train(net, images, config)
    assert math.isfinite(history[-1]["loss"])


def dtypes_within(net):
    """What the first layer's output is, at each pass."""
    seen = []
    layer = next(module for module in net.modules() if isinstance(module, torch.nn.Linear))
    layer.register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    return seen


@pytest.mark.parametrize("attack_steps", [1, 2])
@pytest.mark.parametrize(
    ("asked", "able", "expected"),
    [
        ("auto", torch.bfloat16, torch.bfloat16),
        ("auto", torch.float32, torch.float32),
        ("float32", torch.bfloat16, torch.float32),
        ("bfloat16", torch.float32, torch.bfloat16),
    ],
)
def test_the_precision_is_what_was_asked_for(asked, able, expected, attack_steps, monkeypatch):
    monkeypatch.setattr(checks, "arithmetic", lambda device: able)
    net = torch.nn.Sequential(torch.nn.Linear(D, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    seen, losses = dtypes_within(net), []
    batch = [(torch.rand(6, D), torch.arange(6) % 3)]
    config = Training(2, 0.1, radius=0.1, attack_steps=attack_steps, precision=asked)
    train(net, batch, config)
    assert {*seen} == {expected} and net[0].weight.dtype == torch.float32

    def watching(model, x, y, ball):
        losses.append(model(x).dtype)
        return model(x).float().logsumexp(1)

    train(net, batch, Training(2, 0.1, precision=asked), loss=watching)
    assert {*losses} == {expected}


@pytest.mark.parametrize("able", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("attack_steps", [1, 2])
@pytest.mark.parametrize("x_dtype", [torch.float32, torch.float64])
def test_a_float64_network_keeps_float64(able, attack_steps, x_dtype, monkeypatch):
    monkeypatch.setattr(checks, "arithmetic", lambda device: able)
    torch.manual_seed(0)
    net = torch.nn.Linear(D, 3).double()
    x, y = torch.rand(6, D).to(x_dtype), torch.arange(6) % 3
    weight = net.weight.detach().clone().requires_grad_()
    scores = x.double() @ weight.T + net.bias.detach()
    expected = torch.nn.functional.cross_entropy(scores, y)
    (slope,) = torch.autograd.grad(expected, weight)
    history = train(net, [(x, y)], Training(1, 0.1))
    assert history[-1]["loss"] == pytest.approx(expected.item(), abs=1e-14)
    torch.testing.assert_close(net.weight, weight - 0.1 * slope, rtol=0, atol=1e-14)
    seen = dtypes_within(net)
    train(net, [(x, y)], Training(2, 0.1, radius=0.1, attack_steps=attack_steps))
    assert {*seen} == {torch.float64}


def test_float64_samples_train_a_float32_network():
    nets = [torch.nn.Linear(D, 3) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    x, y = torch.rand(6, D), torch.arange(6) % 3
    for net, one in zip(nets, (x, x.double())):
        train(net, [(one, y)], Training(3, 0.1, radius=0.1))
    assert same_state(*nets)


@pytest.mark.parametrize(
    ("dtype", "asked", "says"),
    [
        (torch.float16, "auto", "weight is torch.float16, in which small steps are lost"),
        (torch.bfloat16, "auto", "weight is torch.bfloat16, in which small steps are lost"),
        (torch.bfloat16, "bfloat16", "precision='bfloat16' computes its products"),
        (torch.float64, "bfloat16", "precision = 'bfloat16' for float64 weights: give 'auto'"),
        (torch.float64, "float32", "precision = 'float32' for float64 weights: give 'auto'"),
    ],
)
def test_weights_and_precisions_that_do_not_go_together_are_refused(dtype, asked, says):
    net = torch.nn.Linear(D, 3).to(dtype)
    before = copy.deepcopy(net)
    with pytest.raises(ValueError, match=says):
        train(net, [(torch.rand(6, D), torch.arange(6) % 3)], Training(2, 0.1, precision=asked))
    assert same_state(net, before)


def test_a_gpu_that_cannot_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.nn.Parameter, "device", torch.device("cuda"), raising=False)
    with pytest.raises(ValueError, match="precision = 'bfloat16' on cuda, which cannot: give"):
        precision.products_in(torch.nn.Linear(D, 3), "bfloat16")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert precision.products_in(torch.nn.Linear(D, 3), "bfloat16") == torch.bfloat16
