"""The picture on the opening page: one neuron and its two parts."""

import pytest
import torch

from fpbook.figures import opening
from fpbook.results import claims
from fpbook.results.files import ROOT
from fpbook.synthetic.protocol import run_synthetic

pytestmark = pytest.mark.usefixtures("closed", "shared_cache")


@pytest.fixture(scope="module")
def run(tiny, cache_folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FPCORE_CACHE", str(cache_folder))
        return run_synthetic(tiny, 0, torch.device("cpu"), progress=False)


def test_the_parts_add_up_to_a_neuron_of_length_one_whose_feature_is_positive(run):
    parts = opening.neuron_parts(run.clean, run.purified, run.data)
    torch.testing.assert_close(parts["purified"] + parts["residual"], parts["clean"])
    torch.testing.assert_close(parts["clean"].norm(), torch.tensor(1.0))
    assert parts["clean"].max() == parts["clean"].abs().max()
    assert abs(parts["purified"] @ parts["residual"]) < 1e-5


def test_what_was_published_is_drawn_again(run, results):
    assert opening.published_neuron() is None
    opening.publish_neuron(run)
    assert (results / "headline.png").exists()
    parts = opening.neuron_parts(run.clean, run.purified, run.data)
    shown = opening.published_neuron()
    assert shown.keys() == opening.PARTS.keys()
    for name in shown:
        torch.testing.assert_close(shown[name], parts[name])
    titles = [axis.get_title() for axis in opening.neuron_in_parts(shown).axes]
    assert titles == [title for title, _ in opening.PARTS.values()]


def test_the_published_neuron_is_one_of_the_published_size_and_obeys_the_inequality(monkeypatch):
    monkeypatch.setenv("FPCORE_RESULTS", str(ROOT / "results"))
    parts = opening.published_neuron()
    assert len(parts["clean"]) == 1536
    assert parts["purified"].norm() > parts["residual"].norm()


def test_the_opening_page_says_what_was_never_published(results):
    results.mkdir()
    texts = opening.opening_numbers()
    assert {texts[name] for name in opening.PUBLISHED_SHARES} == {"(not yet measured)"}
    assert texts["one_in_full"] == "80" and texts["margin"] == "2.5"
    assert "No neuron is published" in opening.opening_picture().data


def test_each_claim_that_fails_or_is_undecided_is_named_with_a_link_to_its_card(monkeypatch):
    monkeypatch.setenv("FPCORE_RESULTS", str(ROOT / "results"))
    text = opening.missed_claims()
    missed = [entry for entry in claims() if entry.verdict in ("fails", "undecided")]
    assert missed and text.count("claims.html#") == len(missed)
    for entry in missed:
        assert f'"claims.html#{entry.claim.id}">{entry.claim.id}</a> {entry.verdict}:' in text


def test_the_picture_has_a_caption_of_its_size(monkeypatch):
    monkeypatch.setenv("FPCORE_RESULTS", str(ROOT / "results"))
    shown = opening.opening_picture()
    assert "1,536 true features" in shown.caption and shown.smallest_text >= 9
