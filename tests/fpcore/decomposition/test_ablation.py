import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fpcore.decomposition.ablation import (
    effective_rank,
    random_like,
    removed,
    swapped,
    update_spectra,
)
from fpcore.decomposition.layers import decompose_layers, neurons
from fpcore.models.convnet import ConvNet
from fpcore.seeding import generator


def pair(seed=0):
    """A clean network with statistics, the same for every seed, and another one near it."""
    torch.manual_seed(0)
    clean = ConvNet(1 / 8).eval()
    other = copy.deepcopy(clean)
    torch.manual_seed(seed)
    with torch.no_grad():
        for p in other.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return clean, other


@given(st.floats(0, 2))
def test_a_share_of_v_is_taken_out_of_every_layer(alpha):
    clean, other = pair()
    net, split = removed(clean, other, alpha), decompose_layers(clean, other)
    for name, w in neurons(net).items():
        expected = split[name].pure + (1 - alpha) * split[name].residual
        torch.testing.assert_close(w, expected, atol=1e-5, rtol=1e-4)


def test_nothing_taken_out_is_the_same_network_and_the_clean_one_stays():
    clean, other = pair()
    before, x = copy.deepcopy(clean.state_dict()), torch.rand(3, 3, 32, 32)
    assert torch.equal(removed(clean, other, 0.0)(x), clean(x))
    removed(clean, other, 1.0, calibration=x)
    assert all(torch.equal(v, before[k]) for k, v in clean.state_dict().items())


def test_only_the_named_layers_change():
    clean, other = pair()
    net = removed(clean, other, 1.0, ["conv2"])
    changed = [name for name, w in neurons(net).items() if not torch.equal(w, neurons(clean)[name])]
    assert changed == ["conv2"]
    with pytest.raises(ValueError, match="conv9"):
        removed(clean, other, 1.0, ["conv9"])
    with pytest.raises(ValueError, match=r"layers = 'conv2': give a list, \['conv2'\]"):
        removed(clean, other, 1.0, "conv2")
    with pytest.raises(ValueError, match=r"control = 0: give a torch.Generator, a network or None"):
        removed(clean, other, 1.0, control=0)
    with pytest.raises(ValueError, match=r"dealt = True: give a torch.Generator"):
        removed(clean, other, 1.0, dealt=True)
    with pytest.raises(ValueError, match="alpha = -1"):
        removed(clean, other, -1.0)


@given(st.integers(0, 1000), st.booleans())
def test_the_control_has_the_norms_of_v_and_is_orthogonal_to_the_purified_neurons(seed, dealt):
    rng = torch.Generator().manual_seed(seed)
    v, away = torch.randn(5, 12, generator=rng), torch.randn(5, 12, generator=rng)
    u = random_like(v, away, generator(seed, "control"), dealt)
    torch.testing.assert_close(u.norm(dim=1), v.norm(dim=1))
    assert ((u * away).sum(1).abs() < 1e-4 * u.norm(dim=1) * away.norm(dim=1)).all()


@given(st.integers(0, 1000), st.integers(2, 9))
def test_every_neuron_is_dealt_the_v_of_another(seed, m):
    v = torch.eye(m, 2 * m)
    away = torch.eye(m, 2 * m).roll(m, 1)  # orthogonal to all of v already
    dealt = random_like(v, away, generator(seed, "control"), dealt=True)
    owner = dealt.argmax(1)
    assert owner.sort().values.tolist() == [*range(m)]
    assert (owner != torch.arange(m)).all()
    torch.testing.assert_close(dealt, v[owner])


def family():
    """A clean network, and two that went away from it independently, one further than the other."""
    clean, other = pair()
    near = copy.deepcopy(clean)
    with torch.no_grad():
        for p in near.parameters():
            p.add_(0.03 * torch.randn_like(p))
    return clean, other, near


def test_controls_take_out_as_much_but_something_else():
    clean, other, near = family()
    net = removed(clean, other, 1.0)
    controls = [(generator(0, "control"), False), (generator(0, "control"), True), (near, False)]
    for control, dealt in controls:
        instead = removed(clean, other, 1.0, control=control, dealt=dealt)
        for name, w in neurons(clean).items():
            one, two = neurons(net)[name] - w, neurons(instead)[name] - w
            torch.testing.assert_close(one.norm(dim=1), two.norm(dim=1), atol=1e-5, rtol=1e-3)
            assert not torch.allclose(one, two, atol=1e-4)


def test_a_network_as_control_gives_the_direction_of_its_own_residual():
    clean, other, near = family()
    instead, own = removed(clean, other, 1.0, control=near), decompose_layers(clean, near)
    for name, w in neurons(clean).items():
        cos = torch.cosine_similarity(w - neurons(instead)[name], own[name].residual)
        torch.testing.assert_close(cos, torch.ones_like(cos), atol=1e-3, rtol=0)


def test_the_purified_network_as_its_own_control_is_no_control():
    clean, other = pair()
    one, two = removed(clean, other, 0.7), removed(clean, other, 0.7, control=other)
    for name, w in neurons(one).items():
        torch.testing.assert_close(w, neurons(two)[name], atol=1e-5, rtol=1e-4)


def test_swapped_weights_are_the_purified_ones_in_the_clean_normalisation():
    clean, other = pair()
    net = swapped(clean, other, torch.rand(20, 3, 32, 32))
    assert all(torch.equal(w, neurons(other)[name]) for name, w in neurons(net).items())
    assert torch.equal(net.bn1.weight, clean.bn1.weight)
    assert torch.equal(net.linear.bias, clean.linear.bias)


def test_the_spectrum_of_a_low_rank_update_ends_at_its_rank():
    one = ConvNet(1 / 4)
    two = copy.deepcopy(one)
    with torch.no_grad():
        two.conv2.weight.view(16, -1).add_(torch.outer(torch.ones(16), torch.ones(72)))
    found = update_spectra(one, two)
    assert found["conv2"][0] == 1.0 and found["conv2"][1:].max() < 1e-5
    assert effective_rank(found["conv2"]) == pytest.approx(1.0, abs=1e-3)
    assert effective_rank(torch.ones(5)) == pytest.approx(5.0, rel=1e-4)
