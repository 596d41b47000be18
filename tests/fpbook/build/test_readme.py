"""Each number of the README's first screen is the published one."""

import pytest

from fpbook.build.rooms import ROOT
from fpbook.results import claims, number, published
from fpbook.results.ledger import MILD, verdict_counts
from fpbook.synthetic.protocol import SYNTHETIC
from fpcore.theory.scores import Sizes, score_law

README = (ROOT / "README.md").read_text()
SHARES = [  # (result, quantity, network, digits, whether with its interval, words around it)
    ("synthetic", "robust_accuracy", "clean", 2, True, "under our attacks on at most {}"),
    ("synthetic", "certified_accuracy", "purified", 1, True, "At least {} of the samples are cert"),
    ("synthetic", "dense_part", "clean", 1, False, "The mixture falls from {} of a neuron"),
    ("synthetic", "dense_part", "purified", 1, False, "of a neuron to {}"),
    ("synthetic", "same_feature", "purified", 1, False, "{} of the live neurons keep"),
    ("interventions", "robust_accuracy", "dense back", 1, False, "back, and at most {} of the"),
    ("synthetic", "share_dominant", "purified", 1, True, "network {} of all neurons are"),
    ("synthetic", "share_dominant_live", "purified", 1, False, "of the live ones {};"),
    ("synthetic", "share_dominant", "control", 1, False, "after more clean training {} of all"),
]


@pytest.mark.parametrize("share", SHARES, ids=lambda share: " ".join(share[:3]))
def test_a_share_is_the_published_one(share):
    result, quantity, network, digits, interval, words = share
    found = number(published(result).summary, quantity, network)
    low, high = found.ends
    text = f"{found.value:.{digits}%}"
    if interval:
        text += f" [{low:.{digits}%}, {high:.{digits}%}]"
    assert words.format(text) in README


@pytest.mark.parametrize(
    ("network", "words"), [("purified", "at most {}"), ("clean", "up from {}")]
)
def test_accuracy_under_autoattack_is_the_published_one(network, words):
    summary = published("cifar10-robustness").summary
    found = number(summary, "autoattack_accuracy", network, threat="l2 0.5")
    assert words.format(f"{found.value:.1%}") in README


def test_which_data_are_kept_is_said():
    one_in = {}
    for size, protocol in SYNTHETIC.items():
        law = score_law(Sizes(protocol.d, protocol.k, margin=0.0))
        one_in[size] = f"{1 / law.mean(law.score >= protocol.margin):.0f}"
    full = SYNTHETIC["full"]
    assert f"is {full.margin} standard deviations from the boundary" in README
    assert f"one code in {one_in['full']} at the published size, one in {one_in['quick']}" in README
    assert f"{full.training_reach} against {full.reach} of one feature's size" in README
    assert full.tuned_seeds == 1 and "settled on seed 0" in README


def test_the_verdicts_are_counted_mild_ones_apart():
    ledger = claims()
    count = verdict_counts(ledger)
    mild = "hold mildly (a stand-in, such as the control or a random network, passes the same test)"
    said = (
        f"Of {len(ledger)} claims {count['holds']} hold, {count[MILD]} {mild}, "
        f"{count['undecided']} are undecided and {count['fails']} fail."
    )
    assert said in README
