"""The page *How fast* has the timings that were published, beside the targets, and no others."""

import re

import pytest
import torch

from fpbook.build import speed
from fpbook.build.speed import MEMORY, TIMES, speed_page
from fpbook.build.targets import BENCH, LEAST_WORK, LIMIT_WORDS, TARGETS, Target
from fpbook.results import publish, record, table
from fpbook.results.files import ROOT
from fpbook.results.timings import timings_table

pytestmark = pytest.mark.usefixtures("closed")
SETTINGS = "one thread"


def row(name, value, unit="x", spread=0.1, **more):
    low, high = (None, None) if value is None else (value - spread, value + spread)
    one = {"name": name, "value": value, "unit": unit, "low": low, "high": high}
    return {**one, "repeats": 3, "settings": SETTINGS, **more}


@pytest.fixture
def put(results):
    """A function that publishes timings under a name."""

    def write(name, *found):
        curves = [
            row(of, 2.0**i, "s", size=10.0 * 2**i) for of in (*TIMES, *MEMORY) for i in range(3)
        ]
        measured = timings_table([*found, *(curves if name == BENCH else [])])
        publish(name, measured, "full", torch.device("cpu"), "a toy", seeds=[0])

    return write


def test_before_anything_is_measured_the_page_says_so(results):
    results.mkdir()
    page = speed_page()
    assert "Not yet measured: `make bench`" in page
    assert "Nothing here was run on a GPU yet: `make gpu`" in page


def test_targets_stand_beside_what_was_measured_with_bound_and_reason_where_missed(
    put, monkeypatch
):
    targets = (
        Target("steps", "a step", 0.7),
        Target(
            "attacks", "an attack", 5.0, limit="attack, were it passes", reason="passes take it all"
        ),
        Target("book", "a book", 6.0, atmost=True),
        Target("sweep", "a sweep", 2.0),
    )
    monkeypatch.setattr(speed, "TARGETS", targets)
    measured = [
        row("a step", 0.8, "share"),
        row("an attack", 4.0),
        row("attack, were it passes", 4.4),
    ]
    put(BENCH, *measured, row("a book", 7.0, "s"), row("a peer", None))
    page = speed_page()
    assert "| steps | ≥ 70% | 80% [70%, 90%] | yes |" in page
    assert "| attacks | ≥ 5× | 4× [3.9×, 4.1×] | **no** |" in page
    assert "- Passes take it all: attacks (it would be 4.4× [4.3×, 4.5×] were it passes)." in page
    assert "**1 of the 3 targets that were measured are met.** Not measured: 1." in page
    assert "| book | ≤ 6 s | 7 [6.9, 7.1] s | **no** |" in page
    assert "- Not explained: book." in page
    assert "| sweep | ≥ 2 | - | not measured |" in page
    assert f"| an attack | 4× [3.9×, 4.1×] | 3 | {SETTINGS} |" in page
    assert f"Not measured:\n\n- a peer: {SETTINGS}" in page
    assert page.count("<figure") == 2
    assert "commit" in page and "a toy" in page


def test_a_miss_by_a_hair_is_seen_as_one_and_a_target_within_reach_is_said_to_be(put, monkeypatch):
    target = Target("steps", "a step", 0.6, limit=f"a step, {LEAST_WORK}", reason="slow")
    monkeypatch.setattr(speed, "TARGETS", (target,))
    put(BENCH, row("a step", 0.5966, "share", 0.02), row(target.limit, 0.7, "share"))
    page = speed_page()
    assert "| steps | ≥ 60% | 59.7% [57.7%, 61.7%] | **no** |" in page
    assert f"it would be 70% [60%, 80%] {LIMIT_WORDS[LEAST_WORK]}: so the target is within" in page


def test_what_a_gpu_measured_is_shown_with_where(put):
    put("gpu-speed", row("a step on it", 0.5, "share"))
    page = speed_page()
    assert "Not yet measured" in page and "run on a GPU yet" not in page
    assert "| a step on it | 50% [40%, 60%] | 3 |" in page


def test_what_a_gpu_trained_is_shown_with_intervals_over_seeds(results):
    measured = [
        record("robust_accuracy", value, "purified", d=4096, seed=seed)
        for seed, value in enumerate((0.98, 0.99, 1.0))
    ]
    measured += [record("cos_to_init", 0.5, "purified", "conv", seed=0)]
    publish("gpu-headline", table(measured), "full", torch.device("cpu"), "d = 4096, a toy")
    page = speed_page()
    assert re.search(r"\| robust accuracy \| purified \| 99.0% \[96.5%, 100.0%\] \|", page)
    assert "cosine" not in page and "d = 4096, a toy" in page


def test_every_target_is_of_a_published_result_and_says_why_it_may_be_missed():
    assert len({(one.timed, one.within) for one in TARGETS}) == len(TARGETS)
    for one in TARGETS:
        assert one.words and one.bound > 0


def test_the_page_types_no_measured_number_itself():
    page = (ROOT / "pages" / "how-fast.md").read_text()
    assert page.count("% generated: speed") == 1
    assert not re.search(r"\d", page)
