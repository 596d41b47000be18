"""The measures of weights against values computed by numpy, neuron by neuron."""

import copy
import math

import numpy as np
import pytest
import torch
from reported_networks import convolutional, five, moved, perceptron, value
from torch import nn

from fpcore.reporting import report
from fpcore.reporting.spectra import SHOWN, gram_spectrum, thinned


def rows(net, name):
    """A layer's matrix in float64, by numpy."""
    return net.get_submodule(name).weight.detach().double().flatten(1).numpy()


def cosines(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def lower_median(values):
    return np.sort(values)[(len(values) - 1) // 2]


class Attending(nn.Module):
    """Attention of two heads over four tokens, and a linear layer."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))


def test_attention_is_told_of_head_by_head():
    torch.manual_seed(0)
    clean = Attending().eval()
    other = copy.deepcopy(clean)
    with torch.no_grad():  # the second head's keys are turned, of three neurons of six
        other.attention.in_proj_weight[9:12] = torch.randn(3, 6)
    made = report(clean, other, images=(torch.rand(8, 4, 6), torch.arange(8) % 3), progress=False)
    w, w_adv = (
        net.attention.in_proj_weight.detach()[6:12].double().numpy() for net in (clean, other)
    )
    expected = [lower_median(cosines(w[h], w_adv[h])) for h in (slice(0, 3), slice(3, 6))]
    found = [
        row["value"]
        for row in made.records
        if row["quantity"] == "cos_to_clean"
        and row.get("layer") == "attention.key"
        and "head" in row
    ]
    assert found == pytest.approx(expected, abs=1e-6) and found[0] == pytest.approx(1)
    assert not any("head" in row for row in made.records if row.get("layer") == "head")
    assert {row["name"]: row["heads"] for row in made.content["layers"]}["attention.value"] == 2


@pytest.fixture(scope="module", params=[convolutional, perceptron])
def pair(request):
    nets = five(request.param)
    layers = [n for n, m in nets["clean"].named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    return nets, layers, report(**nets, progress=False)


def test_cosines_and_shares_are_those_of_each_neuron(pair):
    nets, layers, found = pair
    everywhere = []
    for layer in layers:
        w = rows(nets["clean"], layer)
        for role, net in {"purified": "adversarial", "control": "control"}.items():
            other = rows(nets[net], layer)
            cos = cosines(w, other)
            assert value(found, "cos_to_clean", role, layer) == pytest.approx(
                lower_median(cos), abs=1e-6
            )
            pure = (w * other).sum(1) / (other**2).sum(1)
            v = w - pure[:, None] * other
            larger = np.linalg.norm(pure[:, None] * other, axis=1) > np.linalg.norm(v, axis=1)
            assert value(found, "share_dominant", role, layer) == pytest.approx(larger.mean())
        everywhere.append(cosines(w, rows(nets["adversarial"], layer)))
        start = rows(nets["init"], layer)
        for role, net in {"clean": "clean", "purified": "adversarial"}.items():
            expected = lower_median(cosines(rows(nets[net], layer), start))
            assert value(found, "cos_to_init", role, layer) == pytest.approx(expected, abs=1e-6)
        assert value(found, "cos_chance", layer=layer) == pytest.approx(1 / math.sqrt(w.shape[1]))
    pooled = np.concatenate(everywhere)
    assert value(found, "cos_to_clean", "purified") == pytest.approx(lower_median(pooled), abs=1e-6)
    assert value(found, "share_dominant", "purified") == pytest.approx((pooled**2 > 0.5).mean())


def test_ranks_and_spectra_are_those_of_v_and_of_the_update(pair):
    nets, layers, found = pair
    for layer in layers:
        w, other = rows(nets["clean"], layer), rows(nets["adversarial"], layer)
        v = w - ((w * other).sum(1) / (other**2).sum(1))[:, None] * other
        for kind, matrix in {"removed": v, "update": other - w}.items():
            s = np.linalg.svd(matrix, compute_uv=False)
            share = s / s.sum()
            share = share[share > 0]
            rank = math.exp(-(share * np.log(share)).sum())
            assert value(found, f"effective_rank_{kind}", layer=layer) == pytest.approx(
                rank, rel=1e-4
            )
            np.testing.assert_allclose(
                found.content["spectra"][kind][layer], s / s[0], atol=2e-5, rtol=0
            )


def test_a_hidden_neuron_is_nearest_to_its_own_ancestor_or_not(pair):
    nets, layers, found = pair
    for role, net in {"purified": "adversarial", "scratch": "scratch"}.items():
        own = []
        for layer in layers[:-1]:
            w, other = rows(nets["clean"], layer), rows(nets[net], layer)
            near = [max(range(len(w)), key=lambda i: abs(cosines(w[i : i + 1], o[None])[0]))
                    for o in other]  # fmt: skip
            own += [at == i for i, at in enumerate(near)]
        assert value(found, "same_neuron_share", role) == pytest.approx(np.mean(own))


def test_histograms_count_each_neuron_once(pair):
    nets, layers, found = pair
    for layer in layers:
        cos = cosines(rows(nets["clean"], layer), rows(nets["adversarial"], layer))
        counts, _ = np.histogram(cos, bins=40, range=(-1, 1))
        assert found.content["histograms"]["cos_to_clean"]["purified"][layer] == counts.tolist()


def test_roughness_is_of_filters_that_see_more_than_a_point():
    clean = convolutional(1)
    with torch.no_grad():  # a constant filter is smooth, one that alternates is rough
        clean[0].weight.fill_(1.0)
        clean[0].weight += 1e-4 * torch.randn(clean[0].weight.shape)
    found = report(clean, moved(clean, 0.5, 2), progress=False)
    assert {r["layer"] for r in found.records if r["quantity"] == "roughness"} == {"0"}
    assert value(found, "roughness", "clean", "0") < 1e-3
    assert value(found, "roughness", "v", "0") > 0.5


def test_neurons_switched_off_are_counted_and_have_no_cosine():
    nets = five()
    with torch.no_grad():
        nets["adversarial"][0].weight[:2] *= 1e-6  # by their weights
        nets["adversarial"][4].weight[:3] = 0  # by the scale after them
    found = report(nets["clean"], nets["adversarial"], progress=False)
    assert value(found, "share_switched_on", "purified", "0") == pytest.approx(4 / 6)
    assert value(found, "share_switched_on", "purified", "3") == pytest.approx(5 / 8)
    assert value(found, "share_switched_on", "purified") == pytest.approx(9 / 14)
    assert value(found, "share_switched_on", "clean") == 1
    assert sum(found.content["histograms"]["cos_to_clean"]["purified"]["0"]) == 4
    assert any("35.7% of the hidden neurons of the purified" in note for note in found.notes)


def test_a_layer_without_a_change_or_a_live_neuron_is_named_and_has_no_number():
    clean = perceptron(1)
    twin = moved(clean, 0.3, 2)
    with torch.no_grad():
        clean[3].weight.zero_()
        twin[3].weight.zero_()
    found = report(clean, twin, progress=False)
    assert not any(
        r["quantity"] in ("cos_to_clean", "effective_rank_removed", "effective_rank_update")
        for r in found.records
        if r.get("layer") == "3"
    )
    text = "\n".join(found.notes)
    assert "3: no neuron is switched on" in text
    assert "3: v is zero" in text and "3: w' - w is zero" in text


def test_the_pattern_restricts_and_says_what_it_leaves_out():
    nets = five()
    found = report(nets["clean"], nets["adversarial"], layers=["0", "9*"], progress=False)
    whole = report(nets["clean"], nets["adversarial"], progress=False)
    assert {r["layer"] for r in found.records if "layer" in r} == {"0", "9"}
    for row in [r for r in found.records if "layer" in r]:
        assert row in whole.records
    assert any("left out of the measures of weights" in n and ": 3." in n for n in found.notes)
    assert [row["name"] for row in found.content["layers"]] == ["0", "3", "9"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("make", [convolutional, perceptron])
def test_every_precision_is_measured_as_its_values_in_float64(make, dtype):
    nets = [net.to(dtype) for net in (make(1), moved(make(1), 0.5, 2))]
    wide = [copy.deepcopy(net).double() for net in nets]
    found, expected = (report(*two, progress=False) for two in (nets, wide))
    assert len(found.records) == len(expected.records)
    for ours, theirs in zip(found.records, expected.records):
        assert ours == {**theirs, "value": pytest.approx(theirs["value"], rel=2e-4, abs=1e-5)}


@pytest.mark.parametrize("shape", [(5, 5), (3, 40), (40, 3), (1, 7), (90, 120)])
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_singular_values_are_those_of_a_decomposition(shape, scale):
    w = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * scale
    values = gram_spectrum(w)
    expected = torch.linalg.svdvals(w.double())
    assert values.shape == expected.shape
    torch.testing.assert_close(values / values[0], expected / expected[0], atol=1e-7, rtol=0)
    torch.testing.assert_close(values[0], expected[0], rtol=1e-6, atol=0)
    some = thinned(values)
    assert len(some) == min(SHOWN, min(shape)) and some[0] == 1 and some == sorted(some)[::-1]
    assert some[-1] == pytest.approx(float(values[-1] / values[0]))


def test_singular_values_of_low_rank_end_at_zero():
    rng = torch.Generator().manual_seed(0)
    w = torch.randn(30, 2, generator=rng) @ torch.randn(2, 50, generator=rng)
    values = gram_spectrum(w.double())
    assert (values[2:] / values[0] < 1e-6).all()
    assert not gram_spectrum(torch.zeros(3, 4)).any()
