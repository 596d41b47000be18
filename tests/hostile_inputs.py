"""Calls of the public functions with one wrong argument each, and the judge of what they do.

`cases()` gives them all, in a fixed order: a table of good calls times a table of wrong values by
the kind of argument. Each ends in a right result, or in one error of ours.
"""

import re
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from hostile_calls import Refused, good_calls
from hostile_values import KINDS
from torch import Tensor, nn

import fpcore
from fpcore.alerts import EvaluationWarning
from fpcore.ball import Ball

OURS = Path(fpcore.__file__).parent
ERRORS = (ValueError, TypeError, FloatingPointError, FileNotFoundError)
ADVICE = re.compile(
    r"\b(give|choose|wrap|make|load|leave|delete|return|train|call|needs|copy|save|did you mean)\b"
    r"|invalid int value|the network's layers are"
)
# What an error may call an argument instead.
FIRST, SECOND = ("first network", "one network only", "same architecture"), ("second network",)
ALSO = {
    "model": ("the network", "net", "weight", "layer", *FIRST),
    "net": ("model", "the network", "weight", "layer"),
    "one": FIRST,
    "clean": ("path", *FIRST),
    "other": (*SECOND, *FIRST[1:]),
    "purified": (*SECOND, *FIRST[1:]),
    "adversarial": ("path", "purified", *SECOND, *FIRST[1:]),
    "x": ("images", "box", "batch"),
    "held": ("the network",),
    "data": ("batch", "spec"),
    "output": ("scores",),
    "images": ("(x, y)",),
}
# Wrong by kind, and yet right for some: what they return is judged as a result.
TAKEN = {
    "x": {"float64", "float16", "deep", "flat", "narrow", "numpy"},
    "matrix": {"integers"},
    "layers_network": {"other"},
}


@dataclass(frozen=True)
class Case:
    """One call with one wrong argument."""

    function: str
    argument: str
    wrong: str
    call: Callable[[], Any]
    ball: Ball | None
    x: Tensor | None
    may_pass: bool
    also: tuple[str, ...] = ()  # what else an error may call the value

    @property
    def name(self) -> str:
        return f"{self.function}-{self.argument}-{self.wrong}"


def cases(folder: Path) -> Iterator[Case]:
    """All cases.

    folder  empty, for files that are read
    """
    for good in good_calls(folder):
        for argument, kind in good.kinds.items():
            value = good.given.get(argument)
            for wrong, bad in KINDS[kind](value):
                given = {**good.given, argument: bad}
                yield Case(
                    function=good.name,
                    argument=argument,
                    wrong=wrong,
                    call=lambda good=good, given=given: good.call(**given),
                    ball=given["ball"] if isinstance(given.get("ball"), Ball) else None,
                    x=given["x"] if isinstance(given.get("x"), Tensor) else None,
                    also=(str(bad),) if kind == "path" and bad else (),
                    may_pass=wrong in TAKEN.get(kind, ()) or wrong in good.may_pass,
                )


def verdict(case: Case) -> str | None:
    """What is wrong with how a case ends; None if it ends as it should."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            found = case.call()
        except Refused as error:
            return _of_words(case, str(error))
        except ERRORS as error:
            return _of_error(case, error)
        except Exception as error:
            return f"{type(error).__name__} from inside: {error}"
    if strange := [one for one in said if not issubclass(one.category, EvaluationWarning)]:
        return f"a {strange[0].category.__name__} from inside: {strange[0].message}"
    if not (case.may_pass or said):
        return f"was taken in silence, and gave a {type(found).__name__}"
    return _of_result(case, found)


def _of_error(case: Case, error: Exception) -> str | None:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    if not Path(frame.filename).is_relative_to(OURS):
        return f"{type(error).__name__} of {frame.filename}: {error}"
    return _of_words(case, str(error))


def _of_words(case: Case, text: str) -> str | None:
    names = (case.argument, *ALSO.get(case.argument, ()), *case.also)
    if not any(re.search(rf"(?<![a-z]){re.escape(name)}(?![a-z])", text) for name in names):
        return f"does not name {case.argument}: {text}"
    return None if ADVICE.search(text) else f"does not say what to give: {text}"


def _of_result(case: Case, found: Any) -> str | None:
    for tensor in _tensors(found):
        if tensor.is_floating_point() and not tensor.isfinite().all():
            return "gave what is not finite, in silence"
        if case.ball and case.x is not None and tensor.shape == case.x.shape:
            gone = case.ball.size(tensor.double() - case.x.double()).max().item()
            if gone > case.ball.radius * (1 + 1e-2):
                return f"left the ball: {gone}"
    return None


def _tensors(found: Any) -> Iterator[Tensor]:
    if isinstance(found, Tensor):
        yield found
    elif isinstance(found, float):
        yield torch.tensor(found)
    elif isinstance(found, nn.Module):
        yield from found.state_dict().values()
    elif isinstance(found, dict):
        for one in found.values():
            yield from _tensors(one)
    elif isinstance(found, list | tuple):
        for one in found:
            yield from _tensors(one)
    elif is_dataclass(found):
        for field in fields(found):
            yield from _tensors(getattr(found, field.name))
