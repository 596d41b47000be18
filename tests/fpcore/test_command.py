"""The command line: what it hands on, what it prints, and errors of one line."""

import json
import subprocess
import sys
import types
from types import SimpleNamespace

import pytest
from reported_networks import convolutional, images, moved

from fpcore import command
from fpcore.ball import Ball


@pytest.fixture(autouse=True)
def loaders(monkeypatch):
    """Loaders that know four files, and a page."""
    clean = convolutional(1)
    files = {
        "w.pt": clean,
        "adv.pt": moved(clean, 0.5, 2),
        "wc.pt": moved(clean, 0.1, 3),
        "w0.pt": convolutional(4),
        "w2.pt": convolutional(5),
    }
    asked = []

    def load_network(path, arch):
        asked.append((path, arch))
        if path not in files:
            raise FileNotFoundError(f"{path} is not there:\n  give a file")
        return files[path], [f"read {path}"]

    def load_images(spec, count):
        asked.append((spec, count))
        x, y = images(count)
        return SimpleNamespace(x=x, y=y, name=spec, notes=("noise",))

    loading = types.ModuleType("fpcore.loading")
    loading.load_network, loading.load_images = load_network, load_images
    monkeypatch.setitem(sys.modules, "fpcore.loading", loading)
    return asked


def test_it_measures_saves_and_prints_ten_lines(loaders, tmp_path, capsys):
    arguments = ["report", "w.pt", "adv.pt", "--arch", "mine:net", "--data", "noise"]
    arguments += ["--ball", "linf:8/255", "--out", str(tmp_path), "--control", "wc.pt"]
    arguments += ["--init", "w0.pt", "--scratch", "w2.pt", "--layers", "0", "--layers", "9"]
    arguments += ["--images", "12", "--seed", "3", "--device", "cpu", "--attacked", "5"]
    assert command.main(arguments) == 0
    content = json.loads((tmp_path / "report.json").read_text())
    printed = capsys.readouterr().out.splitlines()
    assert printed[:10] == content["summary"] and len(printed) == 11
    assert (tmp_path / "report.html").exists()
    about = content["about"]
    assert about["networks"]["clean"] == {"source": "w.pt", "notes": ["read w.pt"]}
    assert [*about["networks"]] == ["clean", "purified", "init", "control", "scratch"]
    assert about["ball"] == {"norm": "linf", "radius": 8 / 255, "box": [0, 1]}
    assert about["data"]["name"] == "noise" and about["data"]["images"] == 12
    assert about["data"]["notes"] == ["noise"] and about["seed"] == 3
    assert {r["layer"] for r in content["records"] if "layer" in r} == {"0", "9"}
    assert loaders[-1] == ("noise", 12) and ("w.pt", "mine:net") in loaders
    assert command.main([*about["command"][1:-1], f"--out={tmp_path}"]) == 0  # it goes on there
    assert json.loads((tmp_path / "report.json").read_text()) == content


def test_without_data_it_is_of_weights_alone(tmp_path, capsys):
    assert command.main(["report", "w.pt", "adv.pt", "--arch", "a", "--out", str(tmp_path)]) == 0
    assert "no images were given" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "match"),
    [
        (["w.pt", "none.pt"], "none.pt is not there: give a file"),
        (["w.pt", "w.pt"], "clean and purified are one and the same object"),
        (["w.pt", "adv.pt", "--ball", "l2:0.5"], "give images as well"),
        (["w.pt", "adv.pt", "--ball", "l2"], "--ball = 'l2': give norm:radius"),
        (["w.pt", "adv.pt", "--ball", "l3:1"], "--ball = 'l3:1'"),
        (["w.pt", "adv.pt", "--ball", "l2:1/0"], "--ball = 'l2:1/0'"),
        (["w.pt", "adv.pt", "--ball", "l2:-1"], "--ball = 'l2:-1'"),
        (["w.pt", "adv.pt", "--layers", "conv*"], "the network's layers are"),
        (["w.pt", "adv.pt", "--images", "0"], "--images = 0"),
        (["w.pt", "adv.pt", "--images", "5000"], "--images = 5000: give 2000 at most"),
        (["w.pt", "adv.pt", "--device", "abacus"], "device = 'abacus'"),
        (["w.pt", "adv.pt", "--seed", "-1"], "seed = -1"),
    ],
)
def test_an_error_is_one_line_and_exit_status_2(more, match, tmp_path, capsys):
    arguments = ["report", *more, "--arch", "a", "--out", str(tmp_path / "new")]
    assert command.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and match in err and err.startswith("fpcore: ")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("arguments", [[], ["repotr"], ["report", "w.pt"]])
def test_what_it_cannot_parse_is_exit_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        command.main(arguments)
    assert caught.value.code == 2 and "usage: fpcore" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "ball"),
    [
        ("l2:0.5", Ball("l2", 0.5, (0, 1))),
        ("linf:8/255", Ball("linf", 8 / 255, (0, 1))),
        ("linf:0", Ball("linf", 0.0, (0, 1))),
    ],
)
def test_a_ball_is_read(text, ball):
    assert command.read_ball(text) == ball


def test_it_is_a_module_that_runs():
    done = subprocess.run(
        [sys.executable, "-m", "fpcore", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0 and "report" in done.stdout
