"""The warnings of an evaluation: by these classes they can be told apart, and silenced."""

import warnings

PAGE = "pages/how-to/evaluation-warnings"  # what to do, warning by warning


class EvaluationWarning(UserWarning):
    """A robust accuracy may not mean what it seems to; each class says why."""


class GradientWarning(EvaluationWarning):
    """An attack had no finite gradient for some samples: what it finds bounds nothing for them."""


class ZeroGradientWarning(EvaluationWarning):
    """The gradient in x is exactly zero where an attack begins: it has no direction to go."""


class SaturatedWarning(EvaluationWarning):
    """The outputs are probabilities, not scores, or so large that rounding hides the others."""


class RandomWarning(EvaluationWarning):
    """The model answers otherwise each time, so an attack's success, or failure, may be luck."""


class BatchWarning(EvaluationWarning):
    """The answer for a sample depends on those beside it, and attacks regroup samples."""


class WeakAttackWarning(EvaluationWarning):
    """More steps, more restarts or a larger radius do not do what they must."""


class HiddenGradientWarning(EvaluationWarning):
    """An attack without the model's gradient beats those with it."""


class OrderWarning(EvaluationWarning):
    """Certified, robust and clean accuracy are not in this order: one of them is wrong."""


def warn(found: str, kind: type[EvaluationWarning], stacklevel: int = 2) -> None:
    """Warn of what was found, with the place of the page that says what to do.

    found       in words
    kind        names the section of the page as well
    stacklevel  frames from here to the code that is warned
    """
    where = f"see {PAGE}, {kind.__name__}"
    warnings.warn(f"{found} ({where})", kind, stacklevel + 1)
