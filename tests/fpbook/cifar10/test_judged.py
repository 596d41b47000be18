"""Our evaluation beside AutoAttack's: records by hand, kept, and refused where they would lie."""

import pytest
import torch
from cifar10_networks import family, near, random_images

from fpbook.cifar10 import judged
from fpbook.cifar10.judgements import judgements
from fpbook.results import publish, record, table
from fpbook.results.store import published
from fpcore.images import Images
from fpcore.models.outputs import classified

CPU = torch.device("cpu")
COUNT = 12  # images, all of which the clean network gets right


@pytest.fixture
def nets():
    return {name: net for name, net in family().items() if name in ("clean", "purified")}


@pytest.fixture
def images(nets):
    """Images whose labels are what the clean network says."""
    x = random_images(COUNT).x
    with torch.no_grad():
        return Images(x, nets["clean"](x).argmax(1), "random")


@pytest.fixture
def published_outcomes(results):
    """A function that publishes AutoAttack's outcomes of the clean network: what withstood."""

    def write(right, setting=f"{COUNT} images of random", threat="l2 0.5"):
        share = record("autoattack_accuracy", right.float().mean().item(), "clean", threat=threat)
        arrays = {f"seed 0, clean/{threat}": right}
        publish("cifar10-robustness", table([share], seed=0), "full", CPU, setting, arrays)

    return write


@pytest.fixture
def toy(nets, images, cache, monkeypatch):
    """Both evaluations leave known images right; the calls of each are counted."""
    calls = []

    def ours(net, x, y, ball, rng):
        calls.append("ours")
        return classified(net, x, y) & (torch.arange(len(x)) % 2 == 0)

    def theirs(net, x, y, ball):
        calls.append("theirs")
        return classified(net, x, y) & (torch.arange(len(x)) % 2 == 1)

    monkeypatch.setattr(judged, "robust_correct", ours)
    monkeypatch.setattr(judged, "autoattack", theirs)
    monkeypatch.setattr(
        judged,
        "published_of",
        lambda architecture, seed: nets if seed == 0 else {"clean": near(nets["clean"], 1e-6, 1)},
    )
    monkeypatch.setattr(judged, "load_cifar10", lambda *_: (images, images))
    monkeypatch.setattr(judged, "RUN_BESIDE", (("resnet18", (0, 1)),))
    monkeypatch.setattr(judged, "NETWORKS_BESIDE", ("clean",))
    monkeypatch.setattr(judged, "THREATS_BESIDE", ("linf 4/255",))
    return calls


def test_the_command_publishes_what_is_between_both_and_goes_on_where_it_was(
    toy, published_outcomes, results, capsys
):
    withstood = torch.arange(COUNT) % 4 != 3  # 3 of 4, and ours leaves 2 of 4: the even ones
    published_outcomes(withstood)
    words = ["--images", "12", "--beside", "8"]
    judged.main(words)
    assert not (results / "evaluation.json").exists()
    assert toy == ["ours", *["ours", "theirs"] * 4]  # two seeds, two groups each
    judged.main([*words, "--publish"])
    assert len(toy) == 9  # all was kept
    by_hand, *beside = judgements(published("evaluation").records)
    assert (by_hand.architecture, by_hand.network, by_hand.seed) == ("convnet", "clean", 0)
    assert (by_hand.images, by_hand.ours, by_hand.theirs) == (12, 0.5, 0.75)
    assert by_hand.gap == -25.0 and by_hand.differ == 0.25
    assert by_hand.together is None and by_hand.ratios == ()
    assert [one.words for one in beside] == [
        f"resnet18, clean, seed {seed}, linf 4/255" for seed in (0, 1)
    ]
    for one in beside:
        assert (one.images, one.ours, one.theirs, one.differ) == (8, 0.5, 0.5, 1.0)
        assert len(one.ratios) == 2 and min(one.ratios) <= one.together <= max(one.ratios)
    assert "6 of 12 stand, under AutoAttack 9" in capsys.readouterr().out


def test_without_images_for_it_autoattack_is_not_run(toy, published_outcomes, results):
    published_outcomes(torch.ones(COUNT, dtype=torch.bool))
    judged.main(["--images", "12", "--beside", "0", "--publish"])
    (only,) = judgements(published("evaluation").records)
    assert toy == ["ours"] and only.together is None
    assert only.gap == -50.0  # the even ones are half


def test_both_evaluations_run_on_one_thread_and_put_the_others_back(nets, images, toy, monkeypatch):
    seen = []

    def ours(net, x, y, ball, rng):
        seen.append(torch.get_num_threads())
        return classified(net, x, y)

    monkeypatch.setattr(judged, "robust_correct", ours)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        case = judged.Case("convnet", "clean", 0, "l2 0.5")
        found = judged.our_outcomes(nets["clean"], images.x, images.y, case.ball)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [1] and found["right"] == [True] * COUNT and found["seconds"] > 0


def test_outcomes_of_other_networks_or_images_are_refused(toy, published_outcomes, images):
    published_outcomes(torch.ones(COUNT, dtype=torch.bool))
    images.y[3] = (images.y[3] + 1) % 10
    with pytest.raises(ValueError, match="seed 0, clean is wrong on images that it withstood"):
        judged.main(["--images", "4", "--beside", "2"])
    assert not toy


def test_data_of_another_name_are_refused(toy, published_outcomes):
    published_outcomes(torch.ones(COUNT, dtype=torch.bool), "12 images of CIFAR-10 (JPEG)")
    with pytest.raises(ValueError, match=r"images here are random, .* by FPCORE_DATA"):
        judged.main(["--images", "4"])
    assert not toy


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--images", "13"], "images = 13: AutoAttack's published outcomes are of 12"),
        (["--images", "0"], "images = 0"),
        (["--beside", "1"], "beside = 1: give 0, or at least 2"),
        (["--beside", "10001"], "beside = 10001: CIFAR-10 has 10000"),
    ],
)
def test_sizes_that_cannot_be_are_refused_before_any_attack(toy, published_outcomes, words, said):
    published_outcomes(torch.ones(COUNT, dtype=torch.bool))
    with pytest.raises(ValueError, match=said):
        judged.main([*["--images", "4"], *words])
    assert not toy


def test_as_published_every_network_and_threat_is_there():
    cases = judged.cases_published()
    assert len(cases) == len({*cases}) == 80
    beside = judged.cases_beside()
    assert len({*beside}) == len(beside) == 12
    assert [one.architecture for one in beside[::4]] == ["convnet", "resnet18", "transformer"]
    for case in beside[::4]:
        assert case.network in judged.published_of(case.architecture, case.seed)
