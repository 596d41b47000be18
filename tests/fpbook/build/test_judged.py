"""The section on our evaluation beside AutoAttack's shows what was published, misses included."""

import pytest
import torch

from fpbook.build.judged import judged_section, worst_rows
from fpbook.build.speed import speed_page
from fpbook.cifar10.judged import AS_PUBLISHED, BESIDE, Case
from fpbook.results import publish, table
from fpbook.results.store import published

pytestmark = pytest.mark.usefixtures("closed")


def found(case, check, ours, theirs, images, seconds=((2.0, 20.0),)):
    """Records of a case: images that stand by both, seconds of ours and theirs of each group."""
    of = {"check": check, "images": images}
    rows = [
        case.record("robust_accuracy", ours / images, **of),
        case.record("autoattack_accuracy", theirs / images, **of),
        case.record("accuracy_gap", 100 * (ours - theirs) / images, **of),
        case.record("outcomes_differ", abs(ours - theirs) / images, **of),
    ]
    if check == AS_PUBLISHED:
        return [*rows, case.record("core_time", seconds[0][0], **of)]
    for group, (own, other) in enumerate(seconds):
        more = {**of, "images": images // len(seconds), "group": group}
        rows += [
            case.record("core_time", own, **more),
            case.record("autoattack_time", other, **more),
            case.record("speed_ratio", other / own, **more),
        ]
    return rows


NEAR = found(Case("convnet", "clean", 0, "l2 0.5"), AS_PUBLISHED, 101, 100, 200)
OUT = found(Case("convnet", "scratch", 3, "linf 8/255"), AS_PUBLISHED, 52, 50, 200)
FAST = found(Case("resnet18", "purified", 1, "l2 0.5"), BESIDE, 8, 8, 32, ((1.0, 8.0), (1.0, 16.0)))
SLOW = found(Case("transformer", "purified", 0, "l2 0.5"), BESIDE, 8, 8, 32, ((4.0, 8.0),))


@pytest.fixture
def put(results):
    def write(*cases):
        rows = [row for case in cases for row in case]
        publish("evaluation", table(rows), "full", torch.device("cpu"), "a toy")

    return write


def test_before_it_is_measured_the_section_says_so(results):
    results.mkdir()
    assert "Not yet measured: `python -m fpbook evaluation --publish`" in judged_section()


def test_cases_that_keep_the_bounds_are_counted_and_nothing_is_missed(put):
    put(NEAR, FAST)
    shown = judged_section()
    assert "**Of 2 cases, 2 are within 0.5 points of AutoAttack's robust accuracy.**" in shown
    assert "Of the 1 that were timed side by side, 1 take at most a third" in shown
    assert "12 to 12 times as fast" in shown
    assert "No case misses what was asked for." in shown and "**no**" not in shown
    assert shown.count("<figure") == 1 and "a toy" in shown
    assert "| resnet18, purified, seed 1, l2 0.5 | 32 | 25.0% | 25.0% | 0 | 2 s |" in shown
    assert "12× [8×, 16×] | yes |" in shown


def test_a_difference_out_of_the_band_and_a_time_above_a_third_are_missed(put):
    put(NEAR, OUT, FAST, SLOW)
    shown = judged_section()
    assert "**Of 4 cases, 3 are within 0.5 points" in shown
    assert "Of the 2 that were timed side by side, 1 take" in shown
    assert "- **missed**: convnet, scratch, seed 3, linf 8/255: +1 points on 200 images\n" in shown
    assert (
        "- **missed**: transformer, purified, seed 0, l2 0.5: 0 points on 32 images, 2 times"
        in (shown)
    )
    assert shown.count("| **no** |") == 2
    assert "| ConvNet | AutoAttack as published | 1 of 2 | +0.5 to +1 | 3, 0 of 400 |" in shown
    worst = {row["quantity"]: row["value"] for row in worst_rows(published("evaluation"))}
    assert worst == {"accuracy_gap": 1.0, "speed_ratio": 2.0}


def test_a_difference_below_the_band_is_missed_as_well(put):
    put(found(Case("convnet", "clean", 0, "l2 0.5"), AS_PUBLISHED, 97, 100, 200))
    shown = judged_section()
    assert "-1.5 points on 200 images" in shown and "0, 3 of 200" in shown
    assert "AutoAttack was not timed beside it." in shown and "side by side" not in shown


def test_the_targets_are_held_against_the_worst_case(put, results):
    put(NEAR, OUT, SLOW)
    publish(
        "bench",
        table([Case("convnet", "clean", 0, "l2 0.5").record("accuracy_gap", 0.0, "x")]),
        "full",
        torch.device("cpu"),
        "a toy",
    )
    page = speed_page()
    assert "the least of all cases | ≥ 3× | 2× | **no** |" in page
    assert "accuracy of all cases | ≤ 0.5 points | 1 points | **no** |" in page
    assert "## Our evaluation beside AutoAttack's" in page
