import pytest

from fpbook.synthetic import law_bounds
from fpbook.synthetic.law_bounds import main, measure_linear, measure_noisy


def test_the_best_linear_classifier_lies_between_what_is_reached_and_the_bound():
    bound, reached = measure_linear(3072)
    assert 0 < reached["value"] < bound["value"] < 0.05
    assert (bound["quantity"], bound["d"], bound["k"]) == ("class_bound", 3072, 25)


def test_each_class_has_its_numbers_under_dense_noise():
    found = measure_noisy(10**6, 0.45, seed=0, samples=40)
    kept = {row["network"]: row["value"] for row in found if "accuracy" in row["quantity"]}
    assert {*kept} == {"linear", "degree 3", "degree 5", "pure"}
    assert kept["degree 3"] < 0.3 < 0.9 < kept["pure"]
    assert all(row["setting"] == 0.45 and row["d"] == 10**6 for row in found)


def test_the_command_computes_and_writes_nothing_unless_asked(monkeypatch, results, capsys):
    monkeypatch.setattr(law_bounds, "LINEAR_SIZES", (768,))
    monkeypatch.setattr(law_bounds, "NOISY_SIZES", (1000,))
    monkeypatch.setattr(law_bounds, "DENSE_NOISES", ())
    main(["--seeds", "1"])
    assert "class_bound" in capsys.readouterr().out and not [*results.glob("lower-bounds-law*")]
    with pytest.raises(ValueError, match="seeds = 0"):
        main(["--seeds", "0"])
