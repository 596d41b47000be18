"""The report's page: what it says is what was measured, and nothing in it can run or load."""

import copy
import itertools
import math
import re
import shlex
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from report_content import made_up

from fpcore.reporting.accuracy_view import accuracies
from fpcore.reporting.drawing import COLORS
from fpcore.reporting.layer_labels import groups
from fpcore.reporting.page import figure, page
from fpcore.reporting.shown import Measured, interval_of_share, shown, written

VOID = {"meta", "input", "br", "wbr", "rect", "circle", "line", "path", "link", "img"}
CASES = {
    "all of it, 10 layers": made_up(10),
    "all of it, 500 layers": made_up(500),
    "one layer": made_up(1),
    "no images": made_up(10, data=False),
    "no control": made_up(10, control=False),
    "no initial weights": made_up(10, init=False),
    "the pair alone": made_up(500, data=False, control=False, init=False, scratch=False),
}
EVIL = (
    "<script>alert(1)</script>",
    "a\"b'c&amp;d<b>",
    '" onload="alert(1)',
    "{{ 7 * 7 }}{% raw %}",
    "</style></title><!-- \u2028",
)


class Parsed(HTMLParser):
    """The elements of a page: (tag, attributes, text within), and whether tags are balanced."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.wrong = [], [], []
        self.feed(text)
        self.close()
        self.wrong += [one[0] for one in self.open]
        self.elements = [
            (tag, attributes, "".join(text)) for tag, attributes, text in self.elements
        ]

    def handle_starttag(self, tag, attributes):
        element = (tag, dict(attributes), [])
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), []))

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open[-1][0] != tag:
            self.wrong.append(f"/{tag}")
        else:
            self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element[2].append(data)

    def all(self, tag):
        return [element for element in self.elements if element[0] == tag]


@pytest.fixture(scope="module", params=CASES)
def case(request):
    text = page(CASES[request.param])
    return CASES[request.param], text, Parsed(text)


def test_it_is_well_formed_and_light(case):
    _, text, parsed = case
    assert parsed.wrong == []
    assert len(text.encode()) <= 2e6
    ids = [attributes["id"] for _, attributes, _ in parsed.elements if "id" in attributes]
    assert len(ids) == len({*ids})
    inside = [a["href"] for _, a, _ in parsed.all("a")]
    assert {link.removeprefix("#") for link in inside} <= {*ids}


def test_it_loads_nothing(case):
    _, text, parsed = case
    for tag, attributes, _ in parsed.elements:
        assert not attributes.keys() & {"src", "srcset", "xlink:href", "data", "action"}, tag
        assert attributes.get("href", "#").startswith("#")
    assert not re.search(r"url\(|@import|@font-face|//[a-z]", text)
    (policy,) = [a["content"] for _, a, _ in parsed.all("meta") if "http-equiv" in a]
    assert policy.startswith("default-src 'none';")


def test_its_sections_are_there_with_what_may_not_be_concluded_in_sight(case):
    content, _, parsed = case
    sections = {attributes["id"]: text for _, attributes, text in parsed.all("section")}
    assert [*sections] == ["limits", "layers", "accuracies", "removed", "coverage", "made"]
    for note in content["notes"]:
        assert note in sections["limits"]
    assert not [e for e in parsed.all("details") if any(n in e[2] for n in content["notes"])]
    lines = [text for _, _, text in parsed.all("li")]
    assert all(line in lines for line in content["summary"])
    for name, count in content["coverage"]["left_out"].items():
        assert f"{name}, {count:,} weights" in sections["coverage"]


def test_every_drawing_says_what_one_sees(case):
    _, _, parsed = case
    for _, attributes, _ in parsed.all("svg"):
        if attributes.get("class") != "plane":  # a part of another
            assert attributes["role"] == "img"
            assert attributes["aria-label"].strip()


def test_every_number_shown_is_the_record_s(case):
    content, _, parsed = case
    known = [one["value"] for one in content["records"]]
    known += [one[key] for one in content["layers"] for key in ("neurons", "fan_in")]
    known += [content["coverage"]["share"], *content["coverage"]["left_out"].values()]
    known += [v for v in (content["about"]["data"] or {}).values() if isinstance(v, int)]
    known = {f"{value:.7g}" for value in known if value is not None}
    numbers = parsed.all("data")
    assert len(numbers) > 30
    for _, attributes, text in numbers:
        assert attributes["value"] in known
        text = text.replace("−", "-").replace(",", "")
        scale = 100 if text.endswith("%") else 1
        digits = len(text.strip("%").partition(".")[2])
        read = float(text.strip("%")) / scale
        assert abs(read - float(attributes["value"])) <= 0.5001 * 10**-digits / scale


def test_each_layer_s_row_has_its_own_numbers(case):
    content, text, _ = case
    measured = Measured(content["records"])
    body = text.split('<table class="layers">')[1].split("</table>")[0]
    rows = re.findall(r'<tr data-name="(.*?)">(.*?)</tr>', body, re.S)
    assert [name for name, _ in rows] == [one["name"] for one in content["layers"]]
    for layer, (name, row) in zip(content["layers"], rows):
        shown_here = re.findall(r'<data value="(.*?)">', row)
        own = [
            measured.value(quantity, layer=name, **({"network": net} if net else {}))
            for quantity, net in (
                ("cos_to_clean", "purified"),
                ("share_dominant", "purified"),
                ("cos_to_clean", "control"),
                ("cos_to_clean", "scratch"),
                ("cos_chance", None),
                ("cos_to_init", "purified"),
                ("share_switched_on", "purified"),
                ("explained_by_clean", "purified"),
                ("parameter_share", None),
            )
        ]
        own += [layer["neurons"], layer["fan_in"]]
        expected = [f"{v:.7g}" for v in own if v is not None and not math.isnan(v)]
        assert shown_here == expected


def test_the_finding_comes_first():
    text = Parsed(page(CASES["all of it, 10 layers"])).all("h1")[0][2]
    assert text == (
        "98.2% of the neurons kept more than they lost,"
        " and robust accuracy went from 0.4% to 45.2%."
    )


def changed(content, value, **where):
    """The content with another value of the records that are like that."""
    content = copy.deepcopy(content)
    found = [r for r in content["records"] if all(r.get(k) == v for k, v in where.items())]
    assert found
    for record in found:
        record["value"] = value
    return content


@pytest.mark.parametrize(
    ("where", "value", "verdict"),
    [
        ({}, None, "Consistent with feature purification."),
        ({"quantity": "share_dominant", "network": "purified"}, 0.4, "Not what"),
        ({"quantity": "robust_accuracy", "network": "purified"}, 0.001, "Not what"),
        # 6 and 4 of 1000 images: their intervals overlap.
        ({"quantity": "robust_accuracy", "network": "purified"}, 0.006, "Undecided."),
        ({"quantity": "robust_accuracy", "network": "control"}, 0.46, "Undecided."),
        ({"quantity": "robust_accuracy", "network": "purified"}, math.nan, "Undecided."),
        ({"quantity": "share_dominant", "network": "purified"}, None, "Undecided."),
    ],
)
def test_the_verdict_follows_from_the_numbers(where, value, verdict):
    content = CASES["all of it, 10 layers"]
    parsed = Parsed(page(changed(content, value, **where) if where else content))
    (said,) = [text for _, a, text in parsed.all("p") if a.get("class") == "verdict"]
    assert said.startswith(verdict)


def test_without_a_control_it_says_what_it_cannot_tell():
    assert "There is no control, so this report cannot tell" in page(CASES["no control"])
    assert "There is no control" not in page(CASES["all of it, 10 layers"])


def test_names_and_words_of_others_are_text():
    content = made_up(10)
    replaced = {one["name"]: EVIL[i % 5] + str(i) for i, one in enumerate(content["layers"])}
    for one in content["layers"]:
        one["name"] = replaced[one["name"]]
        one["type"] = EVIL[0]
    for record in content["records"]:
        if "layer" in record:
            record["layer"] = replaced[record["layer"]]
    for kinds in (content["histograms"]["cos_to_clean"], content["spectra"]):
        for kind, of in kinds.items():
            kinds[kind] = {replaced[name]: values for name, values in of.items()}
    content["notes"], content["summary"] = [*EVIL], [*EVIL]
    content["coverage"] |= {"left_out": {EVIL[0]: 1}, "tied": {EVIL[1]: EVIL[2]}, "notes": [*EVIL]}
    content["about"]["networks"]["clean"] = {"source": EVIL[1], "notes": [*EVIL]}
    content["about"] |= {"architecture": EVIL[2], "attack": EVIL[0], "torch": EVIL[1]}
    content["about"]["data"]["name"] = EVIL[0]
    text = page(content)
    parsed = Parsed(text)
    assert parsed.wrong == []
    assert len(parsed.all("script")) == len(parsed.all("style")) == 1
    assert not parsed.all("b")
    for tag, attributes, _ in parsed.elements:
        assert not [name for name in attributes if name.startswith("on")], tag
    names = [a["data-name"] for _, a, _ in parsed.all("tr") if "data-name" in a]
    assert names == [*replaced.values()]
    (limits,) = [t for _, a, t in parsed.all("section") if a.get("id") == "limits"]
    assert all(evil in limits for evil in EVIL)
    ET.fromstring(figure(content))


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["cos_to_clean", "robust_accuracy", "effective_rank_removed"])
def test_a_number_that_is_not_there_is_a_dash_with_its_reason(name, value):
    content = changed(made_up(10), value, quantity=name)
    text = page(content)
    parsed = Parsed(text)
    dashes = [a for tag, a, _ in parsed.elements if tag == "span" and a.get("class") == "none"]
    assert dashes and all(a["title"] and a["aria-label"] == a["title"] for a in dashes)
    assert not re.search(
        r"\b(nan|inf|None)\b", re.sub("<script>.*?</script>", "", text, flags=re.S)
    )


def test_spectra_that_are_no_numbers_are_named():
    content = made_up(10)
    content["spectra"]["removed"]["conv1"] = [None, math.nan]
    assert page(content).count("no curve of v: not all of its singular values are finite") == 1


def test_two_records_of_the_same_thing_are_refused():
    content = made_up(10)
    content["records"].append(content["records"][-1])
    for draw in (page, figure):
        with pytest.raises(ValueError, match=r"two of robust_accuracy, w \+ rank r, 64, l2 0\.5"):
            draw(content)


def test_the_command_is_the_one_that_was_given():
    content = copy.deepcopy(CASES["all of it, 10 layers"])
    given = ["fpcore", "report", "my runs/w.pt", "w'.pt", "--arch=torchvision:resnet18"]
    content["about"]["command"] = given
    (command,) = [t for _, _, t in Parsed(page(content)).all("pre")]
    assert shlex.split(command) == given


def test_of_a_call_there_is_no_command():
    content = copy.deepcopy(CASES["all of it, 10 layers"])
    content["about"]["command"] = []
    assert not Parsed(page(content)).all("pre")
    assert "of modules that no command can name" in page(content)


def test_heads_of_attention_are_told_apart():
    content = copy.deepcopy(CASES["all of it, 10 layers"])
    layer = content["layers"][3]
    layer["heads"] = 3
    of = {"quantity": "cos_to_clean", "network": "purified", "layer": layer["name"], "seed": 0}
    content["records"] += [{**of, "head": h, "value": v} for h, v in enumerate((0.9, 0.7, 0.8))]
    assert "3 heads: 0.700 (head 1) to 0.900 (head 0)" in page(content)


def luminance(color):
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def schemes():
    """The page's colours, light and dark, as its style says."""
    style = page(CASES["one layer"]).split("<style>")[1].split("</style>")[0]
    light, dark = re.findall(r":root \{(.*?)\}", style, re.S)[:2]
    first = dict(re.findall(r"--([\w-]+):\s*(#\w{6})", light))
    return {"light": first, "dark": first | dict(re.findall(r"--([\w-]+):\s*(#\w{6})", dark))}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_marks_have_contrast(scheme):
    colors = schemes()[scheme]
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for text, ground in itertools.product(("ink", "soft", "link"), ("paper", "shade", "card")):
        assert contrast(colors[text], colors[ground]) >= 4.5, (text, ground)
    for name in COLORS:
        assert contrast(colors[f"{name}-edge"], colors["paper"]) >= 3, name


@pytest.mark.parametrize(
    ("share", "n", "low", "high"),
    # Wilson's interval: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), z = 1.96
    [(0.0, 100, 0.0, 0.0370), (0.5, 100, 0.4038, 0.5962), (1.0, 10, 0.7225, 1.0)],
)
def test_an_interval_is_wilson_s(share, n, low, high):
    assert interval_of_share(share, n) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(("share", "n"), [(None, 10), (math.nan, 10), (0.5, None), (0.5, 0)])
def test_without_a_share_or_a_number_there_is_no_interval(share, n):
    assert interval_of_share(share, n) is None


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (0.97349, "cos", "0.973"),
        (-0.0604, "cos", "−0.060"),
        (-0.0001, "cos", "0.000"),
        (0.98214, "percent", "98.2%"),
        (0.0, "percent", "0.0%"),
        (10000, "count", "10,000"),
        (1234.56, "rank", "1,234.6"),
        (math.nan, "cos", "–"),
        (None, "count", "–"),
    ],
)
def test_numbers_are_written_as_they_are_read(value, form, text):
    assert written(value, form) == text


def test_a_reason_is_text():
    assert '"><b>' not in shown(None, "cos", '"><b>')


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["conv1", "fc"], ["conv1", "fc"]),
        ([f"layer{i // 40}.{i}" for i in range(400)], [f"layer{i}" for i in range(10)]),
        # One label for all layers would say nothing.
        ([f"blocks.{i // 4}.{i % 4}" for i in range(400)], [f"blocks.{i}" for i in range(100)]),
    ],
)
def test_labels_are_the_longest_openings_of_names_that_there_is_room_for(names, found):
    parts = groups(names)
    assert [name for name, _, _ in parts] == found
    assert [i for _, a, b in parts for i in range(a, b)] == [*range(len(names))]


@pytest.mark.parametrize("name", CASES)
def test_the_figure_stands_alone(name):
    drawing = ET.fromstring(figure(CASES[name]))
    assert drawing.get("role") == "img" and "median cosine" in drawing.get("aria-label")
    assert drawing.find("{*}title").text == drawing.get("aria-label")
    for text in drawing.iter("{http://www.w3.org/2000/svg}text"):
        assert text.get("fill") == "currentColor" and float(text.get("font-size")) >= 11
    assert len(figure(CASES[name])) < 300_000


def test_networks_made_from_the_pair_have_the_intervals_of_their_own_images():
    content = made_up(10)
    content["about"]["data"] |= {"images_variants": 300, "attacked_variants": 40}
    found = accuracies(content, Measured(content["records"]))
    for group, rows in found["groups"].items():
        n = {"clean": 300, "robust": 40} if group != "networks" else found["counts"]
        for row in rows:
            (clean, clean_ends), (robust, robust_ends) = row["pairs"][:2]
            assert clean_ends == interval_of_share(clean, n["clean"])
            assert robust_ends == interval_of_share(robust, n["robust"])
    words = re.sub("<[^>]+>", "", page(content))
    assert "of networks made from the pair, 300 and 40." in words
