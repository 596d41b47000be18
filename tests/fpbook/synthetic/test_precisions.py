"""One experiment in several arithmetics: alike but for rounding, and kept apart."""

import torch

from fpbook.results import rows, table
from fpbook.results.arithmetics import UNNAMED, bounded_figures, conclusions, threads
from fpbook.synthetic import precisions
from fpbook.synthetic.precisions import measure_in, run_in


def test_arithmetics_train_alike_but_for_rounding(tiny):
    found = {name: run_in(tiny, 0, name) for name in ("float64", "float32", "bfloat16")}
    exact = found["float64"].purified.weight
    for name, tolerance in (("float32", 1e-4), ("bfloat16", 0.3)):
        net = found[name].purified
        assert net.weight.dtype == torch.float32 and not torch.equal(net.weight, exact)
        assert (net.weight - exact).norm() < tolerance * exact.norm()
        assert torch.equal(found[name].init.weight, found["float64"].init.weight)
        assert torch.equal(found[name].x, found["float64"].x)


def test_threads_are_put_back():
    before = torch.get_num_threads()
    with threads(2):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == before


def test_the_command_measures_compares_and_publishes_on_request(
    tiny, results, cache, monkeypatch, capsys
):
    monkeypatch.setattr(precisions, "SYNTHETIC", {"quick": tiny})
    monkeypatch.setattr(precisions, "ARITHMETICS", (("float64", 1), ("float32", 1)))
    precisions.main(["--seeds", "1", "--publish"])
    said = capsys.readouterr().out
    figures = [one for one in bounded_figures() if one.result == UNNAMED]
    assert f"{len(figures)} conclusions compared, 0 differ" in said
    assert (results / "numerics.json").exists() and "| float64, 1 thread |" in said


def test_what_is_certified_is_attacked(tiny):
    measured = measure_in(tiny, 0, "float32", 1, restarts=1)
    found = {row["quantity"]: row["value"] for row in measured if row.get("network") == "purified"}
    assert found["pairs"] == tiny.test_samples and found["broken"] == 0
    assert 0 <= found["certified"] <= found["pairs"]
    assert {row["precision"] for row in rows(table(measured))} == {"float32"}
    assert (found["margin_over_rounding"] > 1) == (found["certified"] > 0)
    assert conclusions(table(measured)) == (0, 0)  # nothing to compare with
