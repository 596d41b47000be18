"""A page that only says that it was made: its own tests are elsewhere."""

import sys
import types

import pytest


@pytest.fixture(autouse=True)
def page(monkeypatch):
    """The page is another module's, tested with it: here it shows the architecture."""
    stub = types.ModuleType("fpcore.reporting.page")
    stub.page = lambda content: f"<html>{content['about']['architecture']}</html>"
    stub.figure = lambda content: "<svg/>"
    monkeypatch.setitem(sys.modules, "fpcore.reporting.page", stub)
