"""APGD: gradient ascent in a ball that sets its own step. Source: Croce and Hein (2020)."""

from functools import partial

import torch
from torch import Tensor, nn

from fpcore.ball import Ball
from fpcore.gradients import Rise, broken, loss_alone, loss_and_grad, margin, others, tracked
from fpcore.models.asked import one_output_each
from fpcore.models.folded import WORTH, folded, parts, taken
from fpcore.models.outputs import evaluating

FIRST, SHORTER, SHORTEST = 0.22, 0.03, 0.06  # of all steps: the first period, how others shrink
RISING = 0.75  # of a period's steps: where fewer raise the loss, the steps are too long
MOMENTUM = 0.25  # of the last step, beside the new one


def checkpoints(steps: int) -> dict[int, int]:
    """After which of so many steps their size is looked at, and of how many steps that is."""
    at = period = FIRST
    found, last = {}, 0
    while at < 1:
        step = max(last + 1, round(at * steps))
        found[step], last = step - last, step
        period = max(period - SHORTER, SHORTEST)
        at += period
    return found


def ratio(output: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """The targeted difference of logits ratio (DLR), which no scale of the scores changes, (n,).

    output  scores (n, classes), of three classes or more
    y       the labels (n,)
    target  a wrong class of each sample (n,)

    (z_t - z_y)/(z_1 - (z_3 + z_4)/2), z_1 >= z_2 ... the scores in order; of three classes the
    difference alone, since for z_t = z_3 the ratio would always be -1.
    """
    ahead = output.gather(1, target[:, None]) - output.gather(1, y[:, None])
    if output.shape[1] < 4:
        return ahead.squeeze(1)
    order = output.topk(4, dim=1).values
    spread = order[:, 0] - order[:, 2:].mean(1)
    return ahead.squeeze(1) / spread.clamp(min=torch.finfo(spread.dtype).tiny ** 0.5)


def apgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    ball: Ball,
    steps: int,
    lost: Tensor,
    target: Tensor | None = None,
    start: Tensor | None = None,
    rounded: bool = False,
) -> Tensor:
    """Auto-PGD, which leaves a sample that it has broken alone.

    model    in evaluation mode; gives one logit a sample, or class scores
    x        samples (n, ...)
    y        their labels (n,)
    ball     the threat
    steps    of the ascent
    lost     (n,), bool, is set where a gradient is not finite, or an output is no number
    target   the wrong class of each sample (n,) whose `ratio` is to rise; None: the `margin`
    start    where it starts (n, ...), in the ball; None: at x
    rounded  whether the model is a copy, as in `broken`

    Returns a misclassified x where one was met, else that of the largest loss. A step is as long as
    the radius twice at first, and keeps a quarter of the last one's way. At `checkpoints` it is
    halved where the loss has risen too seldom, or not at all, and goes on from the best point.
    """
    run = _Run(x, y, y if target is None else target, x if start is None else start, ball.radius)
    found, looks = x.clone(), checkpoints(steps)
    for step in range(steps + 1):
        wrong = run.look(model, lost, target is not None, step < steps, rounded)
        found[run.index[wrong]] = run.at[wrong]
        run.leave(wrong)
        if not len(run.x) or step == steps:
            break
        if step in looks:
            run.shorten(RISING * looks[step])
        run.move(ball, lost, MOMENTUM if step else 0.0)
    found[run.index] = run.best
    return found


class _Run:
    """What a run of `apgd` knows of each sample that it has to break still."""

    def __init__(self, x: Tensor, y: Tensor, target: Tensor, at: Tensor, radius: float):
        n, device = len(x), x.device
        self.index = torch.arange(n, device=device)  # in what the caller gave
        self.x, self.y, self.target = x, y, target
        self.at = self.last = at  # where it is, and was a step ago
        self.grad = torch.zeros_like(x)
        self.best, self.best_grad = at.clone(), self.grad.clone()
        self.loss = torch.full((n,), -torch.inf, dtype=torch.float32, device=device)
        self.best_loss = self.loss.clone()
        self.size = x.new_full((n,), 2 * radius)  # of the next step
        # Since the last checkpoint: how often the loss rose; and what was there: its best, and
        # whether the step was halved.
        self.rises = torch.zeros(n, dtype=torch.float32, device=device)
        self.was_best = self.loss.clone()
        self.halved = torch.ones(n, dtype=torch.bool, device=device)

    def look(
        self, model: nn.Module, lost: Tensor, targeted: bool, gradient: bool, rounded: bool
    ) -> Tensor:
        """Losses, gradients if they are wanted, and which samples are broken (n,), bool."""
        wrong = torch.zeros(len(self.x), dtype=torch.bool, device=self.x.device)
        values = torch.empty_like(self.loss)
        for part in parts(self.x):  # it stays in the cache
            y = self.y[part]
            rise: Rise = partial(ratio, target=self.target[part]) if targeted else margin
            if gradient:
                output, values[part], self.grad[part] = loss_and_grad(model, self.at[part], y, rise)
            else:
                output, values[part] = loss_alone(model, self.at[part], y, rise)
            wrong[part] = broken(output, y, rounded)
        lost[self.index] |= values.isnan()
        self.rises += (values > self.loss) & self.loss.isfinite()
        self.loss = values
        better = values > self.best_loss  # not a number is never better
        which = better.nonzero().flatten()
        self.best.index_copy_(0, which, taken(self.at, which))
        self.best_grad.index_copy_(0, which, taken(self.grad, which))
        self.best_loss = torch.where(better, values, self.best_loss)
        return wrong

    def leave(self, wrong: Tensor) -> None:
        """Forget the samples that are broken."""
        if wrong.any():
            right = (~wrong).nonzero().flatten()
            for name, value in vars(self).items():
                setattr(self, name, taken(value, right))

    def shorten(self, enough: float) -> None:
        """Halve steps that have raised the loss no more often than `enough`, or found no better."""
        stuck = ~self.halved & (self.best_loss <= self.was_best)
        self.halved = (self.rises <= enough) | stuck
        self.size = torch.where(self.halved, self.size / 2, self.size)
        self.at[self.halved] = self.best[self.halved]
        self.grad[self.halved] = self.best_grad[self.halved]
        self.loss = torch.where(self.halved, self.best_loss, self.loss)
        self.was_best, self.rises = self.best_loss, torch.zeros_like(self.rises)

    def move(self, ball: Ball, lost: Tensor, momentum: float) -> None:
        """One step up the gradient, and `momentum` of the way of the last one."""
        moved = torch.empty_like(self.at)
        for part in parts(self.x):
            at, x = self.at[part], self.x[part]
            ahead, finite = ball.step(at, self.grad[part], x, self.size[part], out=moved[part])
            if momentum:
                ahead = ball.back(ahead.lerp_(2 * at - self.last[part], momentum), x)
            moved[part] = ahead  # itself, almost always
            lost[self.index[part]] |= ~finite
        self.last, self.at = self.at, moved


@torch.no_grad()
def withstand(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    ball: Ball,
    steps: int,
    restarts: int,
    rng: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Which samples stay right under runs of `apgd`, (n,), bool, and which had no finite gradient.

    model     gives one logit a sample, or class scores
    x         samples (n, ...)
    y         their labels (n,)
    ball      the threat
    steps     of each run
    restarts  number of runs
    rng       of random starts

    The first run raises the margin. Each other has a wrong class of its own to reach, the likelier
    ones first; for one logit or two classes, and where no class is left, it starts at random. After
    three runs or more some last ones, of five times the steps, are spent on the quarter of the
    samples that came nearest to being broken: on the margin, and toward the class that was near.
    """
    # What is made in inference mode cannot be differentiated at.
    with torch.inference_mode(False), torch.no_grad(), evaluating(model):
        search = _Search(model, tracked(x), tracked(y), ball, rng, work=steps * restarts)
        for number in range(restarts):
            search.run(search.alive.nonzero().flatten(), steps, number)
        if restarts > 2:
            search.insist(5 * steps)
    return search.alive, search.lost


class _Search:
    """What runs of `apgd` have left of samples."""

    def __init__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        ball: Ball,
        rng: torch.Generator | None,
        work: int,
    ):
        self.model, self.x, self.y, self.ball, self.rng = model, x, y, ball, rng
        self.quick = folded(model, x) if len(x) * work >= WORTH else model
        self.alive = torch.ones(len(x), dtype=torch.bool, device=x.device)
        self.lost = torch.zeros_like(self.alive)
        # the largest margin
        self.nearest = torch.full((len(x),), -torch.inf, dtype=torch.float32, device=x.device)
        self.reached = torch.zeros(len(x), dtype=torch.long, device=x.device)  # by which class
        self.order = torch.empty(len(x), 0, dtype=torch.long, device=x.device)
        scores = torch.cat([self.quick(x[part]) for part in parts(x)])
        if scores.ndim == 2 and scores.shape[1] > 2:  # of fewer there is no ratio
            self.order = others(scores, y).argsort(1, descending=True)[:, :-1]  # but the label

    def run(self, todo: Tensor, steps: int, number: int) -> None:
        """One run on the samples of these indices, its loss and start by its number."""
        named = 0 < number < self.order.shape[1]
        target = self.order[todo, number] if named else None
        self._tell(todo, steps, target, random=number > 0 and not named)

    def insist(self, steps: int) -> None:
        """Long runs on the quarter that was nearest: margin, then the class that was near."""
        todo = self.alive.nonzero().flatten()
        todo = todo[self.nearest[todo].topk(-(-len(todo) // 4)).indices]
        self._tell(todo, steps, None, random=False)
        for random in (False, True) if self.order.shape[1] else ():
            todo = todo[self.alive[todo]]
            self._tell(todo, steps, self.reached[todo], random)

    def _tell(self, todo: Tensor, steps: int, target: Tensor | None, random: bool) -> None:
        if not len(todo):
            return
        x, y, missed = self.x[todo], self.y[todo], self.lost[todo]
        start = self.ball.start(x, self.rng) if random else None
        rounded = self.quick is not self.model
        found = apgd(self.quick, x, y, self.ball, steps, missed, target, start, rounded)
        output = one_output_each(self.model(found), found)
        values = margin(output, y).float()
        self.lost[todo] = missed | values.isnan()
        self.alive[todo] = ~(values >= 0)  # not a number is no success
        nearer = values > self.nearest[todo]
        self.nearest[todo[nearer]] = values[nearer]
        if self.order.shape[1]:
            self.reached[todo[nearer]] = others(output, y).argmax(1)[nearer]
