"""A sweep file: what it asks for, and what is wrong in it, said before any work."""

import dataclasses

import pytest

from fpbook.results.files import ROOT
from fpbook.sweep.plan import planned, tasks_of
from fpbook.synthetic.protocol import SYNTHETIC

ASKED = {"experiment": "limits", "base": "quick", "seeds": [0, 1]}


def test_lists_are_multiplied_and_seeds_are_fastest():
    tasks = tasks_of(ASKED | {"settings": {"d": 100, "k": 8, "width": [200, 400], "noise": [0, 1]}})
    found = [(task.experiment.width, task.experiment.noise, task.seed) for task in tasks]
    assert found == [(w, n, s) for w in (200, 400) for n in (0.0, 1.0) for s in (0, 1)]
    home = dataclasses.replace(SYNTHETIC["quick"], d=100, width=400, noise=1.0, seeds=1)
    assert tasks[-1].experiment == home
    assert tasks[-1].varied == (("width", 400), ("noise", 1))


def test_several_tables_are_one_after_the_other():
    sizes = [{"d": 100, "k": 8}, {"d": 144, "k": 9}]
    tasks = tasks_of(ASKED | {"seeds": 3, "settings": sizes})
    assert [(t.experiment.d, t.experiment.k, t.seed) for t in tasks] == [(100, 8, 3), (144, 9, 3)]
    assert [t.varied for t in tasks] == [(("d", 100), ("k", 8)), (("d", 144), ("k", 9))]


def test_a_recipe_is_of_value_seed_and_device_not_of_how_it_was_asked_for(cache):
    def recipe(**asked):
        return tasks_of(ASKED | {"seeds": 0} | asked)[0].recipe

    home = recipe()
    assert home.startswith("limits-")
    width = SYNTHETIC["quick"].width
    assert home == recipe(settings={"noise": 0.2}) == recipe(settings={"width": [width, 9]})
    assert recipe(settings={"noise": 0}) == recipe(settings={"noise": 0.0}) != home
    others = ({"seeds": 1}, {"experiment": "control"}, {"device": "cuda"})
    assert len({home, *(recipe(**other) for other in others)}) == 4


def test_what_may_be_none_is_named_so():
    (task,) = tasks_of(ASKED | {"seeds": 0, "settings": {"patience": "none"}})
    assert task.experiment.patience is None
    with pytest.raises(ValueError, match="width = 'none'"):
        tasks_of(ASKED | {"settings": {"width": "none"}})


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"experimnt": "limits"}, "key = 'experimnt' is unknown: did you mean 'experiment'?"),
        ({"experiment": "limit"}, "experiment = 'limit' is unknown: did you mean 'limits'"),
        ({"experiment": 3}, "experiment = 3 is unknown"),
        ({"base": "quik"}, "base = 'quik' is unknown: did you mean 'quick'?"),
        ({"base": ["quick"]}, "is unknown"),
        ({"settings": {"widht": 3}}, "setting = 'widht' is unknown: did you mean 'width'"),
        ({"settings": {"tuned_seeds": 3}}, "setting = 'tuned_seeds' is unknown"),
        ({"settings": {"width": []}}, "an empty list asks for no task"),
        ({"settings": {"width": "wide"}}, "width = 'wide': give a whole number of at least 1"),
        ({"settings": {"noise": float("nan")}}, "noise = nan: give a finite number"),
        ({"settings": 3}, r"settings = 3: give a table, \[settings\]"),
        ({"settings": {"width": [8, 8]}}, "limits: width = 8, seed 0: it is asked for 2 times"),
        ({"seeds": "0"}, "seeds = '0': give a whole number"),
        ({"seeds": [0.5]}, "seeds = 0.5: give a whole number"),
        ({"device": "tpu"}, "device = 'tpu'"),
        ({"base": None}, "settings lack d, k, width, clean_steps, adversarial_steps: give them"),
    ],
)
def test_what_is_wrong_is_one_error_that_says_what_to_give(asked, says):
    with pytest.raises(ValueError, match=says):
        tasks_of(ASKED | asked)


def test_the_file_is_named_with_what_is_wrong_in_it(tmp_path):
    with pytest.raises(ValueError, match=r"none\.toml cannot be read .*: name a sweep file"):
        planned(tmp_path / "none.toml")
    path = tmp_path / "one.toml"
    for text, says in (
        ("experiment = ", "one.toml: Invalid value"),
        ("seeds = 1", "one.toml: experiment = '' is unknown"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=says):
            planned(path)


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.toml")), ids=lambda p: p.name)
def test_the_sweeps_of_the_book_can_be_read(path):
    assert len(planned(path)) > 1
