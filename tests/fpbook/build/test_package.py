"""What is installed: the wheel holds fpcore alone, brings what it imports, and runs by itself."""

import ast
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from importlib.metadata import packages_distributions

import pytest
import yaml

import fpcore
from fpbook.build.rooms import ROOT
from fpcore import moved

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
README = (ROOT / "README.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
# What the book needs, and fpcore must do without.
BOOK_ONLY = ("fpbook", "matplotlib", "pandas", "IPython", "ipywidgets", "nbformat", "papermill")


def git_status():
    command = ["git", "status", "--porcelain", "--ignored=no"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, unpacked: its folder and the names in it."""
    folder = tmp_path_factory.mktemp("wheel")
    before = git_status()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert git_status() == before  # building leaves nothing behind
    (file,) = folder.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder / "unpacked")
        return folder / "unpacked", archive.namelist()


@pytest.fixture(scope="module")
def metadata(wheel):
    folder, _ = wheel
    (file,) = folder.glob("*.dist-info/METADATA")
    return Parser().parsestr(file.read_text())


def test_the_wheel_holds_fpcore_alone_and_all_of_it(wheel):
    _, names = wheel
    files = {
        str(path.relative_to(ROOT))
        for kind in ("*.py", "*.jinja")
        for path in (ROOT / "fpcore").rglob(kind)
    }
    assert {name for name in names if ".dist-info/" not in name} == files


def test_the_wheel_brings_readme_licence_and_version(wheel, metadata):
    folder, names = wheel
    assert metadata["Version"] == fpcore.__version__
    assert metadata["License-Expression"] == "MIT"
    (licence,) = [name for name in names if name.endswith("/LICENSE")]
    assert (folder / licence).read_text() == (ROOT / "LICENSE").read_text()
    assert "## What `pip install .` installs" in metadata.get_payload()


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    newest = re.search(r"^## (\S+):", CHANGELOG, re.M)
    assert fpcore.__version__ == citation["version"] == newest[1]


def test_the_readme_s_example_needs_fpcore_alone_and_prints_what_it_says(wheel, tmp_path):
    folder, _ = wheel
    (code,) = re.findall(r"```python\n(import copy\n.*?)```", README, re.S)
    says = [[float(n) for n in line.split()] for line in re.findall(r"^# ([\d. ]+)  ", code, re.M)]
    without = f"import sys\nsys.modules |= dict.fromkeys({BOOK_ONLY})\n"
    done = subprocess.run(
        [sys.executable, "-c", without + code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    printed = [[float(n) for n in line.split()] for line in done.stdout.splitlines()]
    assert printed == [pytest.approx(row, abs=0.03) for row in says]
    assert len(printed) == 5


def imported(path):
    """The packages that a module imports, at its top or inside its functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize(
    ("package", "lines"),
    [
        ("fpcore", PROJECT["dependencies"]),
        ("fpbook", [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["book"]]),
    ],
)
def test_installing_brings_all_that_the_modules_import(package, lines):
    declared = {canonical(line) for line in lines} | {"fpcore", "fpbook"}
    # by those who have it: `timm:NAME`, and the engines of sweeps
    asked_for = {"timm", "ray", "submitit"}
    names = {name for path in (ROOT / package).rglob("*.py") for name in imported(path)}
    homes = packages_distributions() | {"fpcore": ["fpcore"], "fpbook": ["fpbook"]}
    assert {
        name
        for name in names - sys.stdlib_module_names - asked_for
        if not {canonical(home) for home in homes[name]} & declared
    } == set()


def canonical(line):
    """The name of a distribution, as all spellings of it are compared."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", line)[0]).lower()


def test_each_declared_dependency_is_pinned():
    text = (ROOT / "requirements.txt").read_text() + (ROOT / "constraints.txt").read_text()
    pinned = {canonical(line) for line in text.splitlines() if re.match(r"\w.*==", line)}
    lines = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["book"]]
    assert {canonical(line) for line in lines} - pinned == set()


def changed_names():
    """(name that fpcore had, where it is now) as the change log lists them."""
    table = CHANGELOG.split("### Names that `fpcore` had")[1]
    for module, names in re.findall(r"^\| `([\w.]+)` \| (`.*`) \|$", table, re.M):
        for entry in names.split(", "):
            old, *new = re.findall(r"`(\w+)`", entry)
            yield old, f"{module}.{new[0] if new else old}"


def test_the_change_log_lists_every_name_that_fpcore_had():
    listed = {old for old, _ in changed_names()} | {"held_out", "alike"}
    within = {name for names in moved.WITHIN.values() for name in names.split()}
    assert listed == within | {*moved.IN_THE_BOOK.split()}


@pytest.mark.parametrize("new", [new for _, new in changed_names()])
def test_a_name_is_where_the_change_log_says(new):
    pkgutil.resolve_name(":".join(new.rsplit(".", 1)))
