import copy
import json
from pathlib import Path

import pytest

from fpbook.results.columns import rows
from fpbook.results.convert import convert, convert_folder, main
from fpbook.results.files import ROOT
from fpbook.results.first_edition import RULES, columns_of
from fpbook.results.ledger import claims
from fpbook.results.store import load
from fpbook.results.transaction import LOCK

FIRST_EDITION = Path(__file__).with_name("first_edition")
NAMES = sorted(path.stem for path in FIRST_EDITION.glob("*.json") if path.stem != "claims")


def old_content(name):
    return json.loads((FIRST_EDITION / f"{name}.json").read_text())


# The names of the first edition, made from records; written from that edition's own code.
SUFFIX = {
    "clean": "",
    "purified": "_adv",
    "control": "_control",
    "scratch": "_scratch",
    "init": "_init",
}
PAIRS = {
    ("cos_to_init", "clean"): "cos_init_clean",
    ("cos_to_init", "purified"): "cos_init_adv",
    ("cos_to_clean", "purified"): "cos_clean_adv",
    ("cos_to_clean", "control"): "cos_clean_adv_control",
    ("cos_to_clean", "scratch"): "cos_clean_scratch",
    ("cos_to_purified", "scratch"): "cos_adv_scratch",
    ("explained_by_clean", "purified"): "explained_share_adv",
    ("explained_by_clean", "control"): "explained_share_control",
    ("explained_by_clean", "scratch"): "explained_share_scratch",
    ("explained_by_init", "purified"): "explained_share_init",
    ("cos_to_clean_difference", "purified"): "cos_clean_adv_difference",
    ("share_switched_on", "purified"): "live_share",
}
OF_PURIFIED = (
    "share_dominant",
    "same_neuron_share",
    "same_feature",
)  # whose names left out w' rather than w
UNSUFFIXED = (
    "share_live",
    "share_dominant_live",
    "cos_removed_dense",
    "robust_gain",
    "robust_ratio",
    "clean_lost",
)


def old_name_of_a_pipeline(row):
    """Of synthetic, cifar10 and cifar10-resnet."""
    quantity, network, layer = row["quantity"], row.get("network"), row.get("layer")
    stem, live = (
        (quantity.removesuffix("_live"), "_live")
        if quantity.startswith("cos_to")
        else (quantity, "")
    )
    if (stem, network) in PAIRS:
        name = PAIRS[stem, network] + (live if quantity.endswith("_live") else "")
    elif network is None or quantity in UNSUFFIXED or quantity.startswith(("features_", "cos_two")):
        name = quantity
    else:
        name = quantity + (
            "" if quantity in OF_PURIFIED and network == "purified" else SUFFIX[network]
        )
    name += "" if layer is None else f"_{layer}" if layer in ("lowest", "highest") else f"/{layer}"
    return name + ("_held_out" if row["seeds"] == "held out" else "")


def old_name_of_robustness(row):
    if row["quantity"] == "autoattack_ratio":
        return "autoattack_ratio"
    threat = "" if row["quantity"] == "autoattack_kept_share" else f"/{row['threat']}"
    return row["quantity"] + SUFFIX[row["network"]] + threat


def old_name_of_features(row):
    return f"{row['quantity']} {row['network']}/{row.get('layer') or row['atoms']}"


def old_name_of_low_rank(row):
    network = {"clean": "start", "purified": "end"}.get(
        row["network"], row["network"].removesuffix(" update")
    )
    rank = f"/{row['rank']}" if "rank" in row else ""
    return f"{network}{rank}/{row['quantity']}"


def old_name_of_ntk(row):
    if row["quantity"] == "constant_accuracy":
        return "constant_accuracy"
    if row["quantity"] == "robust_ratio_to_scratch":
        return {"NTK, adversarial": "robust_ratio", "NTK, PGD": "robust_ratio_pgd"}[row["network"]]
    if "width_factor" in row:
        network = {"NTK, adversarial": "ntk", "scratch": "network"}[row["network"]]
        network = f"width {row['width_factor']:g}/{network}"
    else:
        network = {"scratch": "network from scratch", "purified": "network"}.get(row["network"])
        network = network or row["network"].replace("NTK", "ntk")
    over = [f"{row[name]:g}" for name in ("radius", "epoch") if name in row]
    return "/".join([network, row["quantity"], *over])


def old_name_of_removal(row):
    network = row["network"].removeprefix("w - ")
    if "layer" in row:
        network += f" in {row['layer']}"
    elif "alpha" in row and network != "v_c at its length":
        network += f"/{row['alpha']:g}"
    return f"{network}/{row['quantity']}"


def old_name_of_limits(row):
    suffix = "" if row["quantity"] == "same_feature" else SUFFIX[row["network"]]
    return f"{row['sweep']}/{row['setting']:g}/{row['quantity']}{suffix}"


def old_name_of_a_lower_bound(row):
    short = {
        "linear": "linear",
        "degree 2": "degree2",
        "degree 3": "degree3",
        "NTK, network's width": "ntk",
        "NTK, infinite width": "ntk_limit",
        "degree 3, witness": "witness",
    }
    if row["quantity"] == "radius":
        return "radius"
    end = "_accuracy" if row["quantity"] == "class_bound" else ""
    return f"{row['quantity']}_{short[row['network']]}{end}"


def old_name_of_separation(row):
    short = {"degree 2": "quadratic", "degree 3, witness": "cubic"}
    assert row["k"] == {256: 7, 400: 9, 576: 11, 784: 13, 1024: 14}[row["d"]]
    return f"{row['d']}/{short.get(row['network'], row['network'])}_accuracy"


def old_name_of_scaling(row):
    law = {
        "dense_coefficient": "dense coefficient",
        "broken_radius": "breaking radius",
        "certified_radius": "certified radius",
        "active_share": f"active share, {row['network']}",
        "steps_to_robust": "steps to 90%",
    }[row["fitted"]]
    return f"{law} ~ {row['factor']}" + (" (all sizes)" if row["sizes"] == "all" else "")


def old_name_of_interventions(row):
    return f"{row['network'].replace(' ', '_')}/{row['quantity']}"


def old_name_of_side_by_side(row):
    network = row["network"] + ("" if "," in row["network"] else " network")
    return f"{network}/{row['quantity']}"


def old_name_of_widths(row):
    return f"{row['width']}/{row['network'].removeprefix('NTK, ')}/{row['quantity']}"


OLD_NAMES = {
    "synthetic": old_name_of_a_pipeline,
    "cifar10": old_name_of_a_pipeline,
    "cifar10-resnet": old_name_of_a_pipeline,
    "cifar10-robustness": old_name_of_robustness,
    "cifar10-features": old_name_of_features,
    "cifar10-low-rank": old_name_of_low_rank,
    "cifar10-ntk": old_name_of_ntk,
    "cifar10-removal": old_name_of_removal,
    "limits": old_name_of_limits,
    "lower-bounds": old_name_of_a_lower_bound,
    "separation": old_name_of_separation,
    "scaling": old_name_of_scaling,
    "interventions": old_name_of_interventions,
    "side-by-side": old_name_of_side_by_side,
    "tangent-widths": old_name_of_widths,
    "soundness": lambda row: row["quantity"],
}
OLD_RUN = {
    ("dense_coefficient", "clean"): "dense_coefficient",
    ("broken_radius", "clean"): "broken_radius",
    ("certified_radius", "purified"): "certified_radius",
    ("active_share", "clean"): "active_clean",
    ("active_share", "purified"): "active_adv",
    ("steps_to_robust", "purified"): "steps",
}


def first_edition(new, name):
    """The content of a result's file of the first edition, from the new content alone."""
    provenance = {k: v for k, v in new["provenance"].items() if k != "tuned"}
    if name == "scaling-runs":
        runs = {}
        for row in new["records"]:
            run = runs.setdefault(
                (row["d"], row["k"], row["seed"]), dict.fromkeys(OLD_RUN.values())
            )
            run[OLD_RUN[row["quantity"], row["network"]]] = row["value"]
        found = [{"d": d, "k": k, "seed": seed, **run} for (d, k, seed), run in runs.items()]
        return {"measured": {"rows": found}, "provenance": provenance}
    numbers = {}
    for row in new["summaries"]:
        key = OLD_NAMES[name](row)
        assert key not in numbers
        numbers[key] = {end: row.get(end) for end in ("value", "low", "high", "n")}
    return {"measured": numbers, "provenance": provenance}


@pytest.fixture
def folder(results):
    """A results folder of the first edition."""
    for path in FIRST_EDITION.glob("*.json"):
        (results / path.name).write_bytes(path.read_bytes())
    return results


def contents(where):
    return {path.name: path.read_bytes() for path in where.iterdir() if path.name != LOCK}


def test_every_result_of_the_first_edition_is_there_and_no_other():
    assert len(NAMES) == 17 and {*NAMES} == {*RULES} == {*OLD_NAMES, "scaling-runs"}


@pytest.mark.parametrize("name", NAMES)
def test_the_first_edition_can_be_rebuilt_from_what_it_was_converted_to(name):
    old = old_content(name)
    new = json.loads(json.dumps(convert(copy.deepcopy(old), name)))
    rebuilt = first_edition(new, name)
    assert rebuilt == old and json.dumps(rebuilt) == json.dumps(
        old
    )  # in the same order, to the last bit


@pytest.mark.parametrize("name", NAMES)
def test_what_is_converted_is_left_as_it_is(name):
    new = convert(old_content(name), name)
    assert convert(new, name) == new


@pytest.mark.parametrize(
    ("name", "tuned"), [("synthetic", [0]), ("cifar10", [0, 1]), ("cifar10-resnet", None)]
)
def test_the_seeds_that_were_tuned_on_are_those_that_held_out_figures_do_without(name, tuned):
    assert convert(old_content(name), name)["provenance"].get("tuned") == tuned


def test_the_ledger_of_the_converted_results_is_that_of_the_first_edition(folder):
    convert_folder(folder)
    old = json.loads((FIRST_EDITION / "claims.json").read_text())
    entries = [entry for entry in claims() if entry.claim.id in {one["id"] for one in old}]
    assert len(old) == len(entries) == 16
    for before, entry in zip(old, entries):
        claim = entry.claim
        assert (before["id"], before["verdict"]) == (claim.id, entry.verdict)
        assert (before["statement"], before["chapter"]) == (claim.statement, claim.chapter)
        count = len(before["measured"])  # P3 has got one more since
        assert len(claim.evidence) == count + (claim.id == "P3")
        assert [*before["measured"].values()] == [
            {k: getattr(n, k) for k in ("value", "low", "high")} for n in entry.numbers[:count]
        ]
        bounds = [before["threshold"].get(name, "") for name in before["measured"]]
        assert bounds == [evidence.required for evidence in claim.evidence[:count]]
        sources = [
            {k: v for k, v in source.items() if k != "tuned"}
            for source in entry.provenance.values()
        ]
        assert sources == before["provenance"]


def test_a_folder_is_converted_once(folder):
    changed = convert_folder(folder)
    assert {path.stem for path in changed} == {*NAMES, "claims"}
    before = contents(folder)
    assert convert_folder(folder) == [] and contents(folder) == before
    for name in NAMES:
        found, old = load(name), old_content(name)
        assert found.provenance["commit"] == old["provenance"]["commit"] and (
            rows(found.records) or rows(found.kept)
        )


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("limits.json", "{", "limits.json cannot be read"),
        ("limits.json", '{"measured": {}}', "limits.json is no file of published results"),
        (
            "limits.json",
            '{"measured": {"a": 3}, "provenance": {"seeds": [0]}}',
            "limits.json cannot be converted .*0 patterns match 'a'",
        ),
        (
            "limits.json",
            '{"measured": [], "provenance": {"seeds": [0]}}',
            "limits.json cannot be converted",
        ),
        (
            "mine.json",
            '{"measured": {}, "provenance": {}}',
            "mine.json: the first edition had no result of this name",
        ),
        (
            "soundness.json",
            '{"measured": {"pairs": {"value": 1}}, "provenance": {"seeds": [0]}}',
            "soundness.json cannot be converted",
        ),
    ],
)
def test_nothing_of_a_folder_is_written_unless_all_of_it_can_be_converted(
    file, content, message, folder, capsys
):
    (folder / file).write_text(content)
    before = contents(folder)
    with pytest.raises(ValueError, match=message):
        convert_folder(folder)
    assert main([str(folder)]) == 1 and file in capsys.readouterr().err
    assert contents(folder) == before


def test_a_missing_folder_is_an_error(tmp_path, capsys):
    assert (
        main([str(tmp_path / "nowhere")]) == 1 and "nowhere is not there" in capsys.readouterr().err
    )


def test_a_name_that_no_pattern_or_several_match_is_an_error(monkeypatch):
    with pytest.raises(ValueError, match="0 patterns match 'cos_clean_adverse'"):
        columns_of("cos_clean_adverse", "cifar10")
    monkeypatch.setitem(
        RULES, "soundness", [("(?P<quantity>pairs)", {}), ("pa.rs", {"quantity": "pairs"})]
    )
    with pytest.raises(ValueError, match="2 patterns match 'pairs'"):
        columns_of("pairs", "soundness")


def test_the_folder_of_published_results_is_converted():
    assert all(
        "format" in json.loads(path.read_text()) for path in (ROOT / "results").glob("*.json")
    )


def test_a_folder_is_converted_from_the_command_line(folder, capsys):
    assert [main([str(folder)]) for _ in range(2)] == [0, 0]
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 19 and printed[-1] == "nothing to convert"
