import dataclasses
import math

import pytest
import torch

from fpbook import first as experiments
from fpbook.cifar10.protocol import CIFAR
from fpbook.figures.style import PROFILES, start
from fpbook.first import cache_path, summarise
from fpbook.synthetic.protocol import SYNTHETIC
from fpcore.training import Training

CPU = torch.device("cpu")


def test_profiles_are_those_of_both_experiments():
    assert set(PROFILES) == set(SYNTHETIC) == {"quick", "full"}
    assert set(CIFAR) == {*PROFILES, "narrow-resnet", "resnet18"}


def test_the_narrow_resnet_is_trained_by_the_convnets_recipe():
    changed = {
        "width": 1.0,
        "architecture": "convnet",
        "seeds": CIFAR["full"].seeds,
        "tuned_seeds": CIFAR["full"].tuned_seeds,
    }
    assert dataclasses.replace(CIFAR["narrow-resnet"], **changed) == CIFAR["full"]
    sizes = [
        sum(p.numel() for p in CIFAR[name].initial(0).parameters())
        for name in ("narrow-resnet", "full")
    ]
    assert abs(sizes[0] - sizes[1]) < 0.05 * sizes[1]


def test_a_checkpoint_lies_in_the_cache_folder(cache):
    path = cache_path("name", Training(1, 0.1), 3)
    assert path.parent == cache and path.name.startswith("name-") and path.suffix == ".safetensors"


@pytest.mark.parametrize(
    "change", [{"steps": 2}, {"lr": 0.2}, {"radius": 0.1}, {"seed": 1}, {"batch": 8}, {"clip": 1.0}]
)
def test_a_checkpoint_has_another_name_for_another_configuration(change, cache):
    config = Training(1, 0.1)
    assert cache_path("a", config, 0) == cache_path("a", Training(1, 0.1), 0)
    assert cache_path("a", config, 0) != cache_path("a", dataclasses.replace(config, **change), 0)


def test_a_checkpoint_has_another_name_for_another_lineage_label_and_code(cache, monkeypatch):
    one, two = Training(1, 0.1), Training(2, 0.1)
    paths = {
        cache_path("a", one),
        cache_path("b", one),
        cache_path("a", one, 0),
        cache_path("a", one, 1),
        cache_path("a", one, two),
        cache_path("a", two, one),
    }
    monkeypatch.setattr(experiments, "SOURCES", ("checks",))
    assert len(paths | {cache_path("a", one)}) == 7


def test_a_checkpoint_has_another_name_where_networks_are_trained_in_another_arithmetic(
    cache, monkeypatch
):
    paths = set()
    for dtype in (torch.float32, torch.bfloat16, torch.float32):
        monkeypatch.setattr(experiments, "arithmetic", lambda device, dtype=dtype: dtype)
        paths.add(cache_path("a", Training(1, 0.1), 0))
    assert len(paths) == 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("slow", "cpu", 0), "profile = 'slow': choose one of 'quick', 'full'"),
        (("quick", "tpu", 0), "device = 'tpu'"),
        (("quick", "cpu", -1), "seed = -1"),
        (("quick", "cpu", 0.5), "seed = 0.5"),
    ],
)
def test_bad_parameters_of_a_chapter_are_named(arguments, named):
    with pytest.raises(ValueError) as error:
        start(*arguments)
    assert named in str(error.value)


def test_a_chapter_opens_with_where_its_numbers_come_from(capsys):
    assert start("quick", "cpu", 3) == CPU
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("quick", "cpu", torch.__version__, "seed 3"))


@pytest.mark.parametrize(
    "share",
    [
        "clean_accuracy",
        "share_live",
        "purity_adv",
        "dense_part",
        "features_held",
        "same_feature",
        "certificate_exact",
    ],
)
def test_a_summary_cuts_shares(share):
    found = summarise([{share: 1.0}, {share: 0.9}])[share]
    assert found["high"] == 1.0 and found["value"] == pytest.approx(0.95)
    assert summarise([{share: 0.0}, {share: 0.1}])[share]["low"] == 0.0


def test_a_summary_cuts_no_cosines():
    found = summarise([{"cos_init_adv": -0.99}, {"cos_init_adv": 0.99}])["cos_init_adv"]
    assert found["low"] < -1 and found["high"] > 1


def test_a_summary_of_one_seed_has_no_interval():
    assert summarise([{"radius": 0.2}])["radius"] == {
        "value": 0.2,
        "low": None,
        "high": None,
        "n": 1,
    }


def test_a_figure_is_summarised_over_the_seeds_that_have_it():
    found = summarise([{"a": 1.0, "b": 5.0}, {"a": 3.0}])
    assert (found["a"]["value"], found["a"]["n"]) == (2.0, 2) and (
        found["b"]["value"],
        found["b"]["n"],
    ) == (5.0, 1)
    assert summarise([]) == {}


def test_what_was_measured_is_kept_and_not_measured_again(cache):
    calls = []

    def measure(a, b):
        calls.append((a, b))
        return {"robust": a / b, "steps": None}

    for _ in range(2):
        assert experiments.kept(measure, 1, 2, sources=("checks",)) == {
            "robust": 0.5,
            "steps": None,
        }
    assert calls == [(1, 2)]
    experiments.kept(measure, 2, 1, sources=("checks",))
    experiments.kept(measure, 1, 2, sources=("figures",))
    assert calls == [(1, 2), (2, 1), (1, 2)] and len([*cache.glob("measure-*.json")]) == 3


@pytest.mark.parametrize("content", ["", "[1, 2", "\udcff"])
def test_a_damaged_measurement_is_an_error_that_says_what_to_do(content, cache):
    def measure():
        return 1

    experiments.kept(measure, sources=("checks",))
    (path,) = cache.glob("measure-*.json")
    path.write_text(content, errors="surrogateescape")
    with pytest.raises(ValueError, match=f"{path} cannot be read .*: delete it"):
        experiments.kept(measure, sources=("checks",))


def test_a_folder_that_cannot_be_written_is_an_error_before_any_work(cache, monkeypatch):
    calls = []

    def measure():
        return calls.append(1)

    def refuse(**_):
        raise PermissionError("Read-only file system")

    experiments.kept(measure, sources=("checks",))
    monkeypatch.setattr(experiments.tempfile, "TemporaryFile", refuse)
    experiments.kept(measure, sources=("checks",))  # reading needs no permission
    with pytest.raises(
        ValueError, match=f"nothing can be kept in {cache} .*: give another folder by FPCORE_CACHE"
    ):
        experiments.kept(measure, 1, sources=("checks",))
    assert len(calls) == 1


def test_a_measurement_that_fails_leaves_nothing_behind(cache):
    for bad, message in ((0, "division"), (math.nan, "JSON")):
        with pytest.raises((ZeroDivisionError, ValueError), match=message):
            experiments.kept(lambda b: 1 / b, bad, sources=("checks",))
    assert not [*cache.glob("*.json")]
