"""What a neuron is in each kind of layer, how networks are read, and what is said of the rest."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from fpcore.decomposition.ablation import removed, swapped
from fpcore.decomposition.layers import neurons, paired, switched_on
from fpcore.decomposition.preactivations import preactivation
from fpcore.decomposition.purification import decompose
from fpcore.decomposition.relations import (
    LeftOutWarning,
    explained,
    hidden_medians,
    layer_relations,
    same_neuron,
)
from fpcore.models.acting import copied, merged
from fpcore.models.resnet import ResNet
from fpcore.models.rows import Rows, add_layer_type


class HeadFirst(nn.Module):
    """A network whose layers are registered the other way round."""

    def __init__(self, inplace=False):
        super().__init__()
        self.head, self.second = nn.Linear(6, 3), nn.Linear(8, 6)
        self.first = nn.Linear(4, 8)
        self.relu = nn.ReLU(inplace=inplace)

    def forward(self, x):
        return self.head(self.relu(self.second(self.relu(self.first(x)))))


class Branching(HeadFirst):
    """The same, which torch.fx cannot trace."""

    def forward(self, x):
        return super().forward(x) if x.sum() > -1e9 else x


def near(net, seed=0, size=0.1):
    rng, twin = torch.Generator().manual_seed(seed), copied(net)
    with torch.no_grad():
        for p in twin.parameters():
            p += size * p.std() * torch.randn(p.shape, generator=rng).to(p)
    return twin


def rows(count=60, seed=0):
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", [HeadFirst, Branching])
def test_layers_stand_as_data_meet_them_and_the_scores_last(kind):
    net, x = kind(), rows(2)
    assert [*neurons(net, x)] == ["first", "second", "head"]
    assert neurons(net, x).head == "head"
    assert neurons(net, x).coverage.order == "as data meets them"
    if kind is Branching:
        found = neurons(net)
        assert found.coverage.order == "as registered"
        assert "give x" in found.coverage.notes[0]


@pytest.mark.parametrize("kind", [HeadFirst, Branching])
@pytest.mark.parametrize("inplace", [False, True])
def test_what_is_explained_depends_neither_on_inplace_nor_on_registration(kind, inplace):
    torch.manual_seed(0)
    net = HeadFirst()
    other = near(net)
    expected = explained(net, other, rows(), rows(seed=1))
    twins = []
    for one in (net, other):
        twin = kind(inplace)
        twin.load_state_dict(one.state_dict())
        twins.append(twin)
    found = explained(*twins, rows(), rows(seed=1))
    assert [*found] == ["first", "second"]
    for layer, shares in found.items():
        torch.testing.assert_close(shares, expected[layer])
        assert (shares > 0.8).all()


def test_nothing_is_said_of_layers_with_too_few_positions_and_they_are_named():
    net = HeadFirst()
    with pytest.warns(LeftOutWarning, match="nothing is said of first: "):
        found = explained(net, near(net), rows(8), rows(8, seed=1))
    assert [*found] == ["second"]


def test_the_gates_of_recurrent_layers_are_named_where_nothing_is_said_of_them():
    net = nn.Sequential(nn.Linear(4, 5), nn.LSTM(5, 3))
    with pytest.warns(LeftOutWarning, match=r"1\.weight_ih_l0\.input"):
        assert [*explained(net, near(net), rows(), rows(seed=1))] == ["0"]


def test_attention_is_three_matrices_whose_preactivations_are_seen():
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, dropout=0.0)
    net = nn.Sequential(block, nn.Flatten(), nn.Linear(24, 3)).eval()
    x = torch.randn(5, 3, 8)
    query, key, value = block.self_attn.in_proj_weight.detach().chunk(3)
    found = neurons(net)
    parts = [f"0.self_attn.{part}" for part in ("query", "key", "value", "out_proj")]
    assert [*found] == [*parts, "0.linear1", "0.linear2", "2"]
    assert torch.equal(found[parts[0]], query) and torch.equal(found[parts[2]], value)
    assert found.rows[parts[1]].heads == 2
    seen = preactivation(net, parts[1], x)
    biases = block.self_attn.in_proj_bias.detach()[8:16]
    torch.testing.assert_close(seen, (x @ key.T + biases).movedim(-1, 1))
    whole = net[0].self_attn(x, x, x)[0].movedim(-1, 1)
    torch.testing.assert_close(preactivation(net, parts[3], x), whole)
    assert [*explained(net, near(net), x.repeat(9, 1, 1) + 0.1 * torch.randn(45, 3, 8), x)] == [
        *parts,
        "0.linear1",
        "0.linear2",
    ]


def test_a_neuron_is_a_row_of_what_multiplies_the_input():
    lstm, embedding = nn.LSTM(4, 3), nn.Embedding(5, 2)
    found = neurons(nn.Sequential(embedding, nn.Linear(2, 4), lstm))
    assert torch.equal(found["0"], embedding.weight.detach())
    each = [found[f"2.weight_hh_l0.{gate}"] for gate in ("input", "forget", "cell", "output")]
    assert torch.equal(torch.cat(each), lstm.weight_hh_l0.detach())
    x = torch.randn(2, 6, 5, 5)
    for groups in (1, 2, 3):
        layer = nn.ConvTranspose2d(6, 12, 3, groups=groups, bias=False)
        w = neurons(layer)[""]
        assert w.shape == (12, 6 // groups * 9)
        # A neuron alone gives the channel that it gives in the layer.
        silent = merged(layer)
        where = neurons(silent)
        where.write("", torch.cat([torch.zeros(7, w.shape[1]), w[7:8], torch.zeros(4, w.shape[1])]))
        out = silent(x)
        torch.testing.assert_close(out[:, 7], layer(x)[:, 7])
        assert (out[:, :7] == 0).all() and (out[:, 8:] == 0).all()


def test_tied_weights_are_one_layer_and_v_is_taken_out_once():
    def tied(seed):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 2))
        net[2].weight = net[0].weight
        return net

    net, other = tied(0), tied(1)
    found = neurons(net)
    assert [*found] == ["0", "3"] and found.coverage.tied == {"2": "0"}
    assert found.coverage.share == 1.0
    gone = removed(net, other, 1.0)
    pure = decompose(net[0].weight.detach(), other[0].weight.detach()).pure
    torch.testing.assert_close(gone[0].weight, pure)
    assert gone[2].weight is gone[0].weight


def test_a_parameter_that_is_tied_by_its_memory_counts_once_as_well():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    net[1].weight.data = net[0].weight.data.t()  # the transposed matrix, in the same memory
    assert neurons(net).coverage.tied == {"1": "0"}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    "norm",
    [
        torch.nn.utils.weight_norm,
        torch.nn.utils.spectral_norm,
        torch.nn.utils.parametrizations.weight_norm,
        torch.nn.utils.parametrizations.spectral_norm,
        torch.nn.utils.parametrizations.orthogonal,
        lambda layer: prune.l1_unstructured(layer, "weight", 0.3),
    ],
)
def test_parametrised_weights_are_read_and_changed_as_they_act(norm):
    torch.manual_seed(0)
    net, other = (nn.Sequential(norm(nn.Linear(4, 4)), nn.Linear(4, 2)) for _ in range(2))
    with torch.no_grad():
        for name, p in net[0].named_parameters():
            if name.endswith(("_g", "original0")):
                p *= 3  # what an old weight norm has in `weight` is out of date now
    net(rows())  # in training mode, so that what is kept of this run is no leaf
    net.eval()
    acts = net[0](torch.eye(4)).T.detach() - net[0].bias.detach()[:, None]
    torch.testing.assert_close(neurons(net)["0"], acts)
    assert neurons(net).coverage.share == 1.0
    state = {key: value.clone() for key, value in net.state_dict().items()}
    gone = removed(net, other, 1.0)
    pure = decompose(acts, neurons(other)["0"]).pure
    torch.testing.assert_close(gone[0](torch.eye(4)).T - net[0].bias[:, None], pure)
    exchanged = swapped(net, other, rows())
    torch.testing.assert_close(neurons(exchanged)["0"], neurons(other)["0"])
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in state.items())


@pytest.mark.parametrize("affine", [True, False])
def test_a_normalisation_without_scales_or_with_zeros_is_no_obstacle(affine):
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=affine), nn.Flatten(), nn.Linear(16, 2)
    )
    on = switched_on(net)
    assert on["0"].all() and on["3"].all()
    if affine:
        nn.init.zeros_(net[1].weight)
        relations = layer_relations(net, near(net, size=0.0))
        assert len(relations["0"]) == 0 and len(relations["3"]) == 2
        with pytest.raises(ValueError, match="no hidden neuron is switched on"):
            hidden_medians(relations)
        with pytest.raises(ValueError, match="no hidden neuron is switched on"):
            same_neuron(net, net)


def test_zero_scales_of_residual_branches_leave_the_other_layers_medians():
    net = ResNet(width=0.125)
    for name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d) and name.endswith("bn2"):
            nn.init.zeros_(module.weight)
    medians = hidden_medians(layer_relations(net, near(net, size=1e-3)))
    assert medians and all(0.9 < value <= 1 for value in medians)


def test_wrappers_are_looked_through_and_do_not_show_in_names():
    net = HeadFirst()
    other = near(net)
    plain = layer_relations(net, other)
    for wrapped in (nn.DataParallel(net), torch.compile(net), torch.compile(nn.DataParallel(net))):
        found = layer_relations(wrapped, other)
        assert [*found] == [*plain]
        assert all(torch.equal(cos, plain[layer]) for layer, cos in found.items())
    inside = nn.Sequential(torch.compile(net), nn.Linear(3, 2))
    assert [*neurons(inside)] == ["0.first", "0.second", "0.head", "1"]


class Kernel(nn.Module):
    """A layer of somebody's own, with a matrix (fan-in, neurons)."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(4, 3))

    def forward(self, x):
        return x @ self.kernel


def test_an_unknown_layer_type_is_named_until_it_is_added():
    class Own(Kernel):
        pass

    net = nn.Sequential(Own(), nn.Linear(3, 2))
    assert neurons(net).coverage.left_out == {"0.kernel": 12}
    assert neurons(net).coverage.share == pytest.approx(6 / 18)
    add_layer_type(Own, {"": Rows("kernel", axis=1)})
    assert torch.equal(neurons(net)["0"], net[0].kernel.detach().T)
    assert neurons(net).coverage.share == 1.0
    with pytest.raises(ValueError, match=r"give a subclass of torch.nn.Module"):
        add_layer_type("Own", {"": Rows("kernel")})
    with pytest.raises(ValueError, match=r"fpcore.models.Rows"):
        add_layer_type(Own, {"": "kernel"})


def test_a_layer_whose_forward_is_its_own_is_named():
    class Scaled(nn.Linear):
        def forward(self, x):
            return super().forward(x) / self.weight.norm()

    assert (
        "Scaled: its forward may change" in neurons(nn.Sequential(Scaled(2, 3))).coverage.notes[0]
    )
    assert not neurons(nn.Sequential(nn.Linear(2, 3))).coverage.notes


def test_networks_that_do_not_match_are_named_by_layer_and_shapes():
    one = HeadFirst()
    with pytest.raises(ValueError, match="layer first is in one network only"):
        paired(one, nn.Sequential(nn.Linear(4, 8)))
    wide = HeadFirst()
    wide.second = nn.Linear(8, 7)
    with pytest.raises(ValueError, match=r"layer second is \(6, 8\) against \(7, 8\)"):
        paired(one, wide)
    with pytest.raises(ValueError, match="ReLU has no layer with neurons"):
        paired(nn.ReLU(), nn.ReLU())
    with pytest.raises(ValueError, match=r"model = 3: give a torch.nn.Module"):
        neurons(3)
    with pytest.raises(ValueError, match="weight of a LazyLinear has no values yet"):
        neurons(nn.Sequential(nn.LazyLinear(3)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [1.0, 1e-3, 300.0])
def test_measures_are_those_of_float64_in_every_precision(dtype, scale):
    torch.manual_seed(0)
    net, other = HeadFirst(), HeadFirst()
    with torch.no_grad():
        for p in [*net.parameters(), *other.parameters()]:
            p *= scale
    low = net.to(dtype), other.to(dtype)
    exact = [copied(one).double() for one in low]
    for layer, cos in layer_relations(*low).items():
        torch.testing.assert_close(cos.double(), layer_relations(*exact)[layer], atol=1e-6, rtol=0)
        assert cos.dtype in (torch.float32, torch.float64)
    gone = removed(*low, 1.0)
    pure = neurons(removed(*exact, 1.0))["second"]
    slack = torch.finfo(dtype).eps * pure.abs().max().item()
    torch.testing.assert_close(neurons(gone)["second"].double(), pure, atol=slack, rtol=0)
