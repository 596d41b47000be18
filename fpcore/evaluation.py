"""Does a robust accuracy mean what it says? Tests that a weak attack, or a mistake, fails."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from fpcore import checks, seeding
from fpcore.alerts import (
    HiddenGradientWarning,
    OrderWarning,
    SaturatedWarning,
    WeakAttackWarning,
    warn,
)
from fpcore.attacks import before_attack, one_step, pgd
from fpcore.ball import Ball
from fpcore.extra_attacks import Attack, check_extra, kept_to
from fpcore.gradients import (
    loss_alone,
    warn_of_flat,
    warn_of_lost,
    warn_of_probabilities,
    withstood,
)
from fpcore.models.outputs import answers, correct, evaluating, loss, some

SHARE = 0.02  # of the samples: what is rarer is chance
FAR = 0.1  # of the samples: so many may survive where another class is inside the ball
OUTSIDE = ("twice the radius", "another class inside")  # attacks in a larger ball
QUERIES = 100  # of the random search


@dataclass(frozen=True)
class Evaluation:
    """What `check_evaluation` has measured: shares of samples that are right, attack by attack.

    It warned of what is wrong with them; `accuracies` shows how far.
    """

    accuracies: dict[str, float]


@torch.no_grad()
def check_evaluation(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    ball: Ball,
    steps: int = 20,
    restarts: int = 5,
    others: tuple[Attack, ...] = (),
    certified: Tensor | None = None,
    seed: int = 0,
) -> Evaluation:
    """Warn where an evaluation by `robust_accuracy` would not mean what it says.

    model      gives one logit a sample, or class scores
    x          samples (n, ...): a few hundred will do
    y          their labels (n,)
    ball       the threat
    steps      of PGD, as in the evaluation
    restarts   of PGD, as in the evaluation
    others     attacks without the model's gradient: `fpcore.attacks.transfer(source, ball)`, say
    certified  which samples are certified at this radius (n,), bool, if they are
    seed       of random starts and of a random search

    It costs about 15 times PGD without restarts, more with them. Each `EvaluationWarning` names its
    section of a page that says what to do. Source: Carlini et al. (2019), section 5.
    """
    checks.positive_int("steps", steps)
    checks.positive_int("restarts", restarts)
    checks.whole("seed", seed)
    check_extra(others)
    some(x)
    before_attack(model, x, y, ball)
    output = answers(model, x, y, chunk=1000)
    right = correct(output, y)
    _check_saturated(output, y, right)
    trial = _Trial(model, x, y, right, seeding.generator(seed, "check", device=x.device))
    alive = {
        "clean": right,
        "one step": trial.survivors(lambda a, b, lost: one_step(model, a, b, ball, lost)),
        "a quarter of the steps": trial.pgd(ball, max(1, steps // 4)),
        "PGD": trial.pgd(ball, steps),
        "four times the steps": trial.pgd(ball, 4 * steps),
        "PGD with restarts": trial.pgd(ball, steps, restarts),
        "twice the restarts": trial.pgd(ball, steps, 2 * restarts),
        "twice the radius": trial.pgd(replace(ball, radius=2 * ball.radius), steps),
        "no gradient": trial.survivors(lambda a, b, _: random_search(model, a, b, ball, trial.rng)),
        **{f"other attack {n}": trial.other(ball, attack) for n, attack in enumerate(others, 1)},
    }
    far = _where_others_are(output, x, ball)
    if far is not None:
        alive["another class inside"] = trial.pgd(far, steps)
    warn_of_lost(trial.lost & alive["PGD"], ball)
    known = alive["PGD"] & ~trial.lost
    warn_of_flat(model, x[known], y[known], ball)
    _compare(alive, ball)
    shares = {name: survived.float().mean().item() for name, survived in alive.items()}
    if certified is not None:
        _check_certified(certified, alive)
        shares["certified"] = certified.float().mean().item()
    return Evaluation(shares)


def check_order(clean: float, robust: float, certified: float | None = None) -> None:
    """Warn unless certified <= robust <= clean accuracy, of the same samples and one radius.

    clean      the accuracy without an attack
    robust     what attacks have left of it
    certified  what is proved of it; None: nothing
    """
    numbers = {"clean": clean, "robust": robust}
    numbers |= {} if certified is None else {"certified": certified}
    for name, number in numbers.items():
        checks.finite(name, number, high=1.0)
    if robust > clean:
        found = f"robust accuracy {robust:g} is above the clean one, {clean:g}"
        warn(f"{found}: give both of the same samples and network", OrderWarning)
    if certified is not None and certified > robust:
        found = f"certified accuracy {certified:g} is above the robust one, {robust:g}"
        warn(f"{found}: one of the two is wrong", OrderWarning)


class _Trial:
    """Attacks one by one on the samples that a model has right.

    lost  (n,), bool, which had no finite gradient in any of them
    """

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor, right: Tensor, rng: torch.Generator):
        self.model, self.x, self.y, self.right, self.rng = model, x, y, right, rng
        self.lost = torch.zeros_like(right)

    def survivors(self, attack: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """Which samples an attack (x, y, lost) -> x leaves right, (n,), bool."""
        survived = self.right.clone()
        todo = self.right.nonzero().flatten()
        if len(todo):
            survived[todo], missed = withstood(self.model, attack, self.x[todo], self.y[todo])
            self.lost[todo] |= missed
        return survived

    def pgd(self, ball: Ball, steps: int, restarts: int = 1) -> Tensor:
        """What `fpcore.pgd` leaves."""
        return self.survivors(
            lambda a, b, lost: pgd(self.model, a, b, ball, steps, restarts, rng=self.rng, lost=lost)
        )

    def other(self, ball: Ball, attack: Attack) -> Tensor:
        """What an attack of the user's leaves."""
        return self.survivors(partial(kept_to(ball, attack), self.model))


@torch.no_grad()
def random_search(
    model: nn.Module, x: Tensor, y: Tensor, ball: Ball, rng: torch.Generator | None = None
) -> Tensor:
    """An attack without gradients: random points of the ball, then random steps that climb.

    model  gives one logit a sample, or class scores
    x      samples (n, ...)
    y      their labels (n,)
    ball   the threat
    rng    of the points

    Returns the x of the largest loss met in `QUERIES` queries a sample.
    """
    best, worst = torch.zeros_like(x), None
    with evaluating(model):
        for query in range(QUERIES):
            step = ball.random(x, rng)
            step = step * (ball.radius / ball.size(step).clamp(min=1e-30)).view(
                -1, *[1] * (x.ndim - 1)
            )
            # The first half starts anew each time; then steps shrink, around the best.
            late = max(0, 2 * query - QUERIES) / QUERIES
            delta = ball.project(best + (1 - late) * step if late else step, x)
            _, values = loss_alone(model, x + delta, y)
            better = torch.ones_like(values, dtype=torch.bool) if worst is None else values > worst
            best = torch.where(better.view(-1, *[1] * (x.ndim - 1)), delta, best)
            worst = values if worst is None else torch.where(better, values, worst)
    return x + best


def _check_saturated(output: Tensor, y: Tensor, right: Tensor) -> None:
    """Warn of probabilities, and of scores so large that their loss is exactly zero."""
    warn_of_probabilities(output, y)
    zero = int((loss(output, y)[right] == 0).sum())
    if zero > FAR * len(y):
        found = f"the loss of {zero} of {len(y)} samples is exactly 0, so large are the scores"
        advice = "attacks of other tools, which climb it, have no gradient there: scale them down"
        warn(f"{found}: {advice}", SaturatedWarning, 3)


def _where_others_are(output: Tensor, x: Tensor, ball: Ball) -> Ball | None:
    """The ball in which every sample has one of another prediction; None if there is none."""
    predicted = output > 0 if output.ndim == 1 else output.argmax(1)
    if (predicted == predicted[0]).all():
        return None
    flat = x.flatten(1).float()
    distance = torch.cdist(flat, flat, p=2.0 if ball.norm == "l2" else float("inf"))
    distance[predicted[:, None] == predicted] = float("inf")
    return replace(ball, radius=max(ball.radius, 1.01 * distance.amin(1).max().item()))


def _compare(alive: dict[str, Tensor], ball: Ball) -> None:
    """Warn where the weaker of two attacks breaks what the stronger leaves."""

    def gained(weak: str, strong: str) -> int:
        """How many samples `weak` breaks and `strong` does not, where that is no chance."""
        count = int((alive[strong] & ~alive[weak]).sum())
        return count if count > max(1, SHARE * len(alive["clean"])) else 0

    n = len(alive["clean"])
    for weak in ("one step", "a quarter of the steps"):
        if count := gained(weak, "PGD"):
            found = f"{weak} breaks {count} of {n} samples that all steps leave"
            warn(f"{found}: take smaller steps, and look at the gradient", WeakAttackWarning, 3)
    for more, what in (("four times the steps", "steps"), ("twice the restarts", "restarts")):
        if count := gained(more, "PGD" if what == "steps" else "PGD with restarts"):
            found = f"{more} break {count} of {n} samples more: take more {what}"
            warn(found, WeakAttackWarning, 3)
    if count := gained("PGD", "twice the radius"):
        found = f"twice the radius leaves {count} of {n} samples that the radius breaks"
        warn(f"{found}: the gradient misleads", WeakAttackWarning, 3)
    left = int(alive["another class inside"].sum()) if "another class inside" in alive else 0
    if left > FAR * n:
        found = f"{left} of {n} samples survive PGD in a ball that holds another class"
        warn(f"{found}: the gradient misleads", WeakAttackWarning, 3)
    for name in alive:
        without = name == "no gradient" or name.startswith("other attack")
        if without and ball.radius and (count := gained(name, "PGD with restarts")):
            found = f"an attack without the gradient ({name}) breaks {count} of {n} samples"
            warn(f"{found} that PGD leaves", HiddenGradientWarning, 3)


def _check_certified(certified: Tensor, alive: dict[str, Tensor]) -> None:
    """Warn if a sample that is certified was broken, or was wrong from the start."""
    right = alive["clean"]
    if checks.tensor("certified", certified, "(n,)").shape != right.shape:
        found = f"certified is {tuple(certified.shape)}"
        raise ValueError(f"{found}: give one bool a sample, {tuple(right.shape)}")
    if certified.dtype != torch.bool:
        raise ValueError(f"certified is {certified.dtype}: give bools, certify(...).robust")
    inside = [survived for name, survived in alive.items() if name not in OUTSIDE]
    survived = torch.stack(inside).all(0)
    if broken := int((certified & ~survived).sum()):
        found = f"{broken} samples are certified, and yet an attack breaks them"
        warn(f"{found}: one of the two is wrong, or of another radius", OrderWarning, 3)
