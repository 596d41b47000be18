"""Nothing depends on what a user sets for all of torch: its default type and device, gradients,
determinism, precision of products, the global seed."""

import ast
import contextlib
from pathlib import Path

import pytest
import torch
from torch import nn

import fpcore
from fpcore.attacks import fgm, pgd, robust_correct
from fpcore.ball import Ball
from fpcore.certificates import certified_radius, certify
from fpcore.decomposition.ablation import removed
from fpcore.decomposition.feature_images import gaussian
from fpcore.decomposition.filter_spectra import scrambled
from fpcore.decomposition.purification import decompose, features
from fpcore.decomposition.relations import explained, layer_relations
from fpcore.images import Images
from fpcore.members import Member
from fpcore.models.batch_norm import recalibrated
from fpcore.models.convnet import ConvNet
from fpcore.models.low_rank_update import low_rank
from fpcore.models.outputs import accuracy
from fpcore.models.resnet import ResNet
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding
from fpcore.training import Training, train


@contextlib.contextmanager
def setting(put, value, before):
    put(value)
    try:
        yield
    finally:
        put(before)


TYPES = (torch.float64, torch.bfloat16, torch.float16)
SETTINGS = {
    **{f"{t}": lambda t=t: setting(torch.set_default_dtype, t, torch.float32) for t in TYPES},
    "meta": lambda: torch.device("meta"),
    "no gradients": lambda: torch.set_grad_enabled(False),
    "deterministic": lambda: setting(torch.use_deterministic_algorithms, True, False),
    "another seed": lambda: setting(torch.manual_seed, 12345, 0),
    "high": lambda: setting(torch.set_float32_matmul_precision, "high", "highest"),
}
LIKE = {"dtype": torch.float32, "device": "cpu"}


def rng(seed=0):
    return fpcore.generator(seed, "test")


def normal(*shape, seed=0):
    return torch.randn(shape, generator=rng(seed), **LIKE)


def pixels(n=6):
    x = torch.rand(n, 3, 32, 32, generator=rng(1), **LIKE)
    return Images(x, torch.arange(n, device="cpu") % 10, "random")


def network(kind=ConvNet, seed=0):
    """Drawn by the seed alone: torch's own layers draw where torch's default device is."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        return kind(1 / 16).eval()


def weights(net):
    return [*net.state_dict().values()]


def two_layer():
    data = SparseCoding(d=24, k=4, margin=1.0)
    x, y = data.test_set(10, 0)
    return TwoLayer(24, 30, 0.1, rng=rng()), x, y, data


DRAWS = {
    "features": lambda: [(d := SparseCoding(24, 4, 1.0)).features, d.w_star, d.u_star],
    "codes": lambda: [SparseCoding(24, 4, 1.0).codes(7, rng())],
    "samples": lambda: [one for i in range(6) for one in SparseCoding(24, 4, 1.0).batch(7, 0, i)],
    "more samples": lambda: [*SparseCoding(150, 12, 2.5, seed=3).batch(200, 1, 1)],
    "spread codes": lambda: [
        *SparseCoding(24, 4, 1.0, member=Member(magnitudes=(1, 3), weights=(1, 2))).batch(7, 0, 3)
    ],
    "bounded noise": lambda: [*SparseCoding(24, 4, 1.0, member=Member(bounded=0.3)).batch(7, 0, 3)],
    "images": lambda: [*pixels().batch(4, 0, 1)],
    "start, l2": lambda: [Ball("l2", 0.5).start(normal(4, 6), rng())],
    "start, linf": lambda: [Ball("linf", 0.5).start(normal(4, 6), rng())],
    "two layers": lambda: weights(TwoLayer(6, 5, 0.1, rng=rng())),
    "ConvNet": lambda: weights(network()),
    "ResNet": lambda: weights(network(lambda _: ResNet(1 / 64))),
    "low rank": lambda: weights(low_rank(network(), 2, seed=0)),
    "random filters": lambda: [scrambled(normal(4, 3, 5, 5), rng())],
    "what is removed": lambda: weights(removed(network(), network(seed=1), 1.0, control=rng())),
    "a kernel": lambda: [gaussian(1.0)],
}


def trained():
    net, _, _, data = two_layer()
    train(net, data, Training(steps=3, lr=0.1, batch=8, norm="l2", radius=0.1))
    return net.weight.detach()


def of_two_layers(measure):
    net, x, y, data = two_layer()
    return measure(net, x, y, data)


def of_images(measure):
    images = pixels()
    return measure(network(), images.x, images.y)


RESULTS = {
    "train": trained,
    "fgm": lambda: of_two_layers(lambda net, x, y, _: fgm(net, x, y, Ball("l2", 0.1))),
    "pgd": lambda: of_images(
        lambda net, x, y: pgd(net, x, y, Ball("l2", 0.1), steps=3, restarts=2, rng=rng())
    ),
    "robust_correct": lambda: of_images(
        lambda net, x, y: robust_correct(net, x, y, Ball("l2", 0.1), 2, 1, rng=rng())
    ),
    "accuracy": lambda: torch.tensor(of_images(accuracy), **LIKE),
    "certify": lambda: of_two_layers(lambda net, x, y, _: certify(net, x, y, 0.05).robust),
    "certified_radius": lambda: of_two_layers(lambda net, x, y, _: certified_radius(net, x, y)),
    "decompose": lambda: decompose(normal(5, 6), normal(5, 6, seed=1)).residual,
    "features": lambda: of_two_layers(
        lambda net, _x, _y, data: features(net.weight.detach(), data.features, data.u_star).purity
    ),
    "cosines": lambda: torch.cat([*layer_relations(network(), network(seed=1)).values()]),
    "explained": lambda: explained(
        network(), network(seed=1), pixels(6).x, normal(4, 3, 32, 32).sigmoid()
    )["conv1"],
    "recalibrated": lambda: recalibrated(network(), pixels().x).bn1.running_mean,
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_draws_are_the_same_to_the_bit(draw):
    before = draw()
    for name, put in SETTINGS.items():
        with put():
            after = draw()
        for one, two in zip(before, after, strict=True):
            assert one.dtype == two.dtype and torch.equal(one, two), name


@pytest.mark.filterwarnings("ignore::fpcore.alerts.EvaluationWarning")
@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
def test_results_are_the_same(result):
    before = result()
    for name, put in SETTINGS.items():
        with put():
            after = result()
        assert before.dtype == after.dtype, name
        close = {"rtol": 1e-2, "atol": 1e-2} if name == "high" else {"rtol": 1e-5, "atol": 1e-6}
        assert torch.allclose(before.double(), after.double(), **close), name


FLOATS = {"rand", "randn", "zeros", "ones", "empty", "full", "eye", "linspace", "logspace"}
FLOATS |= {"tensor", "normal", "scalar_tensor"}
WHOLE = {"randint", "randperm", "arange", "as_tensor", "asarray"}
OWN_DEVICE = {"convnet.py", "resnet.py"}  # networks are made on torch's default device, as others


def made(tree):
    """The calls of torch that make a tensor, with the names of what they are given."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of = node.func.value
            if isinstance(of, ast.Name) and of.id == "torch" and node.func.attr in FLOATS | WHOLE:
                yield node, {keyword.arg for keyword in node.keywords}


def test_each_tensor_that_is_made_names_its_type_and_device():
    missing = []
    for path in sorted(Path(fpcore.__file__).parent.rglob("*.py")):
        for node, named in made(ast.parse(path.read_text())):
            needed = {"device"} if node.func.attr in WHOLE else {"dtype", "device"}
            needed -= {"device"} if path.name in OWN_DEVICE else set()
            if None not in named and needed - named:
                missing.append(f"{path.name}:{node.lineno} {node.func.attr}")
    assert not missing


def test_the_networks_layers_are_float32():
    for net in (network(), network(lambda _: ResNet(1 / 64)), low_rank(network(), 1, seed=0)):
        assert all(p.dtype == torch.float32 for p in net.parameters())
        assert not [m for m in net.modules() if isinstance(m, nn.Dropout)]
