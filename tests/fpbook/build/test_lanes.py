"""Two lanes: which chapters are in which, whose threads are whose, what a failure says."""

import os

import pytest

from fpbook.build import chapters, lanes
from fpbook.build.chapters import BookError


def test_chapters_that_share_trainings_are_in_one_lane_and_none_is_lost():
    book = chapters.chapters()
    synthetic, others = lanes.lanes_of(book)
    assert sorted([*synthetic, *others]) == sorted(book)
    assert {path.stem for path in synthetic} >= {"clean-training", "certificate", "scaling"}
    assert {path.stem for path in others} >= {"cifar10", "cifar10-layers", "your-own-networks"}
    assert others == [path for path in book if path in others]  # in the book's order


def test_chapters_of_one_kind_are_one_lane():
    book = [path for path in chapters.chapters() if path.stem in ("sparse-coding", "cifar10")]
    assert lanes.lanes_of(book) == [book]


def test_a_lane_has_its_share_of_the_cores_unless_told(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    lanes.share_threads()
    assert os.environ["OMP_NUM_THREADS"] == "3"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    lanes.share_threads()
    assert os.environ["OMP_NUM_THREADS"] == "5"


def test_a_lane_that_fails_is_named_when_the_others_have_ended():
    with pytest.raises(BookError, match="nonsense") as caught:
        lanes.run_at_once([["sbom", "--help"], ["nonsense"]])
    assert "sbom" not in str(caught.value)
