"""Right, or one clear error: thousands of calls, each with one wrong argument."""

import pytest
import torch
from counting import count
from hostile_calls import good_calls
from hostile_inputs import cases, verdict

ELSEWHERE = ("autoattack", "load_cifar10")  # minutes, and data, for their own tests


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile")


def test_the_good_calls_are_good(folder):
    for good in good_calls(folder):
        if good.given and good.name not in ELSEWHERE:
            good.call(**good.given)


@pytest.mark.counted
def test_a_wrong_argument_ends_in_a_right_result_or_in_one_error_of_ours(folder, monkeypatch):
    monkeypatch.delenv("FPCORE_DATA", raising=False)
    monkeypatch.chdir(folder)
    before = torch.get_rng_state()
    tried, failed = 0, []
    for case in cases(folder):
        tried += 1
        if (why := verdict(case)) is not None:
            failed.append(f"{case.name}: {why}")
    torch.set_rng_state(before)
    assert not failed, "\n".join(failed)
    assert tried >= 500
    count("bad inputs", tried)
    assert not (folder / "written").exists()  # no code of a file was run
