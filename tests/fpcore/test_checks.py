import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fpcore import checks


@given(st.integers())
def test_whole_numbers_pass_from_the_lower_end_on(value):
    if value >= 3:
        assert checks.whole("n", value, low=3) == value
    else:
        with pytest.raises(ValueError, match=rf"n = {value}\b.*at least 3"):
            checks.whole("n", value, low=3)


@pytest.mark.parametrize("value", [0, -1, True, 1.0, 2.5, math.nan, "3", None])
def test_what_is_no_positive_int_is_named(value):
    with pytest.raises(ValueError) as error:
        checks.positive_int("steps", value)
    assert f"steps = {value!r}" in str(error.value)
    assert "at least 1" in str(error.value)


def test_one_is_a_positive_int():
    assert checks.positive_int("steps", 1) == 1


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_finite_accepts_exactly_the_finite_numbers_in_its_range(value):
    if math.isfinite(value) and -1 <= value <= 2:
        assert checks.finite("x", value, low=-1, high=2) == value
    else:
        with pytest.raises(ValueError, match="between -1 and 2"):
            checks.finite("x", value, low=-1, high=2)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1e-9, True, "0.1", None])
def test_what_is_no_finite_number_is_named(value):
    with pytest.raises(ValueError) as error:
        checks.finite("radius", value)
    assert f"radius = {value!r}" in str(error.value)
    assert "at least 0" in str(error.value)


def test_finite_turns_an_int_into_a_float_and_accepts_the_ends_of_its_range():
    assert type(checks.finite("x", 2)) is float
    assert [checks.finite("x", v, low=-1, high=2) for v in (-1, 2)] == [-1.0, 2.0]
    assert checks.finite("x", 0.0) == 0.0


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (torch.tensor(0.5), "Tensor"),
        (torch.tensor(2), "Tensor"),
        (np.float32(0.5), "float32"),
        ([1], "list"),
    ],
)
def test_the_type_of_what_is_no_python_number_is_named(value, kind):
    for check in (checks.finite, checks.positive_int):
        error = rf"\({kind}\): give a Python int or float, a .* number of at least"
        with pytest.raises(ValueError, match=error):
            check("radius", value)


def test_one_str_is_no_list_of_names():
    assert checks.several("layers", ["conv1"]) == ["conv1"]
    with pytest.raises(ValueError, match=r"layers = 'conv1': give a list, \['conv1'\]"):
        checks.several("layers", "conv1")


def test_choice_lists_the_options():
    assert checks.choice("norm", "l2", ("l2", "linf")) == "l2"
    with pytest.raises(ValueError, match="norm = 'l1': choose one of 'l2', 'linf'"):
        checks.choice("norm", "l1", ("l2", "linf"))


def test_auto_takes_the_first_cuda_device_if_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert checks.resolve_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    # One name for one device: results are kept under names that contain it.
    assert checks.resolve_device() == checks.resolve_device("cuda") == torch.device("cuda:0")


def test_a_numbered_cuda_device_must_exist(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert checks.resolve_device("cuda") == torch.device("cuda:0")
    assert checks.resolve_device("cuda:1") == torch.device("cuda:1")
    error = "device = 'cuda:2': choose one of 'auto', 'cpu', 'cuda:0', 'cuda:1'"
    with pytest.raises(ValueError, match=error):
        checks.resolve_device("cuda:2")


@pytest.mark.parametrize("device", ["cuda", "tpu", "", "gpu0"])
def test_a_device_that_is_not_there_is_an_error(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"device = .*choose one of 'auto', 'cpu'"):
        checks.resolve_device(device)


def test_a_torch_device_passes_through():
    assert checks.resolve_device(torch.device("cpu")) == torch.device("cpu")
