"""What CONTRIBUTING.md promises of every module of the two packages."""

import ast
from pathlib import Path

import pytest

from fpbook.results.files import ROOT

MODULES = sorted(p for name in ("fpcore", "fpbook") for p in (ROOT / name).rglob("*.py"))
LONGEST_MODULE, LONGEST_FUNCTION = 300, 60


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(Path(path).relative_to(ROOT)))
def test_a_module_and_its_functions_can_be_held_in_mind(path):
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_MODULE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno + 1 <= LONGEST_FUNCTION, node.name


def test_no_public_name_means_two_things():
    places = {}
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names = [node.name]
            elif isinstance(node, ast.Assign):
                targets = [one for one in node.targets if isinstance(one, ast.Name)]
                names = [one.id for one in targets if one.id.isupper()]
            else:
                names = []
            for name in names:
                if not name.startswith("_") and name not in ("main", "setup"):
                    places.setdefault(name, []).append(str(path.relative_to(ROOT)))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}
