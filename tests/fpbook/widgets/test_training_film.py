import pytest
from matplotlib.colors import to_hex

from fpbook.figures.style import CLEAN, PURIFIED
from fpbook.synthetic.film import positions
from fpbook.synthetic.measures import robust_correct_with_dense
from fpbook.widgets.training_film import (
    cloud_panel,
    course_panel,
    followed_panel,
    robust_share,
    training_slider,
)


def test_the_projector_has_a_panel_for_each_frame(film):
    time, stack = training_slider(film).children
    texts = [child.value for child in stack.children]
    assert len(time.options) == len(film.frames) == len({*texts})
    assert all(text.count("<img alt=") == 3 for text in texts)
    assert film.frames[time.index].stage == "clean"
    assert film.frames[time.index + 1].stage == "FGM"


def test_a_cloud_has_a_point_for_each_live_neuron_in_the_colour_of_its_stage(film):
    places = positions(film)
    for i, color in ((0, CLEAN), (len(film.frames) - 1, PURIFIED)):
        figure, words = cloud_panel(film, places, i)
        (points,) = figure.axes[0].collections
        x, y = points.get_offsets().T
        assert x.tolist() == pytest.approx(places.feature[i].tolist())
        assert y.tolist() == pytest.approx(places.dense[i].tolist())
        assert to_hex(points.get_facecolor()[0]) == color.lower()
        assert f"step {film.frames[i].step};" in words


def test_the_neurons_followed_are_the_same_at_every_frame(film):
    places = positions(film)
    end = film.experiment.clean_steps
    clean_end = max(i for i, frame in enumerate(film.frames) if frame.step <= end)
    labels = set()
    for i in range(len(film.frames)):
        figure, _ = followed_panel(film, places, i, clean_end)
        labels.add(tuple(axis.get_ylabel() for axis in figure.axes))
    (pair,) = labels
    assert len({*pair}) == 2


def test_the_course_says_how_many_samples_survive(film):
    places = positions(film)
    robust = [robust_share(film, frame) for frame in film.frames]
    last = film.frames[-1]
    survived = robust_correct_with_dense(
        last.net, film.data, film.x, film.y, film.experiment.radius, restarts=1
    )
    assert robust[-1] == survived.float().mean().item()
    figure, words = course_panel(film, places, robust, len(robust) - 1)
    (line,) = [line for line in figure.axes[0].lines if line.get_label() == "robust accuracy"]
    assert [*line.get_ydata()] == robust
    assert f"{robust[-1]:.0%} of test samples" in words
