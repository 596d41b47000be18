"""Results to download: each file as it is, and as tables; what cannot be read is said."""

import pandas as pd
import torch

from fpbook.build import downloads
from fpbook.results import publish, record, table


def publish_two_seeds():
    measured = [record("clean_accuracy", 0.5 + 0.1 * seed, "clean", seed=seed) for seed in (0, 1)]
    publish("mine", table(measured), "full", torch.device("cpu"), "d = 3")


def test_a_result_is_copied_with_its_means_and_its_seeds(results, tmp_path):
    publish_two_seeds()
    downloads.copy_results(tmp_path / "out")
    assert (tmp_path / "out" / "mine.json").read_bytes() == (results / "mine.json").read_bytes()
    means = pd.read_csv(tmp_path / "out" / "mine.csv")
    seeds = pd.read_csv(tmp_path / "out" / "mine-seeds.csv")
    assert means["n"].tolist() == [2] and seeds["value"].round(6).tolist() == [0.5, 0.6]
    row = next(line for line in downloads.results_table().splitlines() if "`mine`" in line)
    assert "d = 3" in row and row.count("<a ") == 3
    for link in ("mine.json", "mine.csv", "mine-seeds.csv"):
        assert f'href="../results/{link}"' in row


def test_a_file_of_another_edition_is_offered_as_it_is_and_named(results, tmp_path):
    results.mkdir()
    (results / "old.json").write_text('{"measured": {}, "provenance": {}}')
    downloads.copy_results(tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["old.json"]
    assert "this edition cannot read" in downloads.results_table()


def test_without_results_the_page_says_so(results):
    assert downloads.results_table().startswith("*No results are published")
