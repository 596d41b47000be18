"""Times of tasks: measured anew, published, and what the page makes of them."""

import dataclasses
import os

import numpy as np
import pytest

from fpbook.cifar10.experiment import CIFAR
from fpbook.results.store import published
from fpbook.sweep import page
from fpbook.sweep.simulation import Machines
from fpbook.sweep.tasks import Task
from fpbook.sweep.times import TASK_TIMES, publish_times, training_flops


def test_the_page_says_that_nothing_is_measured_until_it_is(results, cache, tiny, monkeypatch):
    results.mkdir()
    assert "python -m fpbook sweep sweeps/times.toml --publish" in page.sweeps_page()
    tasks = [
        Task("limits", dataclasses.replace(tiny, width=m), s) for m in (40, 80) for s in (0, 1)
    ]
    assert publish_times(tasks, 1) == "published sweep-tasks: 4 tasks, 1 workers of one thread each"
    assert os.environ["FPCORE_CACHE"] == str(cache) and not cache.exists()
    found = published(TASK_TIMES).records
    assert set(found["quantity"]) == {"task_time", "task_flops", "task_bytes"} and len(found) == 12
    assert (found["value"] > 0).all()
    monkeypatch.setattr(page, "SWEEP_SIZES", {3: "black", 30: "red"})
    monkeypatch.setattr(page, "REPEATS", 1)
    text = page.sweeps_page()
    assert "| 40 | 40 | 2 |" in text and "| 40 | 80 | 2 |" in text
    assert text.count("<figure") == 1 and "4 tasks, 1 workers" in text


def test_operations_are_counted_product_by_product(tiny):
    one = dataclasses.replace(tiny, clean_steps=1, adversarial_steps=1)
    product = 2 * 32 * 80 * 40  # n m d
    assert training_flops(one) == (2 + 4) * product
    assert training_flops(dataclasses.replace(one, attack_steps=3)) == (2 + 8) * product


def test_times_of_other_experiments_are_not_published(results):
    with pytest.raises(ValueError, match="give a sweep on the sparse coding model"):
        publish_times([Task("cifar10", CIFAR["quick"], 0)], 1)


def test_tasks_that_records_cannot_tell_apart_are_an_error_before_any_work(tiny, no_batches):
    no_batches()
    tasks = [Task("limits", dataclasses.replace(tiny, noise=noise), 0) for noise in (0.1, 0.2)]
    with pytest.raises(ValueError, match="let tasks differ in d, k, width, radius or seed"):
        publish_times(tasks, 1)


def test_equal_tasks_reach_the_speed_up_that_their_number_allows():
    seconds = np.ones(5)
    for count, workers, span in ((100, 10, 10), (100, 1000, 1), (15, 10, 2)):
        assert page.simulated(seconds, count, workers, Machines()) == (span, count)
    table = page._troubles(1e9 * seconds, 3)
    assert "| a worker dies every hour | 10 | never | - | - |" in table
