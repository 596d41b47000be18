"""The certificate that anybody can check again is what was published, or an error."""

import dataclasses

import pytest
import torch
from alpha_crown import alpha_crown

from fpbook.results import publish, table
from fpbook.results.files import ROOT, DamagedError
from fpbook.results.store import published_with_arrays
from fpbook.synthetic import published_certificate as certificate
from fpbook.synthetic.protocol import SyntheticRun
from fpcore.certificates.certificate import certify
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding

CPU = torch.device("cpu")


@pytest.fixture
def run(tiny):
    """The pure network of a tiny experiment, nearly: rounding changes its weights."""
    experiment = dataclasses.replace(tiny, reach=0.2)
    data = experiment.data(3, CPU)
    net = TwoLayer(experiment.d, experiment.d, threshold=0.2)
    net.weight.data = (data.features * data.w_star * 1.01).T.contiguous()
    x, y = data.test_set(experiment.test_samples, 3)
    return SyntheticRun(experiment, 3, data, x, y, {"purified": net}, {})


def publish_run(run, **changed):
    measured = table(certificate.measure_certificate(run))
    arrays = certificate.certificate_arrays(run) | changed
    publish(certificate.CERTIFIED, measured, "full", CPU, "tiny", arrays)


def test_the_published_network_is_certified_again_from_its_files_alone(run, results):
    results.mkdir()
    assert certificate.recheck() is None
    publish_run(run)
    found = certificate.recheck()
    rounded = certificate.as_published(run)
    assert not torch.equal(rounded.purified.weight, run.purified.weight)
    margin = certificate.certified_margins(rounded.purified, run.x, run.y, run.experiment.radius)
    assert found.samples == len(run.x) and found.certified == int((margin > 0).sum()) > 30
    assert found.smallest == margin[margin > 0].min().item()
    assert f"{found.certified} of {found.samples} samples certified" in str(found)


@pytest.mark.parametrize("name", ["purified/weight", "data/seed", "certificate/radius"])
def test_another_network_other_samples_or_another_radius_are_an_error(name, run, results):
    publish_run(run, **{name: certificate.certificate_arrays(run)[name] * 1.01 + 0.5})
    with pytest.raises(DamagedError, match=r"certified-network: .* published: restore it"):
        certificate.recheck()


def test_a_single_margin_that_is_another_is_an_error(run, results):
    margin = certificate.certificate_arrays(run)["certificate/margin"]
    margin[margin.argmax()] += 1e-4
    publish_run(run, **{"certificate/margin": margin})
    with pytest.raises(DamagedError, match=r"certified-network: margins differ by up to 0\.0001"):
        certificate.recheck()


def test_a_run_of_which_nothing_is_certified_is_not_published(run):
    far = dataclasses.replace(run, experiment=dataclasses.replace(run.experiment, reach=50.0))
    with pytest.raises(ValueError, match="nothing is certified at radius"):
        certificate.measure_certificate(far)


def test_code_that_shares_nothing_with_ours_certifies_the_nearest_of_the_published(monkeypatch):
    monkeypatch.delenv("FPCORE_RESULTS", raising=False)
    result, arrays = published_with_arrays(certificate.CERTIFIED)
    size = (ROOT / "results" / f"{certificate.CERTIFIED}.safetensors").stat().st_size
    assert result.provenance["seeds"] == [0] and size < 2e6
    net, law, found = (arrays[name] for name in ("purified", "data", "certificate"))
    law = {name: value.item() for name, value in law.items()}
    data = SparseCoding(int(law["d"]), int(law["k"]), law["margin"], law["noise"], int(law["seed"]))
    x, y = data.test_set(len(found["margin"]), int(law["seed"]))
    nearest = found["margin"].where(found["margin"] > 0, torch.inf).argsort()[:10]
    x, y, radius = x[nearest], y[nearest], found["radius"].item()
    model = TwoLayer(data.d, len(net["weight"]), net["threshold"].item())
    model.weight.data = net["weight"].float()
    by_slopes = certify(model, x, y, radius, branches=0).robust  # as the other
    bound = alpha_crown(net["weight"], net["threshold"], x, y, radius)
    assert by_slopes.sum() >= 5 and (bound[by_slopes] > 0).all()
