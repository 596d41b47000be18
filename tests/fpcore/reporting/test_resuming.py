"""A report that was stopped goes on, and never with what was measured of something else."""

import json

import pytest
import torch
from reported_networks import BALL, five, images, moved, perceptron
from torch import nn

from fpcore.ball import Ball
from fpcore.reporting import assembly, report


class Leaky(nn.Module):
    """A network whose code depends on a number that no weight and no print tells."""

    def __init__(self, slope):
        super().__init__()
        torch.manual_seed(1)
        self.one, self.two, self.slope = nn.Linear(108, 8), nn.Linear(8, 3), slope

    def forward(self, x):
        return self.two(nn.functional.leaky_relu(self.one(x.flatten(1)), self.slope))


def stopped(monkeypatch, after):
    """Every measure counted; the one after so many is where the power fails."""
    calls = []
    for name in ("measure_layer", "network_accuracies", "measure_maps", "of_variant"):
        real = getattr(assembly, name)

        def counted(*arguments, real=real, name=name):
            if len(calls) == after:
                raise KeyboardInterrupt
            calls.append(name)
            return real(*arguments)

        monkeypatch.setattr(assembly, name, counted)
    return calls


def without_seconds(found):
    about = {k: v for k, v in found.content["about"].items() if k != "seconds"}
    return {**found.content, "about": about}


@pytest.mark.parametrize("after", [0, 1, 3, 6, 9])
def test_a_run_that_was_stopped_goes_on_and_ends_as_one_that_was_not(tmp_path, monkeypatch, after):
    nets = five(perceptron)
    arguments = (nets["clean"], nets["adversarial"], images(), BALL)
    whole = report(*arguments, progress=False)
    with monkeypatch.context() as patch:
        stopped(patch, after)
        with pytest.raises(KeyboardInterrupt):
            report(*arguments, out=tmp_path, progress=False)
    assert not (tmp_path / "report.json").exists()
    with monkeypatch.context() as patch:
        calls = stopped(patch, 1000)
        again = report(*arguments, out=tmp_path, progress=False)
        assert len(calls) == 13 - after  # two layers, two networks, a map, eight variants
    assert without_seconds(again) == without_seconds(whole)
    with monkeypatch.context() as patch:
        calls = stopped(patch, 0)
        third = report(*arguments, out=tmp_path, progress=False)
    assert not calls and third.content == again.content
    assert json.loads((tmp_path / "report.json").read_text()) == again.content


def changed(**what):
    """The arguments of a report, some of them changed."""
    nets = five(perceptron)
    given = {
        "clean": nets["clean"],
        "adversarial": nets["adversarial"],
        "images": images(8),
        "ball": None,
        "seed": 0,
        "attacked": 4,
        "layers": None,
    }
    return given | what


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ({"clean": perceptron(9)}, "clean, outputs of clean"),
        ({"adversarial": perceptron(9)}, "purified, outputs of purified"),
        ({"control": perceptron(9)}, "control"),
        ({"images": images(8, seed=1)}, "images"),
        ({"images": (images(8)[0], (images(8)[1] + 1) % 3)}, "images"),
        ({"images": None}, "images"),
        ({"ball": BALL}, "ball"),
        ({"seed": 1}, "seed"),
        ({"attacked": 5}, "attacked"),
        ({"layers": "1"}, "layers"),
    ],
)
def test_a_folder_of_another_report_is_an_error_that_says_what_differs(tmp_path, what, named):
    report(**changed(), out=tmp_path, progress=False)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=f"is of another report .*{named}") as caught:
        report(**changed(**what), out=tmp_path, progress=False)
    assert "give another folder" in str(caught.value)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "ball", [Ball("linf", 0.3, (0, 1)), Ball("l2", 0.2, (0, 1)), Ball("l2", 0.3)]
)
def test_another_ball_is_another_report(tmp_path, ball):
    report(**changed(ball=BALL), out=tmp_path, progress=False)
    with pytest.raises(ValueError, match=r"another report \(ball\)"):
        report(**changed(ball=ball), out=tmp_path, progress=False)


def test_equal_weights_with_other_code_are_another_report(tmp_path):
    one, other = Leaky(0.0), moved(Leaky(0.0), 0.5, 2)
    report(one, other, images(8), out=tmp_path, progress=False)
    other.slope = 0.5
    with pytest.raises(ValueError, match=r"another report \(outputs of purified\)"):
        report(one, other, images(8), out=tmp_path, progress=False)


@pytest.mark.parametrize("name", ["report.json", "report.html"])
def test_a_folder_with_a_report_that_did_not_begin_there_is_left_alone(tmp_path, name):
    (tmp_path / name).write_text("another's")
    with pytest.raises(ValueError, match=f"holds a {name} that did not begin here: give another"):
        report(**changed(), out=tmp_path, progress=False)
    assert [*tmp_path.iterdir()] == [tmp_path / name]
    assert (tmp_path / name).read_text() == "another's"


def test_a_damaged_part_is_named(tmp_path):
    report(**changed(), out=tmp_path, progress=False)
    (part,) = (tmp_path / "parts").glob("layer-1-*.json")
    part.write_text(part.read_text()[:40])
    with pytest.raises(ValueError, match=rf"{part.name} cannot be read"):
        report(**changed(), out=tmp_path, progress=False)
