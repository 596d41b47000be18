"""Every command, the chapters' parameters and the widgets, given what is wrong: one error of ours.

Nothing is begun before that: what would work is replaced by an error.
"""

import math
import re

import nbformat
import papermill
import pytest
import torch
from counting import count
from traitlets import TraitError

from fpbook import __main__ as book
from fpbook.build import chapters, kernels, opening, site, supply, trust, validate
from fpbook.build import execute as execution
from fpbook.cifar10 import dose, judged, residual, together
from fpbook.cifar10 import precisions as cifar10_precisions
from fpbook.figures.style import start
from fpbook.sweep import command as sweeping
from fpbook.synthetic import explorer_data, narrow, precisions, published_certificate
from fpbook.widgets import image_frames, sizes

pytestmark = [pytest.mark.counted, pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")]
WORDS = ("", " ", "nonsense", "QUICK", "../quick", "quick\n", "0", "nan", "ä", "--")
DEVICES = ("", "tpu", "cuda:99", "cuda:-1", "cuda:x", "CPU", "cpu:0:0", "meta", "0")
INTEGERS = ("-1", "1.5", "x", "", "nan", "inf", "1e3", "0x1", "None", "[1]")
COUNTS = (*INTEGERS, "0")
PROFILED = ("execute", "validate", "build", "opening", "pdf")
PARAMETERS = {  # by name: values as YAML
    "seed": ("zero", "-1", "1.5", "true", "null", "[1]", "{a: 1}", "'3'", ".nan", "1e400", ""),
    "profile": ("3", "null", "tiny", "[quick]", "true", "''"),
    "device": ("3", "null", "tpu", "[cpu]", "cuda:99", "''"),
    "widht": ("3", "quick"),
    "seed ": ("3",),
    "": ("3",),
}
UNREADABLE = ("[", "{a", "'", '"', "a: b: c", "&", "*x", "!!python/object:os.system x", "@", "\t:")
WORK = (
    (execution, "hand_down_folders"),
    (execution, "work_in_lanes"),
    (validate, "validate"),
    (site, "build"),
    (opening, "opening_page"),
    (supply, "locked"),
    (supply, "_pip_audit"),
    (trust, "run_checks"),
    (precisions, "run_all"),
    (explorer_data, "measured_sliders"),
    (image_frames, "open_cifar10"),
    (narrow, "kept"),
    (published_certificate, "run_synthetic"),
    (published_certificate, "recheck"),
    (together, "load_cifar10"),
    (judged, "load_cifar10"),
    (dose, "needed_cifar10"),
    (residual, "needed_cifar10"),
    (cifar10_precisions, "load_cifar10"),
    (sweeping, "swept"),
    (sweeping, "publish_times"),
)


def lines():
    """Command lines that are wrong in one place."""
    for command in PROFILED:
        yield from ([command, "--profile", word] for word in WORDS)
    for command in ("execute", "validate"):
        yield from ([command, "--only", word] for word in WORDS if word != "--")
        yield [command, "--only"]
    yield from (["execute", "--seed", number] for number in INTEGERS)
    for command in ("execute", "explorer", "frames", "narrow", "train"):
        yield from ([command, "--device", device] for device in DEVICES)
    for name, values in PARAMETERS.items():
        yield from (["execute", "-p", name, value] for value in values)
    yield from (["execute", "-p", "seed", text] for text in UNREADABLE)
    yield from (["execute", "-p", *few] for few in ([], ["seed"]))
    yield from (["explorer", "--seed", number] for number in INTEGERS)
    for name in ("d", "k", "margin", "threshold", "width", "reach"):
        yield from (["explorer", f"--{name}", number] for number in ("x", "", "-1", "nan", "inf"))
        yield ["explorer", f"--{name}"]
    yield from (["numerics", "--seeds", number] for number in COUNTS)
    for name in ("images", "attacked"):
        yield from (["numerics-cifar10", f"--{name}", number] for number in (*COUNTS, "10001"))
    yield from (["evaluation", "--images", number] for number in (*COUNTS, "1001"))
    yield from (["evaluation", "--beside", number] for number in (*INTEGERS, "1"))
    yield from (["narrow", "--d", number] for number in (*COUNTS, str(10**15)))
    yield from (["narrow", "--margin", number] for number in ("x", "", "-1", "nan", "inf", "99"))
    yield from (["narrow", "--seeds", "1", number] for number in INTEGERS)
    for command in ("dose", "resnet"):
        yield from ([command, "--seeds", "2", number] for number in (*INTEGERS, "9"))
    yield ["dose", "--seeds", "2", "2"]
    yield from (["resnet", "--names", word] for word in WORDS if word != "--")
    yield from (["train", "--seed", number] for number in INTEGERS)
    yield from (["train", "--networks", word] for word in WORDS)
    yield from (["train", "--profile", word] for word in WORDS)
    yield from (["sweep", file] for file in ("nowhere.toml", "", ".", "/dev/null", "/nowhere/x"))
    sweep = str(chapters.ROOT / "sweeps" / "radius.toml")
    yield from (["sweep", sweep, "--workers", number] for number in COUNTS)
    yield from (["sweep", sweep, "--gpus", number] for number in ("x", "", "-1", "nan", "inf"))
    yield from (["sweep", sweep, "--engine", word] for word in WORDS)
    yield from (["sweep", sweep, "--into", folder] for folder in ("/dev/null", "/proc/nowhere"))
    for name in ("faults", "examples", "lanes"):
        yield from (["trust", f"--{name}", number] for number in COUNTS)
    yield from (["convert", folder] for folder in ("nowhere", "/nowhere/at all", "/dev/null", ""))
    for command in book.COMMANDS:
        yield [command, "--nonsense"]
        yield [command, "--nonsense=3"]
        yield [command, "too", "many", "words"]
    yield from ([word] for word in ("", " ", "exceute", "--version", "EXECUTE", "../execute"))


@pytest.fixture
def idle(monkeypatch, tmp_path):
    """Work, were it begun, is an error; the folder is another one."""

    def begun(*_, **__):
        raise AssertionError("the work was begun")

    for module, name in WORK:
        monkeypatch.setattr(module, name, begun)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FPCORE_RESULTS", str(chapters.ROOT / "results"))
    monkeypatch.setenv("FPCORE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_a_wrong_command_line_is_one_message_and_begins_nothing(idle, capsys):
    tried, failed = 0, []
    for words in lines():
        tried += 1
        try:
            status = book.main(words)
        except SystemExit as left:
            status = left.code
        except BaseException as error:
            failed.append(f"{words}: {type(error).__name__} from inside: {error}")
            continue
        said = capsys.readouterr()
        text = status if isinstance(status, str) else said.err
        if not status or not text.strip() or "Traceback" in text:
            failed.append(f"{words}: status {status}, said {text!r}, {said.out[:80]!r}")
        elif len(text.split("\nusage")[-1].splitlines()) > 12:
            failed.append(f"{words}: said much: {text!r}")
    assert not failed, "\n".join(failed)
    assert not [*idle.rglob("*")] and tried > 200
    count("bad inputs", tried)


def test_every_command_is_tried():
    assert {*book.COMMANDS} <= {words[0] for words in lines()}


BAD = {
    "profile": ("tiny", "", None, 3, True, ["quick"], "QUICK", b"quick"),
    "device": ("tpu", "", None, 3, "cuda:99", ["cpu"], torch.device("meta"), 1.5),
    "seed": (-1, 1.5, "0", None, True, math.nan, math.inf, [0], 1j, torch.tensor(0)),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_parameters_of_a_chapter_are_named_before_its_work(name, capsys):
    good = {"profile": "quick", "device": "cpu", "seed": 0}
    start(**good)
    for value in BAD[name]:
        with pytest.raises(ValueError, match=rf"^{name} = "):
            start(**{**good, name: value})
    count("bad inputs", len(BAD[name]))


def test_every_chapter_checks_its_parameters_before_its_work():
    for notebook in chapters.chapters():
        cells = [c for c in nbformat.read(notebook, 4).cells if c.cell_type == "code"]
        lines = [line for line in cells[1].source.splitlines() if re.match(r"[\w, ]+ = ", line)]
        assert lines[0] == "target = start(profile, device, seed)", notebook.name


def test_papermill_alone_ends_in_the_same_error(tmp_path):
    """No command of ours in between: `papermill chapters/claims.ipynb out.ipynb -p seed zero`."""
    for given, says in (({"seed": "zero"}, "seed = 'zero'"), ({"profile": 3}, "profile = 3")):
        with pytest.raises(papermill.PapermillExecutionError) as failed:
            papermill.execute_notebook(
                chapters.read_chapter(chapters.ROOT / "chapters" / "claims.ipynb"),
                str(tmp_path / "out.ipynb"),
                given,
                kernel_name=kernels.KERNEL["name"],
                cwd=str(chapters.ROOT),
                progress_bar=False,
            )
        assert failed.value.ename == "ValueError" and says in failed.value.evalue
        count("bad inputs")


NUMBERS = (math.nan, math.inf, -math.inf, 1e308, -1, 0, 1e-320, "x", "", None, [1], 1j, 10**400)


def test_whatever_is_typed_into_the_explorer_is_refused_or_a_number_in_its_range(monkeypatch):
    class Measured(Exception):
        pass

    def measured(base, widths, reaches, *_):
        raise Measured(f"{base.d} {base.k} {base.margin} {base.last_threshold} {widths} {reaches}")

    monkeypatch.setattr(sizes, "measure_group", measured)
    for name in sizes.START:
        for value in NUMBERS:
            live = sizes.LiveExplorer(torch.device("cpu"), delay=0.0)
            one = live.inputs[name]
            try:
                one.value = value
            except TraitError as error:
                assert name in str(error) or "value" in str(error)
                continue
            except (TypeError, OverflowError) as error:
                pytest.fail(f"{name} = {value!r}: {error}")
            live.ask()
            live.jobs.wait()
            said = live.status.value
            if one.min <= one.value <= one.max:  # which may not go with the others
                assert re.search(r"Measured|(margin|k) = .*: give", said), said
            else:
                assert f"{name} = nan: give" in said, said
    count("bad inputs", len(sizes.START) * len(NUMBERS))
