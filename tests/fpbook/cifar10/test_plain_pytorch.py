import ast
import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from fpbook.build.rooms import imports
from fpbook.cifar10 import plain_pytorch
from fpbook.cifar10.plain_pytorch import (
    Perceptron,
    VisionTransformer,
    fgm_step,
    fit,
    shifted_and_flipped,
)

X = torch.rand(32, 3, 32, 32, generator=torch.Generator().manual_seed(0))
Y = torch.arange(32) % 10
SHORT = {"epochs": 3, "lr": 1e-3, "batch": 16, "seed": 4}


def small(seed=0):
    torch.manual_seed(seed)
    return VisionTransformer(width=16, depth=1, heads=2, hidden=16)


def same(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_it_imports_nothing_of_the_project():
    assert imports()["fpbook.cifar10.plain_pytorch"] == set()
    tree = ast.parse(Path(plain_pytorch.__file__).read_text())
    names = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [f"{'.' * node.level}{node.module}"]
        )
    }
    assert {name.split(".")[0] for name in names} == {
        "os",
        "collections",
        "pathlib",
        "typing",
        "torch",
    }


def test_the_transformer_has_queries_keys_and_values_in_one_parameter_of_each_block():
    net = VisionTransformer()
    inside = [name for name, _ in net.named_parameters() if name.endswith("in_proj_weight")]
    assert inside == [f"blocks.{i}.self_attn.in_proj_weight" for i in range(4)]
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(0.56e6, rel=0.01)


@pytest.mark.parametrize("make", [VisionTransformer, Perceptron])
def test_each_image_has_ten_scores_that_no_other_image_changes(make):
    net = make().eval()
    with torch.no_grad():
        assert torch.allclose(net(X)[:2], net(X[:2]), atol=1e-5)
        assert net(X).shape == (32, 10)


def test_patches_are_told_apart_by_their_place():
    net = small().eval()
    turned = X.flip(3)
    with torch.no_grad():
        assert not torch.allclose(net(X), net(turned), atol=1e-4)
        # A token knows its place by `position` alone: without it the mean forgets the order.
        net.position.zero_()
        halves = torch.cat([X[..., 16:], X[..., :16]], dim=3)
        assert torch.allclose(net(X), net(halves), atol=1e-5)


@pytest.mark.parametrize("radius", [0.5, 2.0])
def test_fgm_is_known_in_closed_form_on_a_linear_network(radius):
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 10, bias=False))
    x = torch.full((3, 3, 2, 2), 0.5)
    y = torch.tensor([1, 2, 9])
    w = net[1].weight.detach()
    p = (x.flatten(1) @ w.T).softmax(1)
    g = (p - nn.functional.one_hot(y, 10)) @ w
    expected = (x.flatten(1) + radius * g / g.norm(dim=1, keepdim=True)).clamp(0, 1)
    assert torch.allclose(fgm_step(net, x, y, radius).flatten(1), expected, atol=1e-5)


def test_fgm_stays_in_the_ball_and_leaves_no_gradient_behind():
    net = small()
    moved = fgm_step(net, X, Y, 0.5)
    assert (moved - X).flatten(1).norm(dim=1).max() <= 0.5 + 1e-5
    assert not moved.requires_grad
    assert all(p.grad is None for p in net.parameters())


def test_images_are_moved_by_at_most_three_pixels_and_half_are_mirrored():
    ramp = torch.arange(32.0).expand(200, 1, 32, 32).clone()
    moved = shifted_and_flipped(ramp, torch.Generator().manual_seed(0))[:, 0, 0, 5:-5]
    slopes = moved.diff(dim=1)
    mirrored = (slopes == -1).all(1)
    assert ((slopes == 1).all(1) | mirrored).all()
    assert 70 < mirrored.sum() < 130
    shifts = moved[~mirrored][:, 0] - 5
    assert {*shifts.tolist()} == {-3, -2, -1, 0, 1, 2, 3}


def test_an_epoch_is_batch_augmentation_attack_loss_and_step():
    net, twin = small(), small()
    fit(net, X, Y, epochs=1, lr=1e-3, radius=0.5, batch=16, seed=4)
    rng = torch.Generator().manual_seed(4000)
    optimizer = torch.optim.AdamW(twin.parameters(), lr=1e-3, weight_decay=0.05)
    order = torch.randperm(32, generator=rng)
    for lr, index in zip((1e-3, 5e-4), order.split(16)):  # a cosine: half-way at half
        optimizer.param_groups[0]["lr"] = lr
        x = fgm_step(twin, shifted_and_flipped(X[index], rng), Y[index], 0.5)
        optimizer.zero_grad()
        nn.functional.cross_entropy(twin(x), Y[index]).backward()
        optimizer.step()
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(net.parameters(), twin.parameters()))


@pytest.mark.parametrize("radius", [0.0, 0.5])
def test_a_training_stopped_after_any_epoch_ends_as_one_that_was_not(radius, tmp_path):
    whole, path = fit(small(), X, Y, radius=radius, **SHORT), tmp_path / "net.pt"

    class Stopped(Exception):
        pass

    for last in (1, 2, 3):

        def stop(epoch, loss, last=last):
            if epoch == last:
                raise Stopped

        with pytest.raises(Stopped):
            fit(small(), X, Y, radius=radius, path=path, tell=stop, **SHORT)
        assert not path.exists()
    told = []
    resumed = fit(
        small(), X, Y, radius=radius, path=path, tell=lambda *of: told.append(of), **SHORT
    )
    assert same(whole, resumed)
    assert [epoch for epoch, _ in told] == [3]
    assert [file.name for file in tmp_path.iterdir()] == ["net.pt"]


def test_what_is_written_is_a_plain_state_dict_that_is_read_again(tmp_path):
    path = tmp_path / "net.pt"
    net = fit(small(), X, Y, path=path, **SHORT)
    assert torch.load(path, weights_only=True).keys() == net.state_dict().keys()
    other = fit(small(seed=1), X, Y, path=path, **SHORT)
    assert same(net, other)
    assert not other.training


def test_the_attack_changes_what_is_learnt_and_the_seed_the_batches():
    nets = [
        fit(small(), X, Y, **(SHORT | change)) for change in ({}, {"radius": 0.5}, {"seed": 5}, {})
    ]
    assert same(nets[0], nets[3])
    assert not same(nets[0], nets[1])
    assert not same(nets[0], nets[2])


def test_it_learns():
    # Bright or dark: two classes that anything learns.
    x, losses = X * 0.3 + 0.7 * (Y % 2)[:, None, None, None], []
    fit(small(), x, Y % 2, epochs=30, lr=1e-2, batch=16, tell=lambda _, loss: losses.append(loss))
    assert losses[-1] < 0.1 * losses[0]


def test_the_network_handed_in_is_the_one_that_is_trained():
    net = small()
    before = copy.deepcopy(net)
    assert fit(net, X, Y, **SHORT) is net
    assert not same(net, before)
