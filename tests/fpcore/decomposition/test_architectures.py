"""Every measure of weights on networks of every kind: right, finite, and nothing is disturbed."""

import re
import warnings

import pytest
import torch
from architectures import ARCHITECTURES, make
from torch import nn

from fpbook.results.files import ROOT
from fpcore.decomposition.ablation import removed, truncated, update_spectra
from fpcore.decomposition.data_flow import called
from fpcore.decomposition.layers import decompose_layers, neurons, switched_on
from fpcore.decomposition.relations import layer_relations, same_neuron
from fpcore.models.acting import merged, unwrapped


def scores(net, x):
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = called(unwrapped(net).eval(), x)
    return getattr(out, "logits", out).double()


@pytest.fixture(params=ARCHITECTURES)
def name(request):
    return request.param


pytestmark = pytest.mark.filterwarnings(
    "ignore:.*weight_norm.*:FutureWarning",
    "ignore:LSTM with projections is not supported with oneDNN",
)


def test_what_is_left_out_is_named(name):
    net, _, x = make(name)
    found = neurons(net, x)
    assert found.coverage.left_out.keys() == set(ARCHITECTURES[name].left_out)
    weights = {n: p.numel() for n, p in unwrapped(net).named_parameters() if p.ndim > 1}
    missing = sum(weights[n.replace("_orig_mod.", "")] for n in found.coverage.left_out)
    assert found.coverage.share == pytest.approx(1 - missing / sum(weights.values()))
    classes = 20 if name == "tied" else 5
    assert len(found[found.head]) == classes  # the last layer gives the scores


def test_measures_are_finite_and_the_networks_stay_as_they_are(name):
    net, other, x = make(name)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    state = torch.random.get_rng_state()
    split, rows = decompose_layers(net, other, x), neurons(net, x)
    for layer, part in split.items():
        w = rows[layer].to(part.pure.dtype)
        torch.testing.assert_close(part.pure + part.residual, w, rtol=1e-4, atol=1e-6)
        assert all(v.isfinite().all() for v in (part.beta, part.pure, part.residual, part.cos))
        assert (part.cos.abs() <= 1).all()
    cosines = layer_relations(net, other, x)
    assert all(value.isfinite().all() for value in cosines.values())
    assert 0 <= same_neuron(net, other, x) <= 1
    assert switched_on(net, x).keys() == cosines.keys() == update_spectra(net, other).keys()
    assert [module.training for module in net.modules()] == modes
    assert torch.equal(torch.random.get_rng_state(), state)
    after = net.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_what_is_removed_and_put_back_gives_the_same_scores(name):
    net, other, x = make(name)
    whole, gone = scores(merged(net), x), removed(net, other, 1.0)
    places, split = neurons(gone, x), decompose_layers(net, other, x)
    half = unwrapped(net).state_dict()
    coarse = {torch.float16: 1e-2, torch.bfloat16: 5e-2}
    slack = coarse.get(next(v.dtype for v in half.values() if v.is_floating_point()), 1e-5)
    for layer, part in split.items():
        pure = places[layer].to(part.pure.dtype)
        torch.testing.assert_close(pure, part.pure, rtol=slack, atol=slack * 0.1)
    assert (scores(gone, x) - whole).abs().max() > 1e-6
    for layer, part in split.items():
        places.write(layer, part.pure + part.residual)
    torch.testing.assert_close(scores(gone, x), whole, rtol=slack, atol=slack)
    if slack == 1e-5 and not any(isinstance(m, nn.BatchNorm2d) for m in net.modules()):
        full = truncated(net, other, 10_000, x)
        torch.testing.assert_close(scores(full, x), scores(merged(other), x), rtol=1e-3, atol=1e-3)


def test_the_page_s_table_is_what_is_found():
    page = (ROOT / "pages" / "how-to" / "add-a-layer-type.md").read_text()
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+ \| [^|]+) \|$", page, re.MULTILINE))
    assert ARCHITECTURES.keys() <= rows.keys()
    for name in ARCHITECTURES:
        try:
            net, _, x = make(name)
        except pytest.skip.Exception:
            continue
        coverage = neurons(net, x).coverage
        assert rows[name] == f"{100 * coverage.share:.1f}% | {', '.join(coverage.left_out) or '–'}"
