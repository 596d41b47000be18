import base64
import io
import re
from itertools import pairwise

import matplotlib.pyplot as plt
import pytest
import torch
from PIL import Image

from fpbook.figures.captions import captioned, packed, smallest_text
from fpbook.figures.layers import images
from fpbook.figures.stacking import IMAGES_IN_A_ROW, LEAST_FONT, NARROW, stacked
from fpbook.figures.style import DEFAULTS

pytestmark = pytest.mark.usefixtures("closed")


def three(**look):
    with plt.rc_context(DEFAULTS):
        figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.5), sharey=True, **look)
        for axis in axes:
            axis.plot([0, 1], [0, 1], label="a line")
            axis.set(xlabel="across", title="a panel")
        axes[0].set_ylabel("up")
        axes[2].legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def test_a_figure_is_shown_wide_and_narrow_with_its_caption_and_its_words():
    figure = three()
    shown = captioned(figure, "It rises & $w_i'$ stays.", 'Three "lines" that rise.')
    text = shown._repr_html_()
    assert 'alt="Three &quot;lines&quot; that rise."' in text
    assert "It rises &amp; $w_i&#x27;$ stays.</figcaption>" in text
    assert "(max-width: 600px)" in text
    assert repr(shown).startswith("It rises") and "Three" in repr(shown)
    sizes = []
    for address in re.findall(r"data:image/\w+;base64,([^\"]+)", text):
        with Image.open(io.BytesIO(base64.b64decode(address))) as image:
            sizes.append(image.size)
    (narrow, narrow_high), (wide, high) = sizes
    assert narrow <= 2 * 360 and narrow_high > 2 * narrow
    assert 2 * 700 <= wide <= 2 * 800 and high < wide / 2


def test_a_captioned_figure_is_closed_and_not_shown_a_second_time():
    figure = three()
    captioned(figure, "A finding.", "Three lines.")
    assert not plt.get_fignums()


def test_panels_of_a_narrow_figure_lie_one_below_the_other_with_labels_of_their_own():
    figure = three()
    narrow = stacked(figure)
    assert narrow.get_figwidth() == NARROW
    boxes = [axis.get_window_extent() for axis in narrow.axes]
    assert all(upper.y0 > lower.y1 for upper, lower in pairwise(boxes))
    assert {axis.get_ylabel() for axis in narrow.axes} == {"up"}
    narrow.draw_without_rendering()
    for axis in narrow.axes:
        assert any(label.get_visible() and label.get_text() for label in axis.get_yticklabels())
        if legend := axis.get_legend():
            assert legend.get_window_extent().y1 <= axis.get_window_extent().y0
    # the figure itself stays as it was drawn
    assert figure.get_figwidth() == 7.6
    assert [axis.get_ylabel() for axis in figure.axes] == ["up", "", ""]


def test_no_letters_of_a_narrow_figure_are_under_nine_pixels():
    figure = three()
    figure.axes[0].text(0.5, 0.5, "tiny", fontsize=3)
    figure.axes[0].tick_params(labelsize=4)
    assert smallest_text(figure) < 6
    assert smallest_text(stacked(figure), width=350) >= 9
    assert captioned(figure, "A finding.", "Lines.").smallest_text >= LEAST_FONT / 72 * 100 - 0.1


def test_a_wide_figure_in_a_narrow_column_has_smaller_letters():
    figure = three()
    assert smallest_text(figure, width=380) == pytest.approx(smallest_text(figure) / 2)


def test_rows_of_images_stay_rows_of_a_few():
    figure = images({"some": torch.rand(10, 3, 8, 8), "others": torch.rand(10, 3, 8, 8)})
    narrow = stacked(figure)
    rows = {round(axis.get_window_extent().y0) for axis in narrow.axes}
    assert len(rows) == 2 * -(-10 // IMAGES_IN_A_ROW)


@pytest.mark.parametrize(
    "words", [("", "x"), (" ", "x"), ("x", ""), ("x", "the $w$"), ("x", "w_i")]
)
def test_words_that_are_missing_or_cannot_be_read_aloud_are_errors(words):
    with pytest.raises(ValueError, match=r"caption|alt"):
        captioned(three(), *words)


def test_a_figure_that_cannot_be_copied_is_laid_out_all_the_same():
    figure = three()
    figure.axes[0].xaxis.set_major_formatter(lambda value, at: f"{value:.1f}")
    assert stacked(figure).get_figwidth() == NARROW


def test_a_picture_is_light():
    address, size = packed(three())
    assert len(address) < 60_000 and size[0] > 700
