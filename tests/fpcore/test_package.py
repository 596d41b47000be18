"""fpcore as a package: small at the top, without circles, and quick to import."""

import ast
import json
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import fpcore

ROOT = Path(fpcore.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
HEAVY = (
    "matplotlib",
    "IPython",
    "ipywidgets",
    "pandas",
    "papermill",
    "torchvision",
    "sklearn",
    "scipy",
    "pyautoattack",
    "pyarrow",
    "PIL",
)


def name_of(path):
    """The dotted name of a module by its file."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in FILES}
SUBPACKAGES = [name for name, path in MODULES.items() if path.name == "__init__.py"]


def statements(path):
    return ast.parse(path.read_text()).body


def imports(path, everywhere=True):
    """The names of the modules that a file imports, inside its functions as well or not."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if everywhere else tree.body
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
            found |= submodules or {node.module}
    return found


def in_a_fresh_process(code):
    """What code prints in an interpreter of its own, which imports from the same folder."""
    paths = [str(ROOT.parent)]
    code = f"import sys; sys.path[:0] = {paths!r}\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_top_is_a_table_of_contents():
    names = [name for name in vars(fpcore) if not name.startswith("_")]
    exported = [name for name in names if f"fpcore.{name}" not in MODULES]
    assert len(exported) <= 40
    assert len((ROOT / "__init__.py").read_text().splitlines()) <= 70


@pytest.mark.parametrize("name", SUBPACKAGES)
def test_an_init_holds_no_more_than_a_docstring_imports_and_names(name):
    docstring, *rest = statements(MODULES[name])
    assert isinstance(docstring, ast.Expr) and isinstance(docstring.value, ast.Constant)
    for node in rest:
        if isinstance(node, ast.Assign):
            assert [target.id for target in node.targets] in (["__all__"], ["__version__"])
        else:
            assert isinstance(node, ast.ImportFrom)


def test_imports_make_no_circle():
    graph = {}
    for name, path in MODULES.items():
        graph[name] = {other for other in imports(path) if other in MODULES}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("name", MODULES)
def test_no_module_imports_the_book(name):
    found = imports(MODULES[name])
    assert not [other for other in found if other.split(".")[0] == "fpbook"]


@pytest.mark.parametrize("name", SUBPACKAGES)
def test_each_subpackage_can_be_imported_first(name):
    in_a_fresh_process(f"import {name}")


def test_the_import_brings_no_library_that_most_users_need_not():
    code = "import json, torch; before = {*sys.modules}; import fpcore; import fpcore.theory\n"
    code += "print(json.dumps(sorted({*sys.modules} - before)))"
    loaded = {name.split(".")[0] for name in json.loads(in_a_fresh_process(code))}
    assert "fpcore" in loaded and not loaded & {*HEAVY}
