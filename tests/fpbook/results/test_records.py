import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpbook.results.columns import ABSCISSAE, rows, select
from fpbook.results.quantities import QUANTITIES
from fpbook.results.records import record, table
from fpbook.results.summaries import joined, number, pick, summarise, summary_table


def test_a_record_names_its_columns_in_one_order_and_leaves_out_what_is_empty():
    found = record("robust_accuracy", 0.5, "clean", seed=1, threat="l2 0.5", radius=0.5)
    assert list(found.items()) == [
        ("quantity", "robust_accuracy"),
        ("network", "clean"),
        ("radius", 0.5),
        ("threat", "l2 0.5"),
        ("seed", 1),
        ("value", 0.5),
    ]


def test_a_number_of_numpy_becomes_a_plain_one():
    found = record("loss", np.float32(0.5), epoch=np.int64(3))
    assert type(found["value"]) is float and type(found["epoch"]) is int


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"quantity": "robust_acuracy"},
            "quantity = 'robust_acuracy' is unknown: did you mean .*'robust_accuracy'",
        ),
        ({"quantity": "xyz"}, "quantity = 'xyz' is unknown: known are .*radius"),
        ({"quantity": None}, "quantity = None is unknown"),
        ({"raduis": 0.5}, "column = 'raduis' is unknown: did you mean 'radius'"),
        ({"value": math.nan}, "value = nan: give a finite number"),
        ({"value": math.inf}, "value = inf"),
        ({"value": 1.5}, "value = 1.5 of robust_accuracy: give a share, 0 to 1"),
        ({"value": -0.1}, "value = -0.1 of robust_accuracy: give a share, 0 to 1"),
        ({"value": "0.5"}, "value = '0.5'"),
        ({"value": True}, "value = True"),
        ({"value": None}, "value = None"),
        ({"rank": 1.5}, "rank = 1.5: give a whole number"),
        ({"seed": 0.0}, "seed = 0.0"),
        ({"network": ""}, "network = '': give a text"),
        ({"radius": "0.5"}, "radius = '0.5': give a finite number"),
        ({"threat": 0.5}, "threat = 0.5: give a text"),
    ],
)
def test_what_is_no_record_is_an_error_that_names_it(given, message):
    with pytest.raises(ValueError, match=message):
        record(**{"quantity": "robust_accuracy", "value": 0.5, **given})


def test_a_table_has_the_abscissae_that_any_record_has_in_one_order():
    found = table(
        [record("loss", 1.0, epoch=2), record("robust_accuracy", 0.5, "clean", radius=0.5)], seed=3
    )
    assert [*found.columns] == ["quantity", "network", "layer", "radius", "epoch", "seed", "value"]
    assert [*found["seed"]] == [3, 3] and found["epoch"].isna().tolist() == [False, True]


def test_a_table_without_records_has_its_columns():
    assert [*table([]).columns] == ["quantity", "network", "layer", "seed", "value"]
    assert rows(table([])) == [] and len(summarise(table([]))) == 0 and len(joined()) == 0


def test_two_values_of_the_same_are_an_error():
    one = record("radius", 0.1, seed=0)
    with pytest.raises(ValueError, match=r"two values of .*radius"):
        table([one, record("radius", 0.2, seed=0)])
    assert len(table([one, record("radius", 0.2, seed=1)])) == 2


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5),
    st.booleans(),
)
def test_the_rows_of_a_table_are_the_records_it_was_made_of(values, with_rank):
    made = [
        record("loss", value, seed=i, rank=i if with_rank or i else None)
        for i, value in enumerate(values)
    ]
    assert rows(table(made)) == made
    assert rows(table(rows(table(made)))) == made


def test_a_reader_has_the_same_table_from_plain_pandas():
    measured = table(
        [
            record("loss", 0.1, "clean", epoch=1, seed=0),
            record("loss", 0.2, "clean", epoch=2, seed=0),
        ]
    )
    read = pd.DataFrame(rows(measured))
    assert read["value"].tolist() == [0.1, 0.2] and read["epoch"].tolist() == [1, 2]


def test_select_filters_by_a_value_a_list_or_nothing():
    measured = table(
        [
            record("loss", 1.0, "clean", epoch=1),
            record("loss", 2.0, "clean", epoch=2),
            record("loss", 3.0, "clean"),
            record("radius", 4.0),
        ]
    )

    def values(**wanted):
        return select(measured, **wanted)["value"].tolist()

    assert values() == [1.0, 2.0, 3.0, 4.0] and values(quantity="loss", network="clean") == [
        1.0,
        2.0,
        3.0,
    ]
    assert (
        values(epoch=2) == [2.0]
        and values(epoch=[1, 2]) == [1.0, 2.0]
        and values(epoch=None) == [3.0, 4.0]
    )
    assert values(rank=None) == [1.0, 2.0, 3.0, 4.0] and values(rank=1) == []
    with pytest.raises(ValueError, match="column = 'netwerk' is unknown: did you mean 'network'"):
        select(measured, netwerk="clean")
    with pytest.raises(ValueError, match="quantity = 'los' is unknown"):
        select(measured, quantity=["radius", "los"])


def test_a_summary_is_the_interval_over_the_seeds_that_have_a_number():
    measured = table(
        [
            record("loss", 1.0, "clean", seed=0),
            record("loss", 3.0, "clean", seed=1),
            record("loss", 5.0, "control", seed=0),
        ]
    )
    summary = summarise(measured)
    assert [*summary.columns] == [
        "quantity",
        "network",
        "layer",
        "seeds",
        "value",
        "low",
        "high",
        "n",
    ]
    clean, control = (number(summary, "loss", name) for name in ("clean", "control"))
    assert (clean.value, clean.n) == (2.0, 2) and clean.low < 1 < 3 < clean.high
    assert (control.value, control.low, control.high, control.n) == (5.0, None, None, 1)


@pytest.mark.parametrize(
    "name",
    ["clean_accuracy", "share_live", "purity", "dense_part", "same_feature", "cos_removed_dense"],
)
def test_a_summary_cuts_the_intervals_of_shares(name):
    assert (
        number(summarise(table([record(name, 1.0, seed=0), record(name, 0.9, seed=1)])), name).high
        == 1.0
    )
    assert (
        number(summarise(table([record(name, 0.0, seed=0), record(name, 0.1, seed=1)])), name).low
        == 0.0
    )


@pytest.mark.parametrize("name", ["cos_to_init", "regained", "robust_gain", "autoattack_ratio"])
def test_a_summary_cuts_no_other_intervals(name):
    found = number(summarise(table([record(name, 0.01, seed=0), record(name, 0.99, seed=1)])), name)
    assert found.low < 0 and found.high > 1


def test_held_out_seeds_are_those_on_which_no_choice_was_made():
    measured = table(
        [record("loss", float(s), "clean", seed=s) for s in (0, 1, 2)] + [record("radius", 0.5)]
    )
    summary = summarise(measured, tuned_on=[0])
    assert number(summary, "loss", "clean").value == 1.0
    held = number(summary, "loss", "clean", seeds="held out")
    assert (held.value, held.n) == (1.5, 2)
    assert (
        number(summary, "radius").value == 0.5
        and number(summary, "radius", seeds="held out") is None
    )
    assert select(summarise(measured), seeds="held out").empty


def test_a_number_is_the_one_row_that_matches_exactly():
    summary = summarise(
        table(
            [
                record("cos_to_clean", 0.5, "purified"),
                record("cos_to_clean", 0.6, "purified", "conv1"),
                record("robust_accuracy", 0.7, "clean", radius=0.5),
            ]
        )
    )
    assert number(summary, "cos_to_clean", "purified").value == 0.5
    assert number(summary, "cos_to_clean", "purified", "conv1").value == 0.6
    assert number(summary, "robust_accuracy", "clean", radius=0.5).unit == "%"
    assert number(summary, "robust_accuracy", "clean") is None  # at no radius
    assert number(summary, "cos_to_clean", "control") is None
    twice = pd.concat([summary, summary], ignore_index=True)
    with pytest.raises(ValueError, match=r"cos_to_clean.*2 rows"):
        number(twice, "cos_to_clean", "purified")


def test_a_pick_is_checked_as_a_record_is():
    assert pick("loss", "clean", epoch=2) == pick("loss", epoch=2, network="clean")
    assert pick("loss", "clean", seeds="held out", epoch=2).columns() == {
        "quantity": "loss",
        "network": "clean",
        "epoch": 2,
        "seeds": "held out",
    }
    for wrong, message in (
        ({"seeds": "some"}, "seeds = 'some'"),
        ({"epoche": 2}, "'epoche' is unknown"),
        ({"epoch": 0.5}, "epoch"),
    ):
        with pytest.raises(ValueError, match=message):
            pick("loss", **wrong)


def test_a_summary_without_records_says_of_how_many_it_is():
    row = {
        "quantity": "exponent",
        "fitted": "broken_radius",
        "factor": "d",
        "value": -0.5,
        "low": -0.6,
        "high": -0.4,
        "n": 7,
    }
    found = number(summary_table([row]), "exponent", fitted="broken_radius", factor="d")
    assert (found.value, found.low, found.high, found.n) == (-0.5, -0.6, -0.4, 7)
    with pytest.raises(ValueError, match="n = None"):
        summary_table([{"quantity": "exponent", "value": 1.0}])
    with pytest.raises(ValueError, match="two values"):
        summary_table([row, row])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"value": 0.1, "low": 0.9, "high": 0.95}, "not in its interval"),
        ({"value": 0.99, "low": 0.9, "high": 0.95}, "not in its interval"),
        ({"value": 0.92, "low": 0.95, "high": 0.9}, "not in its interval"),
        ({"low": 0.1}, "give both ends"),
        ({"high": 0.9}, "give both ends"),
        ({"n": 0}, "n = 0: give"),
        ({"n": -3}, "n = -3: give"),
        ({"n": 2.5}, "n = 2.5: give"),
        ({"low": math.nan, "high": 1.0}, "low = nan"),
    ],
)
def test_a_summary_has_its_value_in_its_interval(wrong, message):
    row = {"quantity": "robust_accuracy", "value": 0.5, "n": 3}
    assert len(summary_table([row, {**row, "network": "clean", "low": 0.5, "high": 0.5}])) == 2
    with pytest.raises(ValueError, match=message):
        summary_table([{**row, **wrong}])


def test_joined_tables_are_one():
    one, other = table([record("loss", 1.0, epoch=1)]), table([record("radius", 2.0, seed=0)])
    assert rows(joined(one, other)) == rows(one) + rows(other)
    assert rows(joined(summarise(one), summarise(other))) == rows(summarise(one)) + rows(
        summarise(other)
    )


def test_every_quantity_and_abscissa_has_a_label_and_a_sound_unit():
    assert all(q.label and q.bound in ("", "upper", "lower") for q in QUANTITIES.values())
    assert all(a.label and a.kind in (float, int, str) for a in ABSCISSAE.values())
    labels = [q.label for q in QUANTITIES.values()]
    assert len({*labels}) == len(labels)
