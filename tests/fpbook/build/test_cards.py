"""Cards under the pointer, and the texts from which a search from disk takes its excerpts."""

import json
import re

from fpbook.build import cards, rooms

GLOSSARY = """# Glossary

:::{glossary}
dense *mixture*
  Held by `w`, of **all** $M_j$,
  and small.

live
  Not dead.
:::
"""
NOTATION = """| symbol | in the code | meaning |
|---|---|---|
| $w_i^{0}$, $w_i^{(0)}$ | `init` | at the start |
"""


def read(script):
    return json.loads(script.removeprefix("window.bookCards = ").removesuffix(";\n"))


def test_terms_and_symbols_become_cards():
    found = read(cards.cards_script(GLOSSARY, NOTATION))
    dense, live = found["terms"]
    assert "Held by <code>w</code>, of <b>all</b> $M_j$, and small." in dense["html"]
    assert live == {"words": "live neuron", "anchor": "term-live", "html": "<b>live</b>: Not dead."}
    assert found["symbols"] == {
        "w_i^0": "$w_i^{0}$: at the start",
        "w_i^{(0)}": "$w_i^{(0)}$: at the start",
    }


def test_every_term_of_the_book_has_a_card_and_every_row_of_the_notation():
    texts = {
        name: (rooms.ROOT / "pages" / f"{name}.md").read_text() for name in ("glossary", "notation")
    }
    found = read(cards.cards_script(texts["glossary"], texts["notation"]))
    listed = re.findall(r"^(\w.*)\n  ", texts["glossary"], re.M)
    assert len(found["terms"]) == len(listed) > 20
    rows = re.findall(r"^\| \$", texts["notation"], re.M)
    assert len(found["symbols"]) >= len(rows) > 20


def test_the_search_page_gets_the_words_of_all_pages(tmp_path):
    (tmp_path / "chapters").mkdir()
    article = '<article class="bd-article"><h1>One<a class="headerlink">#</a></h1><p>A &lt; B .</p>'
    (tmp_path / "chapters" / "one.html").write_text(f"{article}<pre>code</pre></article>")
    (tmp_path / "search.html").write_text("<head></head>")
    cards.search_texts(tmp_path)
    script = (tmp_path / "searchtexts.js").read_text()
    assert script == 'window.bookTexts = {"chapters/one": "One A < B."};\n'
    assert "searchtexts.js" in (tmp_path / "search.html").read_text()
