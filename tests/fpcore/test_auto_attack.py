import pytest
import torch
from torch import nn

from fpcore import auto_attack as module
from fpcore.auto_attack import autoattack, frozen
from fpcore.ball import Ball
from fpcore.models.convnet import ConvNet
from fpcore.models.resnet import ResNet

BOX = (0.0, 1.0)


class Brightness(nn.Module):
    """A score a bin, the largest where the mean brightness falls: its robustness is known."""

    def __init__(self, bins=10):
        super().__init__()
        self.centres = nn.Parameter((torch.arange(bins) + 0.5) / bins)

    def forward(self, x):
        return -100 * (x.flatten(1).mean(1)[:, None] - self.centres) ** 2


def images():
    """Eight images of even brightness: four in the middle of their bin, four at its edge."""
    bright = torch.tensor([0.25, 0.35, 0.45, 0.55, 0.299, 0.399, 0.499, 0.599])
    return bright.view(-1, 1, 1, 1).expand(-1, 3, 8, 8).contiguous(), (bright * 10).long()


@pytest.mark.parametrize(("norm", "radius"), [("linf", 0.02), ("l2", 0.02 * (3 * 8 * 8) ** 0.5)])
def test_what_can_be_broken_is_broken_and_nothing_else(norm, radius):
    x, y = images()
    net = Brightness()
    survived = autoattack(net, x, y, Ball(norm, radius, BOX), chunk=5)
    assert survived.tolist() == [True] * 4 + [False] * 4
    assert net.training and net.centres.grad is None  # the network is left as it was


def test_of_fewer_than_ten_classes_all_wrong_ones_are_tried():
    bright = torch.tensor([0.3, 0.5, 0.399, 0.599])  # two in the middle of a bin, two at an edge
    x = bright.view(-1, 1, 1, 1).expand(-1, 3, 8, 8).contiguous()
    survived = autoattack(Brightness(5), x, (bright * 5).long(), Ball("linf", 0.02, BOX))
    assert survived.tolist() == [True] * 2 + [False] * 2


@pytest.mark.parametrize("kind", [ConvNet, ResNet])
def test_the_copy_that_is_attacked_computes_the_same_with_less_batch_normalisation(kind):
    torch.manual_seed(0)
    net, x = kind(0.25), torch.rand(16, 3, 32, 32)
    net(x)  # in training mode, so that there are statistics to fold in
    twin = frozen(net, x)
    before, after = (
        [module for module in one.modules() if isinstance(module, nn.BatchNorm2d)]
        for one in (net, twin)
    )
    assert net.training and len(after) < len(before)
    assert not any(weight.requires_grad for weight in twin.parameters())
    torch.testing.assert_close(twin(x), net.eval()(x), atol=1e-4, rtol=1e-4)


@pytest.fixture
def counted(monkeypatch):
    """The labels of each chunk that is attacked, in place of an attack that breaks nothing."""
    seen = []

    def attack(net, x, y, ball, seed):
        seen.append(y)
        return torch.ones(len(y), dtype=torch.bool)

    monkeypatch.setattr(module, "_attack", attack)
    return seen


def test_finished_chunks_that_were_kept_are_not_attacked_again(tmp_path, counted, monkeypatch):
    (x, y), ball, keep = images(), Ball("linf", 0.02, BOX), tmp_path / "kept.json"

    def once(*_):
        if counted:
            raise KeyboardInterrupt
        counted.append(1)
        return torch.ones(4, dtype=torch.bool)

    monkeypatch.setattr(module, "_attack", once)
    with pytest.raises(KeyboardInterrupt):
        autoattack(Brightness(), x, y, ball, chunk=4, keep=keep)
    monkeypatch.setattr(module, "_attack", lambda *_: torch.zeros(4, dtype=torch.bool))
    right = autoattack(Brightness(), x, y, ball, chunk=4, keep=keep)
    assert right.tolist() == [True] * 4 + [False] * 4


def test_nothing_is_kept_unless_a_file_is_named(tmp_path, counted, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FPCORE_CACHE", str(tmp_path / "cache"))
    for times in (1, 2):
        autoattack(Brightness(), *images(), Ball("linf", 0.02, BOX))
        assert len(counted) == times
    assert not any(tmp_path.iterdir())


class Rounded(Brightness):
    """The same weights and the same answers on images, by other code."""

    def forward(self, x):
        return super().forward((x * 50).round() / 50)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"net": Rounded()}, "scores of the network"),
        ({"y": torch.zeros(8, dtype=torch.long)}, "images"),
        ({"ball": Ball("linf", 0.03, BOX)}, "ball"),
        ({"seed": 1}, "seed"),
        ({"chunk": 3}, "chunk"),
    ],
)
def test_a_kept_file_never_answers_for_another_evaluation(change, says, tmp_path, counted):
    x, y = images()
    given = {"net": Brightness(), "x": x, "y": y, "ball": Ball("linf", 0.02, BOX), "chunk": 4}
    keep = tmp_path / "kept.json"
    autoattack(**given, keep=keep)
    before = keep.read_bytes()
    error = rf"kept.json is of another evaluation \(.*{says}.*give another"
    with pytest.raises(ValueError, match=error):
        autoattack(**(given | change), keep=keep)
    assert keep.read_bytes() == before


@pytest.mark.parametrize("content", ["", "[[true", "[[true]]", '{"scores": [1]}'])
def test_a_damaged_file_is_an_error_that_says_what_to_do(content, tmp_path, counted):
    (tmp_path / "kept.json").write_text(content)
    with pytest.raises(ValueError, match=r"kept.json cannot be read .*: delete it to begin anew"):
        autoattack(Brightness(), *images(), Ball("l2", 0.5, BOX), keep=tmp_path / "kept.json")


def test_the_box_must_be_that_of_pixels():
    x, y = images()
    with pytest.raises(ValueError, match="box = None"):
        autoattack(Brightness(), x, y, Ball("l2", 0.5))


class Scores(nn.Module):
    """Random scores of a function that its weights do not tell, nor torch.fx sees."""

    def __init__(self, activation=torch.relu, classes=10):
        super().__init__()
        self.activation = activation
        self.norm = nn.BatchNorm2d(3)
        rng = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(192, classes, generator=rng))

    def forward(self, x):
        if x.sum() < 0:
            raise ValueError("torch.fx cannot follow this")
        return self.activation(self.norm(x).flatten(1) @ self.weight)


def one_logit(x):
    return x[:, 0]


@pytest.mark.parametrize(
    ("net", "change", "says"),
    [
        (Scores(one_logit), lambda x, y: (x, y), r"gives \(8,\): give one with scores of 4"),
        (Scores(classes=3), lambda x, y: (x, y % 3), r"gives \(8, 3\)"),
        (Scores(), lambda x, y: (x[:0], y[:0]), "x holds 0 samples"),
        (Scores(), lambda x, y: (255 * x, y), "x spans"),
        (Scores(), lambda x, y: (x, y[:, None]), r"y is \(8, 1\)"),
        (
            Scores(),
            lambda x, y: (x, y + 0.5),
            "y is torch.float32: give class numbers, torch.int64",
        ),
        (
            Scores(),
            lambda x, y: (x, y * torch.nan),
            "y is torch.float32: give class numbers, torch.int64",
        ),
    ],
)
def test_what_autoattack_cannot_attack_is_refused_before_any_work(net, change, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        autoattack(net, *change(*images()), Ball("l2", 0.5, BOX), keep=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_a_network_that_cannot_be_traced_is_attacked_as_it_is():
    net, (x, _) = Scores().eval(), images()
    assert torch.equal(frozen(net, x)(x), net(x))


def test_a_hook_of_the_network_acts_in_its_copy_as_well():
    torch.manual_seed(0)
    net, x = ConvNet(1 / 8).eval(), torch.rand(4, 3, 32, 32)
    net.register_forward_pre_hook(lambda _, given: (1 - given[0],))
    assert torch.equal(frozen(net, x)(x), net(x))


def test_autoattack_works_in_inference_mode():
    net = Brightness()
    with torch.inference_mode():
        x, y = images()
        survived = autoattack(net, x, y, Ball("linf", 0.02, BOX))
    assert survived.tolist() == [True] * 4 + [False] * 4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_of_other_precisions_are_attacked_in_float32_and_judged_in_their_own(
    dtype, tmp_path
):
    x, y = images()
    seen = []

    class Recorded(Brightness):
        def forward(self, x):
            if not isinstance(x, torch.fx.Proxy):
                seen.append((x.dtype, self.centres.dtype))
            return super().forward(x)

    net, ball = Recorded().to(dtype), Ball("linf", 0.02, BOX)
    for _ in range(2):  # what was kept is found again
        survived = autoattack(net, x.to(dtype), y, ball, keep=tmp_path / "kept")
        assert survived.tolist() == [True] * 4 + [False] * 4
    assert set(seen) == {(dtype, dtype), (torch.float32, torch.float32)}
    assert net.centres.dtype == dtype
