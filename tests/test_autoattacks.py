import pytest
import torch
from torch import nn

from fpcore import Ball, ConvNet, ResNet, autoattack
from fpcore.autoattacks import THREATS, frozen

BOX = (0.0, 1.0)


class Brightness(nn.Module):
    """A score a bin; the largest is that of the bin which the mean brightness falls in: its exact robustness is known."""

    def __init__(self, bins=10):
        super().__init__()
        self.centres = nn.Parameter((torch.arange(bins) + 0.5) / bins)

    def forward(self, x):
        return -100 * (x.flatten(1).mean(1)[:, None] - self.centres) ** 2


def images():
    """Eight images of even brightness: the first four in the middle of their bin, the others at its edge."""
    bright = torch.tensor([0.25, 0.35, 0.45, 0.55, 0.299, 0.399, 0.499, 0.599])
    return bright.view(-1, 1, 1, 1).expand(-1, 3, 8, 8).contiguous(), (bright * 10).long()


@pytest.mark.parametrize(("norm", "radius"), [("linf", 0.02), ("l2", 0.02 * (3 * 8 * 8) ** 0.5)])
def test_what_can_be_broken_is_broken_and_nothing_else(norm, radius, cache):
    x, y = images()
    survived = autoattack(net := Brightness(), x, y, Ball(norm, radius, BOX), chunk=5)
    assert survived.tolist() == [True] * 4 + [False] * 4
    assert net.training and net.centres.grad is None  # the network is left as it was


def test_of_fewer_than_ten_classes_all_wrong_ones_are_tried(cache):
    bright = torch.tensor([0.3, 0.5, 0.399, 0.599])  # of five bins: the middle of two, and the edge of two
    x = bright.view(-1, 1, 1, 1).expand(-1, 3, 8, 8).contiguous()
    survived = autoattack(Brightness(5), x, (bright * 5).long(), Ball("linf", 0.02, BOX))
    assert survived.tolist() == [True] * 2 + [False] * 2


@pytest.mark.parametrize("kind", [ConvNet, ResNet])
def test_the_copy_that_is_attacked_computes_the_same_with_less_batch_normalisation(kind):
    torch.manual_seed(0)
    net, x = kind(0.25), torch.rand(16, 3, 32, 32)
    net(x)  # in training mode, so that there are statistics to fold in
    twin = frozen(net)
    left = [sum(isinstance(module, nn.BatchNorm2d) for module in one.modules()) for one in (net, twin)]
    assert net.training and left[1] < left[0]
    assert not any(weight.requires_grad for weight in twin.parameters())
    torch.testing.assert_close(twin(x), net.eval()(x), atol=1e-4, rtol=1e-4)


def test_finished_chunks_are_not_attacked_again(cache, monkeypatch):
    x, y = images()
    ball, asked = Ball("linf", 0.02, BOX), []
    import fpcore.autoattacks as module

    def stop(net, a, b, ball, seed):
        if len(asked) == 1:
            raise KeyboardInterrupt
        asked.append(len(a))
        return torch.ones(len(a), dtype=torch.bool)

    monkeypatch.setattr(module, "_survivors", stop)
    with pytest.raises(KeyboardInterrupt):
        autoattack(Brightness(), x, y, ball, chunk=4)
    monkeypatch.setattr(module, "_survivors", lambda net, a, b, ball, seed: torch.zeros(len(a), dtype=torch.bool))
    assert autoattack(Brightness(), x, y, ball, chunk=4).tolist() == [True] * 4 + [False] * 4
    with torch.no_grad():
        (other := Brightness()).centres.mul_(1.01)
    assert not autoattack(other, x, y, ball, chunk=4).any()


def test_the_box_must_be_that_of_pixels(cache):
    x, y = images()
    with pytest.raises(ValueError, match="box = None"):
        autoattack(Brightness(), x, y, Ball("l2", 0.5))


class Scores(nn.Module):
    """Random scores of a function that its weights do not tell, nor torch.fx sees."""

    def __init__(self, activation=torch.relu, classes=10):
        super().__init__()
        self.activation, self.norm = activation, nn.BatchNorm2d(3)
        self.weight = nn.Parameter(torch.randn(192, classes, generator=torch.Generator().manual_seed(0)))

    def forward(self, x):
        if x.sum() < 0:
            raise ValueError("torch.fx cannot follow this")
        return self.activation(self.norm(x).flatten(1) @ self.weight)


def one_logit(x):
    return x[:, 0]


@pytest.mark.parametrize(
    ("net", "change", "says"),
    [
        (Scores(one_logit), lambda x, y: (x, y), r"gives \(8,\): AutoAttack wants scores of 4 classes"),
        (Scores(classes=3), lambda x, y: (x, y % 3), r"gives \(8, 3\)"),
        (Scores(), lambda x, y: (x[:0], y[:0]), "number of images = 0"),
        (Scores(), lambda x, y: (255 * x, y), "x spans"),
        (Scores(), lambda x, y: (x, y[:, None]), r"y is \(8, 1\)"),
    ],
)
def test_what_autoattack_cannot_attack_is_refused_before_any_work(net, change, says, cache):
    with pytest.raises(ValueError, match=says):
        autoattack(net, *change(*images()), Ball("l2", 0.5, BOX))
    assert not cache.exists()


@pytest.fixture
def counted(monkeypatch, cache):
    """The labels of each chunk that is attacked, in place of an attack."""
    seen = []
    monkeypatch.setattr(
        "fpcore.autoattacks._survivors", lambda net, a, b, ball, seed: seen.append(b) or torch.ones(len(a), dtype=torch.bool)
    )
    return seen


def test_outcomes_are_of_the_function_and_not_of_its_weights_alone(counted):
    (x, y), ball = images(), Ball("l2", 0.5, BOX)
    for activation, labels, attacked in [(torch.relu, y, 1), (torch.tanh, y, 2), (torch.tanh, y.int(), 2), (torch.relu, y, 2)]:
        autoattack(Scores(activation), x, labels, ball)
        assert len(counted) == attacked
    autoattack(Scores(), x.view(8, 3, 4, 16), y, ball)
    assert len(counted) == 3 and all(labels.dtype == torch.int64 for labels in counted)


@pytest.mark.parametrize(
    ("content", "says"),
    [("", "cannot be read"), ("[[true", "cannot be read"), ("[[true]]", "other chunks"), ("[1]", "other chunks")],
)
def test_damaged_outcomes_are_an_error_that_says_what_to_do(content, says, counted, cache):
    (x, y), ball = images(), Ball("l2", 0.5, BOX)
    autoattack(Brightness(), x, y, ball, chunk=4)
    (path,) = cache.glob("autoattack-*.json")
    path.write_text(content)
    with pytest.raises(ValueError, match=f"{path} .*{says}.*: delete it"):
        autoattack(Brightness(), x, y, ball, chunk=4)


def test_a_network_that_cannot_be_traced_is_attacked_as_it_is():
    net, (x, _) = Scores().eval(), images()
    assert torch.equal(frozen(net)(x), net(x))


def test_threats_are_those_of_the_field():
    assert [*THREATS.values()] == [("l2", 0.25), ("l2", 0.5), ("linf", 4 / 255), ("linf", 8 / 255)]
