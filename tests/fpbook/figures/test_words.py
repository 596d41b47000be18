from fpbook.figures import words
from fpbook.results.intervals import Interval
from fpbook.results.quantities import PERCENT


def test_numbers_are_glued_under_their_prefix_as_they_are_shown(monkeypatch):
    glued = {}
    monkeypatch.setattr(words, "glue", lambda name, text, display: glued.update({name: text}))
    share = Interval(value=0.5, low=0.4, high=0.6, n=3, unit=PERCENT)
    words.glue_all("limit", {"share": share, "word": "seven", "none": None})
    assert glued == {
        "limit_share": "50.0% [40.0%, 60.0%]",
        "limit_word": "seven",
        "limit_none": "-",
    }
