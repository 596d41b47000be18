import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shared import Noise
from torch import nn

from fpcore.decomposition.ablation import removed, swapped, truncated
from fpcore.decomposition.layers import neurons
from fpcore.models.acting import merged
from fpcore.models.batch_norm import recalibrated
from fpcore.models.convnet import ConvNet
from fpcore.models.low_rank_update import low_rank, trained_parameters
from fpcore.training import Training, train

ranks, kinds = st.integers(0, 9), st.booleans()


def network(seed=0):
    torch.manual_seed(seed)
    return ConvNet(1 / 8).eval()


def images():
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(9))


@given(ranks, kinds)
def test_an_untrained_update_changes_nothing_and_leaves_the_original_alone(rank, fixed):
    net = network()
    twin = low_rank(net, rank, seed=0, fixed=fixed)
    assert torch.equal(twin(images()), net(images()))
    assert all(p.requires_grad for p in net.parameters())
    assert "weight" in dict(net.conv1.named_parameters())


@given(st.integers(0, 5), kinds)
def test_training_changes_each_layer_by_a_matrix_of_at_most_that_rank(rank, fixed):
    net = network()
    twin = low_rank(net, rank, seed=0, fixed=fixed)
    train(twin, Noise(), Training(3, 0.5, batch=8))
    before, after = neurons(net), neurons(twin)
    for name, w in before.items():
        size = torch.linalg.svdvals(after[name] - w)
        assert (size[rank:] < 1e-5).all()
        assert (rank == 0) == (size[0] < 1e-6)
    assert not torch.equal(twin.bn1.weight, net.bn1.weight)


@given(ranks, kinds)
def test_the_parameters_are_those_of_the_factors_and_the_rest(rank, fixed):
    net = network()
    rest = sum(p.numel() for name, p in net.named_parameters() if p.ndim == 1)
    sizes = [tuple(w.shape) for w in neurons(net).values()]
    factors = 0
    for out, fan_in in sizes:
        factors += min(rank, out, fan_in) * (out if fixed else out + fan_in)
    assert trained_parameters(low_rank(net, rank, seed=0, fixed=fixed)) == rest + factors


def test_the_projections_are_orthonormal_and_follow_the_seed():
    twins = [low_rank(network(), 3, seed) for seed in (0, 0, 1)]
    one, same, other = (twin.conv2.parametrizations.weight[0].updates[0].down for twin in twins)
    assert torch.equal(one, same) and not torch.equal(one, other)
    torch.testing.assert_close(one @ one.T, torch.eye(3), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [((-1, 0), "rank = -1"), ((1.5, 0), "rank = 1.5"), ((1, -2), "seed = -2")],
)
def test_bad_arguments_are_named(arguments, named):
    with pytest.raises(ValueError, match=named):
        low_rank(network(), *arguments)


@given(st.integers(0, 9))
def test_an_update_cut_off_is_the_nearest_of_its_rank(rank):
    clean, purified = network(0), network(1)
    cut = truncated(clean, purified, rank, images())
    for name, w in neurons(clean).items():
        sizes = torch.linalg.svdvals(neurons(purified)[name] - w)
        update = neurons(cut)[name] - w
        assert torch.linalg.matrix_rank(update, atol=1e-4) <= rank
        missing = (neurons(purified)[name] - neurons(cut)[name]).norm()
        torch.testing.assert_close(missing, sizes[rank:].norm(), atol=1e-4, rtol=1e-3)
    assert torch.equal(purified.bn1.weight, cut.bn1.weight)
    assert torch.equal(clean.conv1.weight, network(0).conv1.weight)


def updated(seed=0):
    """A low-rank update that is not 0."""
    net, rng = low_rank(network(seed), 2, seed), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        net.conv2.parametrizations.weight[0].updates[0].up.normal_(generator=rng)
    return net


def test_a_merged_update_computes_the_same_with_plain_weights():
    net = updated()
    plain = merged(net)
    assert plain.state_dict().keys() == network().state_dict().keys()
    assert "parametrizations" in dir(net.conv2)
    assert torch.equal(plain(images()), net.eval()(images()))


@pytest.mark.parametrize(
    "change",
    [
        lambda net, other: removed(net, other, 0.7),
        lambda net, other: swapped(net, other, images()),
        lambda net, other: truncated(other, net, 1, images()),
    ],
    ids=["removed", "swapped", "truncated"],
)
def test_a_low_rank_update_is_changed_as_the_plain_network_of_its_weights(change):
    net, other = updated(), network(1)
    before = neurons(net)["conv2"].clone()
    found, expected = change(net, other), change(merged(net), other)
    assert all(torch.equal(w, neurons(expected)[name]) for name, w in neurons(found).items())
    assert not torch.equal(neurons(found)["conv2"], before)
    assert torch.equal(neurons(net)["conv2"], before)


class Added(nn.Module):
    """A layer, a vector that is added to all samples, and a matrix of its own."""

    def __init__(self):
        super().__init__()
        self.layer, self.table = nn.Linear(3, 3), nn.Parameter(torch.ones(2, 3))
        self.token = nn.Parameter(torch.ones(1, 1, 3))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: low_rank(updated(), 1, 0), "a low-rank update already"),
        (lambda: low_rank(nn.Sequential(nn.ReLU()), 1, 0), "Sequential: give a network of conv"),
        (lambda: low_rank(Added(), 1, 0), "^table would be trained in full: freeze them"),
    ],
)
def test_networks_without_layers_to_update_are_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(nn.Conv1d(2, 5, 3), (4, 2, 8)), (nn.Conv3d(2, 5, 3), (4, 2, 4, 4, 4))],
)
def test_convolutions_of_other_dimensions_get_an_update_as_well(layer, shape):
    net = nn.Sequential(layer, nn.Flatten(), nn.ReLU())
    twin, x = low_rank(net, 2, 0), torch.randn(shape)
    assert torch.equal(twin(x), net(x)) and torch.equal(merged(twin)(x), net(x))
    assert trained_parameters(twin) == 2 * (5 + layer.weight[0].numel()) + 5


class First(nn.Module):
    """A layer, called with x as often as it asks for, of which the first output counts."""

    def __init__(self, layer, times=1):
        super().__init__()
        self.layer, self.times = layer, times

    def forward(self, x):
        out = self.layer(*[x] * self.times)
        return out[0] if isinstance(out, tuple) else out


WORDS = torch.randint(5, (3, 2), generator=torch.Generator().manual_seed(0))
ROWS = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0))
FULL = [  # layer, x, (neurons, fan-in) of each matrix
    (First(nn.MultiheadAttention(4, 2), 3), ROWS, 4 * [(4, 4)]),
    (First(nn.MultiheadAttention(4, 2, kdim=4, vdim=4, bias=False), 3), ROWS, 4 * [(4, 4)]),
    (nn.ConvTranspose1d(6, 4, 3, groups=2), ROWS, [(4, 3 * 3)]),
    (nn.ConvTranspose2d(3, 6, (1, 2), groups=3), ROWS[None], [(6, 1 * 2)]),
    (nn.Embedding(5, 4), WORDS, [(5, 4)]),
    (First(nn.LSTM(4, 3)), ROWS, 4 * [(3, 4)] + 4 * [(3, 3)]),
    (First(nn.LSTM(4, 3, proj_size=2)), ROWS, 4 * [(3, 4)] + 4 * [(3, 2)] + [(2, 3)]),
    (First(nn.GRU(4, 3, bidirectional=True)), ROWS, 2 * (3 * [(3, 4)] + 3 * [(3, 3)])),
    (First(nn.RNN(4, 3)), ROWS, [(3, 4), (3, 3)]),
    (First(nn.Bilinear(4, 4, 5), 2), ROWS, [(5, 16)]),
]


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize(("layer", "x", "shapes"), FULL)
@pytest.mark.parametrize("rank", [0, 1, 2])
def test_no_matrix_of_any_layer_type_is_trained_in_full(layer, x, shapes, rank):
    layer = copy.deepcopy(layer)
    twin = low_rank(layer, rank, seed=0)
    assert torch.equal(twin(x), layer(x))  # the update starts at 0
    assert [tuple(w.shape) for w in neurons(layer).values()] == shapes
    vectors = sum(p.numel() for p in layer.parameters() if p.ndim == 1)
    factors = sum(min(rank, out, fan_in) * (out + fan_in) for out, fan_in in shapes)
    assert trained_parameters(twin) == vectors + factors
    if not trained_parameters(twin):
        return
    optimizer = torch.optim.SGD([p for p in twin.parameters() if p.requires_grad], lr=1.0)
    for _ in range(2):
        twin(x).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    after = neurons(twin)
    sizes = {name: torch.linalg.svdvals(after[name] - w) for name, w in neurons(layer).items()}
    assert all((size[rank:] < 1e-5 * (1 + size[0])).all() for size in sizes.values())
    if rank:
        assert all(size[0] > 1e-6 for size in sizes.values())
    torch.testing.assert_close(merged(twin)(x), twin(x), rtol=1e-5, atol=1e-6)


def test_a_parametrised_weight_is_not_called_a_low_rank_update():
    net = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)))
    with pytest.raises(ValueError, match=r"0 is parametrised by SpectralNorm \(weight\): give"):
        low_rank(net, 1, 0)


def patched():
    """A network whose forward was replaced, as one does to put a normalisation before it."""
    net = network()
    before = net.forward
    net.forward = lambda x: before(2 * x)
    return net


@pytest.mark.parametrize(
    "change",
    [
        lambda net: low_rank(net, 1, 0),
        lambda net: recalibrated(net, images()),
        lambda net: removed(net, network(1), 1.0),
        merged,
    ],
)
def test_a_forward_of_which_a_copy_would_not_be_one_is_refused(change):
    with pytest.raises(
        ValueError, match=r"whose forward is a function.* give a module whose class"
    ):
        change(patched())


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
def test_embeddings_of_sparse_gradients_are_trained(kind):
    torch.manual_seed(0)
    net, x = kind(9, 4, sparse=True), torch.tensor([[1, 2], [3, 3]])
    twin = low_rank(net, 2, 0)
    assert torch.equal(twin(x), net(x)) and net.sparse
    twin(x).square().sum().backward()
    assert any(p.grad.any() for p in twin.parameters() if p.grad is not None)
