"""The map of the code is the code: rooms, the order of imports, and the arrows that are drawn."""

import xml.etree.ElementTree as ET

import pytest

from fpbook.build import pages, rooms

SVG = "{http://www.w3.org/2000/svg}"
DRAWING = ET.parse(rooms.ROOT / "_static" / "architecture.svg")


def test_every_module_is_in_one_room_but_the_faces():
    homes = {module: rooms.rooms_of(module) for module in rooms.imports()}
    assert {m for m, home in homes.items() if not home} == {"fpcore", "fpbook", "fpcore.moved"}
    assert max(map(len, homes.values())) == 1


def test_nothing_imports_a_face():
    faces = {"fpcore", "fpbook"}
    assert [module for module, targets in rooms.imports().items() if targets & faces] == []


def test_rooms_import_only_rooms_above_them_and_fpcore_nothing_of_the_book():
    order = [*rooms.ROOMS]
    for room, targets in rooms.room_imports().items():
        assert all(order.index(to) < order.index(room) for to in targets), (room, targets)


def test_the_drawn_arrows_are_the_imports_that_no_chain_of_others_implies():
    drawn = [
        (path.get("data-from"), path.get("data-to"))
        for path in DRAWING.iter(f"{SVG}path")
        if path.get("class") == "arrow"
    ]
    assert sorted(drawn) == sorted(rooms.arrows())


def test_every_room_is_drawn_once():
    drawn = [text.get("data-room") for text in DRAWING.iter(f"{SVG}text") if text.get("data-room")]
    assert sorted(drawn) == sorted(rooms.ROOMS)


def test_the_table_names_every_room_and_all_its_imports():
    _, _, *rows = pages.rooms().splitlines()
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [*rooms.ROOMS]
    imports = rooms.room_imports()
    for room, row in zip(rooms.ROOMS, rows):
        assert all(to in row for to in imports[room])


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from fpcore import checks", {"fpcore.checks"}),
        ("from fpcore.checks import whole", {"fpcore.checks"}),
        ("def f():\n    import fpcore.checks as c", {"fpcore.checks"}),
        ("import torch", set()),
    ],
)
def test_imports_are_found_in_each_form(tmp_path, source, found):
    for package in ("fpcore", "fpbook"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / "fpcore" / "checks.py").write_text("def whole(): ...")
    (tmp_path / "fpbook" / "one.py").write_text(source)
    assert rooms.imports(tmp_path)["fpbook.one"] == found
