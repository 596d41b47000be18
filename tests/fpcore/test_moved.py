"""Names that moved: asking `fpcore` for one says in one line where it is."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import fpcore
from fpcore import moved

WITHIN = [(module, name) for module, names in moved.WITHIN.items() for name in names.split()]


@pytest.mark.parametrize(("module", "name"), WITHIN)
def test_a_name_that_moved_within_the_package_is_where_the_error_says(module, name):
    with pytest.raises(AttributeError, match=f"^fpcore has no {name}: it is {module}.{name}$"):
        getattr(fpcore, name)
    assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize("name", moved.IN_THE_BOOK.split())
def test_a_name_of_the_book_says_where_the_book_is(name):
    with pytest.raises(AttributeError, match=f"no {name}: it is in fpbook, .*{moved.REPOSITORY}"):
        getattr(fpcore, name)


def test_any_other_name_is_the_usual_error():
    with pytest.raises(AttributeError, match=r"^module 'fpcore' has no attribute 'publishd'$"):
        fpcore.publishd
    assert not hasattr(fpcore, "__wrapped__")


def test_theory_is_one_dotted_name_away_and_imported_on_first_use():
    code = (
        "import sys, fpcore; assert 'fpcore.theory' not in sys.modules; "
        "fpcore.theory.score_law; import fpcore.theory as t; assert fpcore.theory is t"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_face_holds_re_exports_alone():
    tree = ast.parse(Path(fpcore.__file__).read_text())
    assert all(isinstance(n, ast.ImportFrom | ast.Expr | ast.Assign) for n in tree.body)
