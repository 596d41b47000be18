"""The networks made from the pair: their weights by hand, and the identities between them."""

import pytest
import torch
from reported_networks import BALL, convolutional, five, images, perceptron, value

from fpcore.attacks import robust_correct
from fpcore.decomposition import decompose
from fpcore.models import evaluating, recalibrated
from fpcore.reporting import report
from fpcore.reporting.accuracies import STEPS
from fpcore.reporting.subjects import GIVEN, shares
from fpcore.reporting.variants import trials
from fpcore.seeding import generator


def made(nets, calibrating=0, seed=0):
    """{title: variant} of networks by role."""
    roles = {"clean": nets["clean"], "purified": nets["adversarial"], "control": nets["control"]}
    x, _ = images()
    return {t.title: t.make() for t in trials(roles, seed, x, calibrating, 50)}


def weight(net, name):
    return net.get_submodule(name).weight.detach().flatten(1)


@pytest.mark.parametrize(("make", "layers"), [(convolutional, "039"), (perceptron, "13")])
def test_weights_are_those_of_their_definition(make, layers):
    nets = five(make)
    found = made(nets)
    for layer in layers:
        w, w_adv = weight(nets["clean"], layer), weight(nets["adversarial"], layer)
        beta = (w * w_adv).sum(1, keepdim=True) / (w_adv**2).sum(1, keepdim=True)
        v = w - beta * w_adv
        close = {"rtol": 1e-4, "atol": 1e-6}
        for alpha in (0.5, 1):
            ours = weight(found[f"w - v, alpha {alpha:g}"], layer)
            torch.testing.assert_close(ours, w - alpha * v, **close)
            for control in ("random", "v_c"):
                gone = (w - weight(found[f"w - {control}, alpha {alpha:g}"], layer)) / alpha
                torch.testing.assert_close(gone.norm(dim=1), v.norm(dim=1), **close)
        control = weight(nets["control"], layer)
        v_c = decompose(w, control).residual
        gone = w - weight(found["w - v_c, alpha 1"], layer)
        cos = torch.nn.functional.cosine_similarity(gone, v_c, dim=1)
        torch.testing.assert_close(cos, torch.ones_like(cos), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(weight(found["beta w'"], layer), beta * w_adv, **close)
        u, s, right = torch.linalg.svd(w_adv - w, full_matrices=False)
        for rank in (1, 4, 16):
            cut = w + (u[:, :rank] * s[:rank]) @ right[:rank]
            torch.testing.assert_close(
                weight(found[f"w + rank r, rank {rank}"], layer), cut, **close
            )


def test_w_less_v_is_beta_w_but_for_biases_and_normalisation():
    nets = five()
    nets["adversarial"][1:].load_state_dict(nets["clean"][1:].state_dict())  # all but layer 0
    with torch.no_grad():
        nets["adversarial"][3].weight += 0.1
    found = made(nets)
    one, other = found["w - v, alpha 1"].state_dict(), found["beta w'"].state_dict()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-6)


def test_a_full_rank_is_the_purified_network_itself():
    nets = five()
    cut = made(nets, calibrating=10)["w + rank r, rank 16"]
    x, _ = images()
    whole = recalibrated(nets["adversarial"], x[14:])
    with torch.no_grad():
        torch.testing.assert_close(cut(x), whole(x), rtol=1e-3, atol=1e-4)


def test_statistics_are_those_of_images_that_are_not_attacked():
    nets = five()
    x, _ = images()
    twin = made(nets, calibrating=10)["w - v, alpha 1"]
    torch.testing.assert_close(recalibrated(twin, x[14:]).state_dict(), twin.state_dict())
    assert not torch.equal(recalibrated(twin, x[:10])[1].running_mean, twin[1].running_mean)


@pytest.mark.parametrize("n", [4, 10, 150, 400, 1000, 2000])
@pytest.mark.parametrize("attacked", [1, 200, 1500])
@pytest.mark.parametrize("normalised", [True, False])
def test_no_image_is_attacked_that_a_variant_is_calibrated_on(n, attacked, normalised):
    split = shares(n, attacked, normalised)
    assert max(split.variant, split.clean) + split.calibration <= n
    assert 1 <= split.variant <= attacked and split.given <= n
    assert (split.calibration >= 2) == normalised
    assert split.given == min(n, max(GIVEN, attacked))


def test_accuracies_of_given_networks_and_variants_are_those_of_the_attack():
    nets = five(perceptron)
    x, y = images(30)
    found = report(**nets, images=(x, y), ball=BALL, attacked=12, progress=False)
    for role, net in {"clean": "clean", "purified": "adversarial", "scratch": "scratch"}.items():
        stood = robust_correct(nets[net], x, y, BALL, STEPS, 1, rng=generator(0, "attack"))
        assert value(found, "robust_accuracy", role) == stood.double().mean().item()
        with evaluating(nets[net]), torch.no_grad():
            right = (nets[net](x).argmax(1) == y).double().mean().item()
        assert value(found, "clean_accuracy", role) == right
    twin = made(nets)["w - v, alpha 1"]
    stood = robust_correct(twin, x[:12], y[:12], BALL, STEPS, 1, rng=generator(0, "attack"))
    assert value(found, "robust_accuracy", "w - v", alpha=1) == stood.double().mean().item()
    assert {r["threat"] for r in found.records if r["quantity"] == "robust_accuracy"} == {"l2 0.3"}
    data = found.content["about"]["data"]
    assert (data["attacked"], data["attacked_variants"], data["images"]) == (30, 12, 30)


def test_without_a_ball_nothing_is_attacked():
    nets = five(perceptron)
    found = report(nets["clean"], nets["adversarial"], images(), progress=False)
    kinds = {r["quantity"] for r in found.records}
    assert "clean_accuracy" in kinds and "robust_accuracy" not in kinds
    assert any("nothing was attacked" in note for note in found.notes)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_variants_have_the_precision_of_their_network(dtype):
    nets = {role: net.to(dtype) for role, net in five().items()}
    for twin in made(nets, calibrating=10).values():
        assert {p.dtype for p in twin.parameters()} == {dtype}
    found = report(nets["clean"], nets["adversarial"], images(8), ball=BALL, progress=False)
    assert value(found, "robust_accuracy", "beta w'") >= 0


def test_the_same_seed_gives_the_same_random_vectors_another_seed_others():
    nets = five()
    one, again, other = (made(nets, seed=seed)["w - random, alpha 1"] for seed in (0, 0, 1))
    assert torch.equal(weight(one, "0"), weight(again, "0"))
    assert not torch.equal(weight(one, "0"), weight(other, "0"))


def test_the_share_of_a_low_rank_is_that_of_its_factors():
    nets = five(perceptron)
    found = report(nets["clean"], nets["adversarial"], images(), progress=False)
    total = 108 * 16 + 16 + 16 * 3 + 3
    expected = (1 * (108 + 16) + 1 * (16 + 3) + 16 + 3) / total
    share = value(found, "parameter_share", "w + rank r", rank=1)
    assert share == pytest.approx(expected)
    full = value(found, "parameter_share", "w + rank r", rank=16)
    assert full == pytest.approx(1)
