"""What attacks, accuracies and certificates refuse before any work, and all in the same way."""

import math
import warnings

import pytest
import torch

from fpcore.alerts import BatchWarning, RandomWarning
from fpcore.attacks import fgm, pgd, robust_accuracy, robust_correct
from fpcore.auto_attack import autoattack
from fpcore.ball import Ball
from fpcore.certificates import certified_accuracy, certified_radius, certify
from fpcore.models.convnet import ConvNet
from fpcore.models.outputs import accuracy, classified, correct
from fpcore.models.two_layer import TwoLayer
from fpcore.training import Training, train

BALL = Ball("l2", 0.1)
OF_A_BALL = [
    lambda net, x, y: fgm(net, x, y, BALL),
    lambda net, x, y: pgd(net, x, y, BALL, steps=2),
    lambda net, x, y: robust_correct(net, x, y, BALL, steps=2, restarts=1),
]
OF_ANY = [*OF_A_BALL, classified, accuracy]
CERTIFIED = [lambda net, x, y: certify(net, x, y, 0.1), certified_radius]
PIXELS = Ball("l2", 0.1, (0.0, 1.0))
AUTO = [lambda net, x, y: autoattack(net, x, y, PIXELS)]


def vectors():
    return TwoLayer(6, 5), torch.rand(8, 6), torch.tensor([1.0, -1.0]).repeat(4)


def images():
    return ConvNet(1 / 16), torch.rand(8, 3, 32, 32), torch.arange(8)


class Squeezed(torch.nn.Module):
    """One logit a sample, squeezed from (n, 1): none is left of a batch of one."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(6, 1)

    def forward(self, x):
        return self.linear(x).squeeze()


class Reduced(Squeezed):
    def forward(self, x):
        return self.linear(x).squeeze(1)[:1]


def a_sample_not_finite(x, value):
    x = x.clone()
    x[2].view(-1)[0] = value
    return x


@pytest.mark.parametrize("call", [*OF_ANY, *CERTIFIED])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x, y: (x, (y + 1) / 2), r"y holds \[0.0\]: give labels -1 and \+1"),
        (lambda x, y: (x, y > 0), r"y holds \[False\]: give labels -1 and \+1"),
        (lambda x, y: (x, (y * y).bool()), r"y is torch.bool: give labels -1 and \+1"),
        (lambda x, y: (x, y[:, None]), r"y is \(8, 1\): give one label a sample, \(8,\)"),
        (lambda x, y: (x, y[:7]), r"y is \(7,\): give one label a sample, \(8,\)"),
        (lambda x, y: (x[0], y[0]), r"x is \(6,\): give samples \(n, ...\), x\[None\]"),
        (lambda x, y: (x.long(), y), r"x is torch.int64: give floats"),
        (lambda x, y: (a_sample_not_finite(x, math.nan), y), "not finite .* in 1 of 8 samples"),
        (lambda x, y: (a_sample_not_finite(x, math.inf), y), "not finite .* in 1 of 8 samples"),
    ],
)
def test_what_is_no_sample_or_label_of_one_logit_is_named(call, change, says):
    net, x, y = vectors()
    call(net, x, y)
    with pytest.raises(ValueError, match=says):
        call(net, *change(x, y))


@pytest.mark.parametrize("call", [*OF_ANY, *AUTO])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x, y: (x, y + 3), "y holds classes 3 to 10: the network has scores of 0 to 9"),
        (lambda x, y: (x, y - 1), "y holds classes -1 to 6"),
        (lambda x, y: (x, y[:, None]), r"y is \(8, 1\): give one label a sample, \(8,\)"),
        (
            lambda x, y: ((255 * x).byte(), y),
            r"x is torch.uint8: give floats .*/ 255|x spans 0 to 25",
        ),
        (lambda x, y: (a_sample_not_finite(x, math.nan), y), "nan|not finite"),
    ],
)
def test_what_is_no_sample_or_label_of_classes_is_named(call, change, says):
    net, x, y = images()
    if call in OF_A_BALL or call in AUTO:
        net.forward = asked_once(net.forward)
    with pytest.raises(ValueError, match=says):
        call(net, *change(x, y))


def asked_once(forward):
    """The network before the work has begun: it is tried out once, without gradients."""
    calls = []

    def counted(x):
        calls.append(torch.is_grad_enabled())
        assert calls == [False]
        return forward(x)

    return counted


@pytest.mark.parametrize("call", [*OF_ANY, *AUTO])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int32])
def test_class_numbers_of_another_type_are_named(call, dtype):
    net, x, y = images()
    with pytest.raises(ValueError, match=rf"y is {dtype}: give class numbers, torch.int64"):
        call(net, x, y.to(dtype))


@pytest.mark.parametrize("call", [*OF_A_BALL[1:], OF_A_BALL[0], accuracy])
@pytest.mark.parametrize("count", [1, 5])
def test_a_model_of_another_number_of_outputs_is_blamed_and_not_the_labels(call, count):
    x, y = torch.rand(count, 6), torch.ones(count)
    net = Squeezed() if count == 1 else Reduced()
    says = r"the model gives outputs .* samples: .*squeeze\(1\)"
    with pytest.raises(ValueError, match=says):
        call(net, x, y)


@pytest.mark.parametrize("call", OF_A_BALL[1:])
def test_a_model_that_squeezes_is_refused_before_one_sample_survives(call):
    with pytest.raises(ValueError, match=r"outputs \(\) for 1 samples: .*\.squeeze\(\) also drops"):
        call(Squeezed(), torch.rand(5, 6), torch.ones(5))


def test_one_column_of_scores_is_no_class():
    net = torch.nn.Linear(6, 1)
    with pytest.raises(ValueError, match=r"outputs \(5, 1\): it must give one logit a sample"):
        accuracy(net, torch.rand(5, 6), torch.zeros(5, dtype=torch.long))


def test_a_share_of_no_samples_is_an_error():
    net, x, y = vectors()
    none = net, x[:0], y[:0]
    assert classified(*none).shape == (0,)
    for share in (
        accuracy,
        lambda *given: robust_accuracy(*given, BALL),
        lambda *given: certified_accuracy(*given, 0.1),
    ):
        with pytest.raises(ValueError, match="x holds 0 samples"):
            share(*none)


def test_labels_may_be_integers_and_correct_needs_no_model():
    net, x, y = vectors()
    assert torch.equal(classified(net, x, y.long()), correct(net(x), y))


def test_training_names_samples_that_are_not_finite_before_the_first_step():
    net, x, y = vectors()
    data = type("Data", (), {"batch": lambda *_: (a_sample_not_finite(x, math.nan), y)})()
    with pytest.raises(ValueError, match=r"x is not finite .* in 1 of 8 samples"):
        train(net, data, Training(steps=1, lr=0.1))


@pytest.mark.parametrize("chunk", [0, -1, 2.5])
def test_a_bad_chunk_is_named(chunk):
    net, x, y = vectors()
    for call in (accuracy, lambda *given, chunk: robust_correct(*given, BALL, chunk=chunk)):
        with pytest.raises(ValueError, match=f"chunk = {chunk}"):
            call(net, x, y, chunk=chunk)


class OfBatch(torch.nn.Linear):
    """Scores less their mean over the batch, or with noise that nobody seeds."""

    def __init__(self, noise):
        super().__init__(6, 3)
        self.noise = noise

    def forward(self, x):
        scores = super().forward(x)
        return scores + torch.rand(()) if self.noise else scores - scores.mean(0)


@pytest.mark.parametrize("call", OF_ANY)
@pytest.mark.parametrize(("noise", "kind"), [(True, RandomWarning), (False, BatchWarning)])
@pytest.mark.parametrize("count", [2, 3, 8])
@pytest.mark.filterwarnings("ignore::fpcore.alerts.ZeroGradientWarning")  # of the last sample
def test_a_model_that_is_random_or_looks_at_its_batch_is_a_warning(call, noise, kind, count):
    with pytest.warns(kind):
        call(OfBatch(noise), torch.rand(count, 6), torch.arange(count) % 3)


@pytest.mark.filterwarnings("ignore::fpcore.alerts.EvaluationWarning")
@pytest.mark.filterwarnings("error::fpcore.alerts.GradientWarning")
@pytest.mark.parametrize("call", OF_ANY)
def test_a_large_sum_of_samples_is_no_infinity(call):
    """It overflows, though each number is finite."""
    x = torch.rand(8, 6).half() + 3e4
    net = torch.nn.Linear(6, 3).half()
    torch.nn.init.constant_(net.weight, 1e-4)
    assert x.sum().isinf()
    call(net, x, torch.arange(8) % 3)


@pytest.mark.parametrize("call", OF_A_BALL)
@pytest.mark.parametrize(
    ("ball", "dtype"),
    [
        (Ball("l2", 1e300), torch.float32),
        (Ball("linf", 1e300), torch.float32),
        (Ball("linf", 6e4), torch.float16),
        (Ball("l2", 0.1, (0.0, 1e308)), torch.float32),
        (Ball("l2", 0.1, (-1e308, 1.0)), torch.float32),
    ],
    ids=str,
)
def test_a_ball_beyond_the_type_of_the_samples_is_named(call, ball, dtype, monkeypatch):
    monkeypatch.setitem(globals(), "BALL", ball)
    net, x, y = vectors()
    with pytest.raises(ValueError, match=rf"(radius|box) = .* is too large for x.*{dtype}: give"):
        call(net.to(dtype), x.to(dtype), y)


class Scaled(torch.nn.Module):
    """Scores of samples that it scales first, in their place."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(6, 3)

    def forward(self, x):
        return self.linear(x.mul_(0.5))


def classes():
    return torch.rand(8, 6), torch.arange(8) % 3


IN_BOX = [*OF_ANY, lambda net, x, y: train(net, [(x, y)], Training(steps=1, lr=0.1))]


@pytest.mark.parametrize("call", IN_BOX)
@pytest.mark.parametrize("net", [Scaled(), torch.nn.Sequential(torch.nn.ReLU(inplace=True))])
def test_a_model_that_writes_into_its_input_is_named_and_the_samples_stay(call, net):
    x, y = classes()
    net = torch.nn.Sequential(net, torch.nn.LazyLinear(3))
    net(x.clone())
    given = (x - 0.5).clone()
    with pytest.raises(ValueError, match=r"the model writes into .*x\.clone\(\).*inplace=False"):
        call(net, given, y)
    assert torch.equal(given, x - 0.5)


@pytest.mark.parametrize("call", IN_BOX)
def test_a_lazy_network_is_named_with_the_way_to_its_weights(call):
    with pytest.raises(ValueError, match=r"model: weight has no values yet, .*run the network"):
        call(torch.nn.LazyLinear(3), *classes())


@pytest.mark.parametrize("call", OF_ANY)
def test_floats_of_eight_bits_are_named(call):
    x, y = classes()
    net = torch.nn.Linear(6, 3)
    with pytest.raises(ValueError, match=r"x is torch\.float8_e4m3fn, .*x\.float\(\)"):
        call(net, x.to(torch.float8_e4m3fn), y)
    with pytest.raises(ValueError, match=r"weight is torch\.float8_e5m2, .*model\.float\(\)"):
        call(net.to(torch.float8_e5m2), x, y)


@pytest.mark.parametrize("call", OF_ANY)
def test_outputs_on_another_device_are_named(call):
    net = torch.nn.Linear(6, 3)
    net.register_forward_hook(lambda module, given, output: output.to("meta"))
    with pytest.raises(ValueError, match="the model gives outputs on meta for samples on cpu"):
        call(net, *classes())


@pytest.mark.parametrize("call", OF_ANY)
def test_scores_of_a_finer_type_than_the_network_are_no_batch_dependence(call):
    net = torch.nn.Sequential(torch.nn.Linear(6, 500), torch.nn.ReLU(), torch.nn.Linear(500, 3))
    net.register_forward_hook(lambda module, given, output: output.double())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call(net, *classes())


@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16])
def test_the_default_type_of_torch_changes_nothing(default):
    torch.manual_seed(0)
    (net, *given), pictures = (torch.nn.Linear(6, 3), *classes()), images()

    def found():
        rng = torch.Generator().manual_seed(0)
        return [
            robust_correct(net, *given, BALL, steps=4, rng=rng).tolist(),
            pgd(net, *given, BALL, steps=4).tolist(),
            autoattack(pictures[0], pictures[1][:2], pictures[2][:2], PIXELS).tolist(),
        ]

    before = found()
    torch.set_default_dtype(default)
    try:
        assert found() == before
    finally:
        torch.set_default_dtype(torch.float32)
