"""What an edit renames and re-runs: a comment nothing, a change of code what depends on it."""

import ast
import importlib
import json
import re
import shutil
import time
from functools import cache

import pytest

from fpbook.results.code import PACKAGES, ROOT, Code, Part, chapter_digest, meaning

FILES = {
    "fpcore/__init__.py": """
        \"\"\"A package.\"\"\"
        from fpcore.attacks import fgm
        from fpcore.attacks import pgd as strong
        from fpcore.models import Net
        __all__ = ["Net", "fgm", "strong"]
        def __getattr__(name):
            import importlib
            return importlib.import_module(f"fpcore.{name}")
    """,
    "fpcore/checks.py": "def finite(x):\n    return x\n",
    "fpcore/models.py": """
        from fpcore import checks
        class Net:
            \"\"\"A network.\"\"\"
            width: int = 3
            def __init__(self):
                self.width = checks.finite(2)
        def unused():
            return 1
    """,
    "fpcore/attacks.py": """
        \"\"\"Attacks.\"\"\"
        import math
        from fpcore.models import Net
        SCALE = 0.5
        def fgm(net: Net, x: float) -> float:
            \"\"\"One step.\"\"\"
            size: float = SCALE * x  # half
            return _sign(size)
        def _sign(x):
            return math.copysign(1, x)
        def pgd(net, x):
            return fgm(net, x) + 1
    """,
    "fpcore/theory/__init__.py": "from .laws import law\n",
    "fpcore/theory/laws.py": "def law():\n    return 1\n",
    "fpcore/theory/kernels.py": """
        from ..models import Net
        def kernel():
            from fpcore.theory import law
            return law()
    """,
    "fpbook/__init__.py": "",
    "fpbook/results/__init__.py": "",
    "fpbook/results/ledger.py": "def claims():\n    return open('claims.toml').read()\n",
    "fpbook/results/claims.toml": "a = 1\n",
    "fpbook/results/notes.toml": "b = 1\n",
}
INDENT = re.compile(r"^ {8}", re.MULTILINE)


def chapters():
    """The code cells of the book's chapters, by the chapter's name."""
    found = {}
    for path in sorted((ROOT / "chapters").glob("*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        found[path.stem] = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    return found


CHAPTERS = chapters()
REAL = sorted(Code(ROOT).modules)
MODULES = [name for name in REAL if not Code(ROOT).module(name).package]


@pytest.fixture
def tree(tmp_path):
    """A folder with two small packages."""
    for name, source in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(INDENT.sub("", source))
    return tmp_path


@pytest.fixture
def edit(tree):
    """A function that replaces a text in one of the files."""

    def replace(name, old, new):
        text = (tree / name).read_text()
        assert old in text
        (tree / name).write_text(text.replace(old, new))

    return replace


@pytest.fixture
def clone(tmp_path):
    """A copy of the real packages."""
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    return tmp_path


def used(tree, *cells):
    """The modules that cells really use."""
    code = Code(tree)
    return {module for module in code.modules if changes_chapter(tree, module, *cells)}


def changes_chapter(tree, module, *cells):
    """Whether a new line in a module changes the digest of cells."""
    path = next(
        path
        for path in (tree / f"{module.replace('.', '/')}{end}" for end in (".py", "/__init__.py"))
        if path.exists()
    )
    text, before = path.read_text(), chapter_digest(cells, tree)
    path.write_text(f"{text}\nNEW_LINE = 1\n")
    after = chapter_digest(cells, tree)
    path.write_text(text)
    return before != after


# --- What a module says


SAME = [
    ("x = 1", "x = 1  # one"),
    ("x = 1", "# one\n\n\nx = (\n    1\n)"),
    ("def f():\n    return 1", 'def f():\n    """One."""\n    return 1'),
    ("class A:\n    x = 1", 'class A:\n    """One."""\n    x = 1\n    """An attribute."""'),
    ("x = 1", '"""A module."""\nx = 1'),
    ("def f(x): return x", "def f(x: int) -> int: return x"),
    ("def f():\n    x = 1\n    return x", "def f():\n    x: int = 1\n    return x"),
    ("class A:\n    def f(self, x): return x", "class A:\n    def f(self, x: int): return x"),
    ("import a\nimport b\nx = a.y", "import b, a\nx = a.y"),
    ("from a import b\nx = b", "import a.b as b\nx = b"),
    ("from a import b, c\nx = b", "from a import c\nfrom a import b\nx = b"),
    ("def f(): pass", 'def f():\n    """Nothing."""'),
]
OTHER = [
    ("x = 1", "x = 2"),
    ("x = 1", "x = True"),
    ("x = 1", "y = 1"),
    ("x = a + b", "x = a - b"),
    ("def f(x): return x", "def f(x=None): return x"),
    ("class A:\n    x = 1", "class A:\n    x: int = 1"),
    ("class A:\n    x: float", "class A:\n    x: int"),
    ("@d\ndef f(x: int): pass", "@d\ndef f(x: float): pass"),
    ("def f():\n    x: int\n    return x", "def f():\n    return x"),
    ("from a import b\nx = b", "from c import b\nx = b"),
    ("from a import b\nx = b", "from a import c as b\nx = b"),
    ("print('a')", "print('b')"),
    ('"""One."""\nprint(__doc__)', '"""Two."""\nprint(__doc__)'),
]


@pytest.mark.parametrize(("one", "two"), SAME)
def test_what_cannot_matter_changes_no_meaning(one, two):
    assert meaning(one) == meaning(two)


@pytest.mark.parametrize(("one", "two"), OTHER)
def test_what_can_matter_changes_the_meaning(one, two):
    assert meaning(one) != meaning(two)


# --- Which modules cells use


ATTACKS = {"fpcore.attacks", "fpcore.models", "fpcore.checks"}
THEORY = {"fpcore.theory.laws"}


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("import math", set()),
        ("import fpcore as fp", set()),
        ("import fpcore as fp\nfp.fgm(1)", ATTACKS),
        ("import fpcore as fp\nfp.strong(1).x.y", ATTACKS),
        ("import fpcore\nfpcore.Net()", {"fpcore.models", "fpcore.checks"}),
        ("import fpcore as fp\nfp.theory.law()", THEORY),
        ("import fpcore as fp\nfp.theory.laws.law()", THEORY),
        ("import fpcore as fp\nfp.checks.finite(1)", {"fpcore.checks"}),
        ("from fpcore import checks", {"fpcore.checks"}),
        ("from fpcore import theory\ntheory.law()", THEORY),
        ("from fpcore.theory import law", THEORY),
        ("import fpcore.theory.laws as laws", THEORY),
        ("import fpcore.theory.laws", THEORY),
        (
            "from fpcore.theory.kernels import kernel",
            {"fpcore.theory.kernels", "fpcore.models", "fpcore.checks"} | THEORY,
        ),
        ("def f():\n    from fpcore import checks\n    return checks", {"fpcore.checks"}),
        ("if TYPE_CHECKING:\n    from fpcore.checks import finite", {"fpcore.checks"}),
        ("from fpbook.results import ledger", {"fpbook.results.ledger"}),
    ],
)
def test_cells_depend_on_the_modules_that_they_really_use(tree, cell, expected):
    assert used(tree, cell) == expected


@pytest.mark.parametrize(
    "cell",
    [
        "import fpcore as fp\ngetattr(fp, name)",
        "import fpcore as fp\nf(fp)",
        "import fpcore as fp\nfp.nowhere",
        "from fpcore import *",
        "import fpcore\nfpcore.__file__",
    ],
)
def test_a_package_that_cannot_be_followed_counts_as_a_whole(tree, cell):
    assert used(tree, cell) == {module for module in Code(tree).modules if "fpcore" in module}


@pytest.mark.parametrize("cell", ["%run x.py", "import importlib\nimportlib.import_module(name)"])
def test_cells_that_can_import_anything_depend_on_everything(tree, cell):
    assert used(tree, cell) == Code(tree).modules


def test_a_package_that_does_something_when_imported_counts_with_its_modules(tree, edit):
    edit("fpcore/theory/__init__.py", "from", "print('here')\nfrom")
    assert "fpcore.theory" in used(tree, "from fpcore.theory import kernels")
    assert "fpcore.theory" not in used(tree, "from fpcore import checks")


def test_a_name_that_a_package_takes_from_elsewhere_is_another(tree, edit):
    cell = "import fpcore as fp\nfp.fgm(fp.strong)"
    before = chapter_digest([cell], tree)
    edit("fpcore/__init__.py", "import fgm", "import pgd as fgm")
    assert chapter_digest([cell], tree) != before


def test_a_data_file_counts_for_the_modules_that_name_it(tree, edit):
    cells = ["from fpbook.results import ledger"], ["from fpcore import checks"]
    before = [chapter_digest(c, tree) for c in cells]
    edit("fpbook/results/notes.toml", "1", "2")
    assert [chapter_digest(c, tree) for c in cells] == before
    edit("fpbook/results/claims.toml", "1", "2")
    assert chapter_digest(cells[0], tree) != before[0]
    assert chapter_digest(cells[1], tree) == before[1]


# --- What a function can reach


def reach(tree, *things):
    return {
        f"{part.module}.{part.name}".removeprefix("fpcore.") for part in Code(tree).reach(*things)
    }


def test_a_function_reaches_what_it_calls_mentions_and_is_given(tree):
    called = {"attacks.fgm", "attacks._sign", "attacks.SCALE"}
    given = {"models.Net", "checks.finite"}
    assert reach(tree, "fpcore.attacks.fgm") == called | given
    assert reach(tree, "fpcore.attacks.pgd") == called | given | {"attacks.pgd"}
    assert reach(tree, "fpcore.attacks._sign") == {"attacks._sign"}


EDITS = [
    ("fpcore/attacks.py", "# half", "# one half"),
    ("fpcore/attacks.py", "One step.", "A step."),
    ("fpcore/attacks.py", "Attacks.", "All attacks."),
    ("fpcore/attacks.py", "size: float", "size"),
    ("fpcore/attacks.py", "+ 1", "+ 2"),  # of pgd, which fgm does not call
    ("fpcore/attacks.py", "import math", "import math\nimport json"),
    ("fpcore/attacks.py", "import math", "import math\nNEW = 1"),
    ("fpcore/models.py", "return 1", "return 2"),
    ("fpcore/theory/laws.py", "1", "2"),
    ("fpcore/__init__.py", "A package.", "The package."),
]
CHANGES = [
    ("fpcore/attacks.py", "0.5", "0.6"),
    ("fpcore/attacks.py", "SCALE * x", "SCALE + x"),
    ("fpcore/attacks.py", "(1, x)", "(2, x)"),
    ("fpcore/attacks.py", "import math", "import cmath as math"),
    ("fpcore/models.py", "int = 3", "int = 4"),
    ("fpcore/checks.py", "return x", "return -x"),
    ("fpcore/checks.py", "def", "print(1)\ndef"),
    ("fpcore/attacks.py", "def pgd", "@fgm\ndef pgd"),
    ("fpcore/__init__.py", "__all__", "print(1)\n__all__"),
]


@pytest.mark.parametrize(("name", "old", "new"), EDITS)
def test_an_edit_of_what_a_function_does_not_reach_renames_nothing(tree, edit, name, old, new):
    before = Code(tree).digest_of("fpcore.attacks.fgm")
    edit(name, old, new)
    assert Code(tree).digest_of("fpcore.attacks.fgm") == before


@pytest.mark.parametrize(("name", "old", "new"), CHANGES)
def test_a_change_of_what_a_function_reaches_renames_it(tree, edit, name, old, new):
    before = Code(tree).digest_of("fpcore.attacks.fgm")
    edit(name, old, new)
    assert Code(tree).digest_of("fpcore.attacks.fgm") != before


@pytest.mark.parametrize("line", ["print(1)", "globals()['fgm'] = 1", "SCALE += 1", "eval('1')"])
def test_a_module_that_does_more_than_bind_names_counts_as_a_whole(tree, edit, line):
    edit("fpcore/attacks.py", "SCALE = 0.5\n", f"SCALE = 0.5\n{line}\n")
    assert reach(tree, "fpcore.attacks._sign") >= {"attacks.*", "models.Net"}
    before = Code(tree).digest_of("fpcore.attacks._sign")
    edit("fpcore/attacks.py", "+ 1", "+ 2")
    assert Code(tree).digest_of("fpcore.attacks._sign") != before


def test_what_an_import_sets_off_counts_although_nothing_of_it_is_used(tree, edit):
    edit("fpcore/attacks.py", "import math", "import math\nfrom fpcore.theory import laws")
    quiet = Code(tree).digest_of("fpcore.attacks._sign")
    edit("fpcore/theory/laws.py", "def law", "print(1)\ndef law")
    assert Code(tree).digest_of("fpcore.attacks._sign") != quiet


@pytest.mark.parametrize("thing", ["fpcore.nowhere", "fpcore.attacks.nothing", 3, "torch.relu"])
def test_code_that_is_none_is_an_error_that_names_it(tree, thing):
    with pytest.raises(ValueError, match=re.escape(f"code = {thing!r}")):
        Code(tree).digest_of(thing)


def test_functions_and_classes_stand_for_their_definitions():
    code = Code(ROOT)
    assert code.parts(Code) == code.parts(Code.reach) == {Part("fpbook.results.code", "Code")}
    assert code.parts(json.loads) == code.parts(len) == set()
    test = code.parts(test_functions_and_classes_stand_for_their_definitions)
    assert {part.name for part in test} == {
        "test_functions_and_classes_stand_for_their_definitions"
    }


# --- The real packages


def digests(root):
    return {name: chapter_digest(cells, root) for name, cells in CHAPTERS.items()}


def test_a_comment_or_docstring_edited_anywhere_reruns_no_chapter(clone):
    before = digests(clone)
    for path in [path for package in PACKAGES for path in (clone / package).rglob("*.py")]:
        text = path.read_text()
        doc = re.sub(r'^((?:    )*)"""', r'\1"""Edited: ', text, count=1, flags=re.MULTILINE)
        path.write_text(f"# an edit\n{doc}\n\n# the end\n")
    assert digests(clone) == before


@pytest.mark.parametrize("module", MODULES[::5])
def test_a_changed_line_reruns_the_chapters_that_import_its_module_and_no_others(clone, module):
    before = digests(clone)
    path = clone / f"{module.replace('.', '/')}.py"
    path.write_text(f"{path.read_text()}\nNEW_LINE = 1\n")
    after = digests(clone)
    assert {name for name in CHAPTERS if after[name] != before[name]} == importing(module)


@cache
def closures():
    """All modules that each chapter depends on."""
    code = Code(ROOT)
    for name, cells in CHAPTERS.items():
        code.add(name, "\n".join(cells))
    return {name: code.closure([name]) for name in CHAPTERS}


def importing(module):
    """The chapters that depend on a module."""
    return {name for name, modules in closures().items() if module in modules}


def test_no_chapter_depends_on_all_modules_and_some_modules_matter_to_a_few_only():
    dependents = [importing(module) for module in MODULES]
    assert all(any(name not in found for found in dependents) for name in CHAPTERS)
    assert sum(0 < len(found) < len(CHAPTERS) / 2 for found in dependents) >= 5


def test_what_a_module_holds_when_it_is_imported_is_among_what_it_uses():
    code = Code(ROOT)
    for name in sorted(set().union(*(code.closure([m]) for m in MODULES if importing(m)))):
        held = vars(importlib.import_module(name)).values()
        origins = {getattr(one, "__module__", None) or getattr(one, "__name__", "") for one in held}
        assert {o for o in origins if o in code.modules and o not in PACKAGES} <= code.closure(
            [name]
        )


def test_packages_hold_nothing_but_reexports():
    code = Code(ROOT)
    packages = [name for name in REAL if name not in MODULES]
    assert packages and not [name for name in packages if not code.module(name).reexports]


def test_modules_do_nothing_when_imported_but_bind_names():
    assert not [name for name in MODULES if Code(ROOT).module(name).lump]


def test_a_change_of_an_attacks_arithmetic_renames_trainings_and_a_changed_figure_does_not(clone):
    training, attacks = defining("train"), defining("fgm", "pgd")
    train, before = f"{training}.train", Code(clone).digest_of(f"{training}.train")
    figures = [name for name in MODULES if "figures" in name and name != "fpbook.figures"]
    rearranged = [rearrange(clone, name) for name in figures]
    assert sum(rearranged) > 3 and Code(clone).digest_of(train) == before
    rearrange(clone, defining("Ball"), "Ball")
    assert Code(clone).digest_of(train) != before
    assert Code(clone).digest_of(f"{attacks}.pgd") != Code(ROOT).digest_of(f"{attacks}.pgd")


def defining(*names):
    """The module that defines some names."""
    (found,) = [m for m in MODULES if all(n in Code(ROOT).module(m).parts for n in names)]
    return found


def rearrange(root, module, name=None):
    """Subtract where a module, or one of its definitions, first adds, multiplies or divides.

    Whether it does.
    """
    path = root / f"{module.replace('.', '/')}.py"
    tree = ast.parse(path.read_text())
    within = next(node for node in ast.walk(tree) if name in (None, getattr(node, "name", None)))
    operations = (node for node in ast.walk(within) if isinstance(node, ast.BinOp))
    found = next((o for o in operations if isinstance(o.op, ast.Add | ast.Mult | ast.Div)), None)
    if found:
        found.op = ast.Sub()
        path.write_text(ast.unparse(tree))
    return found is not None


def test_the_whole_book_is_read_in_a_moment():
    started = time.process_time()
    digests(ROOT)
    assert time.process_time() - started < 5  # half a second on an idle core
