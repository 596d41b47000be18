"""What attacks raise, its gradient in x, what is said where there is none, and what they leave."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fpcore.alerts import GradientWarning, SaturatedWarning, ZeroGradientWarning, warn
from fpcore.ball import Ball, finite_rows
from fpcore.models.asked import one_output_each
from fpcore.models.folded import ROUNDING
from fpcore.models.outputs import correct, evaluating, one_label_each

FEW_OUTPUTS, MANY = 8, 50  # of fewer scores, or logits, nobody can say what they are
Rise = Callable[[Tensor, Tensor], Tensor]  # (output, y) -> what an attack raises, (n,)
LOOKED_AT = 100  # survivors: a small part of what the attack has cost


def warn_of_lost(lost: Tensor, ball: Ball) -> None:
    """Say how many samples have been `lost` (n,), bool: in a ball of one point, none is."""
    count = int(lost.sum()) if ball.radius else 0
    if count:
        found = f"for {count} of {len(lost)} samples the network's gradient in x is not finite"
        advice = "the attack missed them, so that a robust accuracy may be too high"
        warn(f"{found}: {advice}", GradientWarning, stacklevel=3)


def warn_of_probabilities(output: Tensor, y: Tensor) -> None:
    """Warn if outputs (n,) or (n, classes) of samples of labels y are probabilities, no scores."""
    if len(output) < FEW_OUTPUTS or not ((output >= 0) & (output <= 1)).all():
        return
    if output.ndim > 1:
        found = bool((output.double().sum(1) - 1).abs().max() < 1e-2)
    else:  # a logit may be in [0, 1] by chance, but not on either side of 1/2 by its label
        sides = ((output > 0.5) == (y > 0)).double().mean().item()
        found = len(output) >= MANY and sides > 0.75
    if found:
        what = "the model gives probabilities, in which gradients vanish by rounding"
        warn(f"{what}: give the scores before its softmax or sigmoid", SaturatedWarning, 3)


def warn_of_flat(model: nn.Module, x: Tensor, y: Tensor, ball: Ball) -> None:
    """Warn if many of the samples that survived an attack had a gradient of exactly zero.

    model  that was attacked
    x      those that survived (n, ...); the first `LOOKED_AT` are looked at
    y      their labels (n,)
    ball   the threat
    """
    x, y = x[:LOOKED_AT], y[:LOOKED_AT]
    if not len(x) or not ball.radius:
        return
    with evaluating(model):
        _, _, grad = loss_and_grad(model, x, y)
    flat = int((grad == 0).flatten(1).all(1).sum())
    if flat > 0.05 * len(x):
        found = f"for {flat} of {len(x)} survivors the gradient in x is exactly zero"
        warn(f"{found}: the attack had no direction to go", ZeroGradientWarning, 3)


def objective(output: Tensor, y: Tensor) -> Tensor:
    """What attacks raise, (n,): m, where the loss is log(1 + e^m).

    Its gradient does not vanish where the loss saturates. For one logit m = -y f; for class scores
    m = logsumexp of the other classes' scores - the score of y.
    """
    one_label_each(output, y)
    if output.ndim == 1:
        return -y * output
    return others(output, y).logsumexp(1) - output.gather(1, y[:, None]).squeeze(1)


def margin(output: Tensor, y: Tensor) -> Tensor:
    """The largest score of another class less that of y, (n,); for one logit -y f.

    A sample is right where it is below 0.
    """
    if output.ndim == 1:
        return -y * output
    return others(output, y).amax(1) - output.gather(1, y[:, None]).squeeze(1)


def others(output: Tensor, y: Tensor) -> Tensor:
    """Class scores (n, classes) with -inf for the label's."""
    return output.scatter(1, y[:, None], -torch.inf)


def broken(output: Tensor, y: Tensor, rounded: bool) -> Tensor:
    """Which samples are classified wrong, (n,), bool; an output that is not a number is no success.

    output   (n,) or (n, classes)
    y        their labels (n,)
    rounded  whether the outputs are of a copy, `folded`: then they must be wrong by more than it
             may differ
    """
    if not rounded:
        return margin(output, y) >= 0
    slack = 4 * ROUNDING * torch.finfo(output.dtype).eps * output.abs().max()
    return margin(output, y) > slack


@torch.no_grad()
def loss_alone(
    model: nn.Module, x: Tensor, y: Tensor, rise: Rise | None = None
) -> tuple[Tensor, Tensor]:
    """`loss_and_grad` without the gradient."""
    output = one_output_each(model(x), x)
    return output, (rise or objective)(_wide(output), y).float()


def loss_and_grad(
    model: nn.Module, x: Tensor, y: Tensor, rise: Rise | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, what is to rise (n,), and its gradient with respect to x alone.

    model  gives one logit a sample, or class scores
    x      samples (n, ...)
    y      their labels (n,)
    rise   (output, y) -> (n,); None: `objective`
    """
    with torch.inference_mode(False), torch.enable_grad():
        x = tracked(x).requires_grad_()
        y = tracked(y)
        output = one_output_each(model(x), x)
        values = (rise or objective)(_wide(output), y)
        grad = None
        if values.requires_grad:
            (grad,) = torch.autograd.grad(values.sum(), x, allow_unused=True)
    if grad is None:
        advice = "give one that computes it without torch.no_grad(), .detach() and numpy"
        raise ValueError(f"the model's output has no gradient in x: {advice}")
    return output.detach(), values.detach().float(), grad  # scores are bfloat16 under autocast


def _wide(output: Tensor) -> Tensor:
    """Outputs of which differences are no infinity: in float16 those of large scores are."""
    return output.float() if output.dtype == torch.float16 else output


def tracked(value: Tensor) -> Tensor:
    """`value` detached, and copied if it is of torch.inference_mode, which autograd cannot use."""
    return value.clone() if value.is_inference() else value.detach()


def not_of_inference(model: nn.Module) -> None:
    """Raise ValueError if a weight was made under torch.inference_mode: it has no gradients."""
    for name, weight in [*model.named_parameters(), *model.named_buffers()]:
        if weight.is_inference():
            advice = "make or load the model outside of it; attacks may be called inside"
            raise ValueError(f"{name} was made under torch.inference_mode(): {advice}")


def withstood(
    model: nn.Module, attack: Callable[..., Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Which samples stay right under an attack, (n,), bool, and for which it says nothing.

    model   gives one logit a sample, or class scores
    attack  (x, y, lost) -> adversarial x; it sets `lost` where it has no finite gradient
    x       samples (n, ...)
    y       their labels (n,)

    An output that is not a number is no success of the attack.
    """
    missed = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    adversarial = attack(x, y, missed)
    with evaluating(model):
        output = one_output_each(model(adversarial), adversarial)
    unknown = objective(output, y).isnan()
    return correct(output, y) | unknown, missed | unknown


def stepped(x: Tensor, grad: Tensor, ball: Ball, lost: Tensor, out: Tensor | None = None) -> Tensor:
    """x (n, ...) one full step up its gradient, in the ball; `lost` as in `fgm`, out: memory."""
    if x.device.type == "cpu":
        moved, finite = ball.step(x, grad, x, ball.radius, out)
    else:  # not to wait for the device
        moved = x + ball.project(ball.radius * ball.steepest(grad), x)
        finite = finite_rows(grad)
    lost |= ~finite
    return moved
