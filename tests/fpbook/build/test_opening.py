"""The opening page, which is built before the rest of the book is there."""

import nbformat
import pytest
import yaml

from fpbook.build import execute, opening
from fpbook.build.chapters import BookError

ARTICLE = '<article class="bd-article">'


def test_links_to_pages_that_are_not_there_are_plain_words(tmp_path):
    (tmp_path / "here.html").touch()
    page = (
        f'{ARTICLE}<a class="x" href="here.html#a">one</a> <a href="there.html">two</a> '
        '<a href="#below">three</a> <a href="https://doi.org/1">four</a> <a href="#lost">five</a>'
        '<p id="below"></p>'
    )
    shown = opening.without_dead_links(page, tmp_path)
    assert "<span>two</span>" in shown and "there.html" not in shown
    assert "<span>five</span>" in shown
    for kept in ('href="here.html#a"', 'href="#below"', 'href="https://doi.org/1"'):
        assert kept in shown
    assert shown.count("book-early") == 1


@pytest.fixture
def book(root, executed_one, monkeypatch):
    """A book whose first chapter was executed, and what Jupyter Book is given of it."""
    output, notebook = executed_one
    nbformat.write(notebook, output)
    for folder in ("_static", "pages"):
        (root / folder).mkdir()
    (root / "chapters" / "two.md").write_text("# Two")
    (root / "_config.yml").write_text("sphinx: {config: {}}")
    given = {}

    def jupyter_book(source, output, log, strict):
        given["pages"] = sorted(path.name for path in (source / "chapters").iterdir())
        given["toc"] = yaml.safe_load((source / "_toc.yml").read_text())
        given["strict"] = strict
        html = output / "_build" / "html"
        (html / "chapters").mkdir(parents=True)
        (html / "chapters" / "one.html").write_text(f'{ARTICLE}<a href="two.html">two</a>')
        return html

    monkeypatch.setattr(opening, "scripts", lambda *_: {})
    monkeypatch.setattr(opening, "jupyter_book", jupyter_book)
    return root, given


def test_the_opening_page_is_built_from_its_chapter_alone(book):
    root, given = book
    page = opening.opening_page("quick", lambda: None, root)
    assert given == {
        "pages": ["one.ipynb"],
        "toc": {"format": "jb-book", "root": "chapters/one"},
        "strict": False,
    }
    assert "<span>two</span>" in page.read_text()


def test_an_opening_chapter_that_was_not_executed_is_an_error_that_says_so(root):
    with pytest.raises(BookError, match="execute the book first"):
        opening.opening_page("quick", lambda: None, root)


@pytest.mark.filterwarnings("ignore")  # of papermill and the Jupyter clients, not ours
def test_the_opening_page_is_built_once_its_chapter_is_executed(root, quick, monkeypatch, capsys):
    def page(profile, packages, root):
        assert packages() == root / "node_modules"
        assert execute.recorded_key(execute.executed(root / "chapters/one.ipynb", profile, root))
        return root / "page.html"

    monkeypatch.setattr(opening, "opening_page", page)
    monkeypatch.setattr(opening, "fetch", lambda root: root / "node_modules")
    execute.execute(quick, root=root)
    assert "opening" not in capsys.readouterr().out
    execute.execute(quick, root=root, opening=True)
    assert f"The opening page is ready: open {root / 'page.html'}" in capsys.readouterr().out


def test_chapters_are_executed_where_no_opening_page_can_be_built(root, quick, monkeypatch, capsys):
    def fails(profile, packages, root):
        raise BookError("no sphinx")

    monkeypatch.setattr(opening, "opening_page", fails)
    monkeypatch.setattr(opening, "fetch", lambda root: None)
    monkeypatch.setattr(execute, "_execute", lambda *_: None)
    execute.execute(quick, root=root, opening=True)
    assert "There is no opening page before the book: no sphinx" in capsys.readouterr().out
