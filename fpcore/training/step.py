"""One step of training: batch -> attack -> loss -> step, and what may go wrong in it."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpcore.attacks import one_step, pgd, stepped
from fpcore.ball import Ball, finite_rows
from fpcore.models.asked import one_output_each, unwritten
from fpcore.models.closed_form import ClosedForm, closed_form
from fpcore.models.outputs import (
    evaluating,
    fitting,
    labels_for,
    samples,
)
from fpcore.models.outputs import loss as usual_loss
from fpcore.seeding import seeded
from fpcore.training.batches import at
from fpcore.training.collapse import Collapse
from fpcore.training.configuration import Training
from fpcore.training.descent import Descent
from fpcore.training.precision import products_in, weights_in
from fpcore.training.processes import Processes

# (model, x, y, ball) -> the loss of a batch, a scalar or (n,)
Loss = Callable[[nn.Module, Tensor, Tensor, Ball], Tensor]
# of a batch: its mean loss, which of `FAULTS` there is, and what gives the weights their gradient
# of a multiple of that loss
Evaluated = tuple[Tensor, Tensor, Callable[[float], None]]

# What may be not finite in a step, and the fix. A step has the first of them that applies.
LOSS, DATA, GRADIENT, OWN_LOSS = 1, 2, 3, 4
FAULTS = {
    0: "give a smaller lr than {lr}",
    LOSS: "give a smaller lr than {lr}",
    DATA: "the data hold numbers that are not finite (NaN or infinity), give data without them",
    GRADIENT: "the network's gradient in x is not finite, so there is no adversarial example: "
    "give a network that is differentiable there, or radius=0",
    OWN_LOSS: "the loss that was given is not finite on the very first batch, of finite weights "
    "and data: give one that is",
}


class Step:
    """The steps of a training: each changes the network, and adds its loss to a sum.

    net        is trained; no wrapper of several processes
    config     says adversary, precision and seed
    descent    over the network's parameters
    loss       of the user, with an adversary of its own; None: the usual one
    processes  that train together

    Raises ValueError for weights, a precision or an adversary that cannot be.
    """

    def __init__(
        self,
        net: nn.Module,
        config: Training,
        descent: Descent,
        loss: Loss | None,
        processes: Processes,
    ):
        if loss is not None and config.uses_pgd:
            advice = "its own loss has its own adversary, leave these of Training"
            raise ValueError(f"attack_steps, attack_step_size or random_start: {advice}")
        self.net, self.config, self.descent, self.loss = net, config, descent, loss
        self.processes, self.tried = processes, False
        self.weights, self.products = weights_in(net), products_in(net, config.precision)
        self.form: ClosedForm | None = None  # the network's, once it is asked for
        self.device = next(net.parameters()).device
        # Where nothing runs ahead of this process, a fault stops its own step: the weights stay
        # those of the step before. Elsewhere no step waits, and the next entry tells.
        self.at_once = self.device.type == "cpu" and processes.count == 1
        self.collapse = Collapse(config.patience, self.device)
        # On the device: no step waits for it.
        self.total = torch.zeros((), device=self.device, dtype=self.weights)
        self.fault = torch.zeros((), device=self.device, dtype=torch.int64)  # the first of FAULTS

    @torch.enable_grad()
    def __call__(self, x: Tensor, y: Tensor, step: int, check: bool, whole: bool) -> None:
        """Take one on samples x (n, ...) and labels y.

        x, y   a batch, or this process's part of one
        step   its number, from 0
        check  whether x and y are checked
        whole  whether all processes have the same batch, of which each takes its rows
        """
        if check:
            self._check(x, y, step)
        x, y_given, share = self.processes.part(x, y) if whole else (x, y, 1.0)
        # Detached: a batch is data, whatever made it.
        x, y = x.detach().to(self.device, self.weights), y_given.detach().to(self.device)
        self.descent.prepare(step)
        threshold = getattr(self.net, "threshold", None)
        if self.config.threshold is not None and isinstance(threshold, Tensor):
            threshold.fill_(self.config.at("threshold", step))
        labels = y_given if check else None
        value, fault, backward = self._evaluated(x, y, step, labels)
        # A network that has diverged has no gradient either: there it is the loss that tells.
        diverged = (fault != DATA) & ~value.detach().isfinite()
        why = OWN_LOSS if self.loss is not None and step == 0 else LOSS
        self.fault = torch.where(self.fault == 0, torch.where(diverged, why, fault), self.fault)
        if self.at_once:
            self._stop_if_faulty(value.item(), step + 1)
        self.collapse.see(value.detach())
        self.net.zero_grad()
        backward(share)
        gradients = [p.grad for p in self.net.parameters() if p.grad is not None]
        if self.at_once and not all(_finite(one) for one in gradients):
            self.fault.fill_(LOSS)
            raise FloatingPointError(
                f"the gradient is not finite at step {step + 1}: {self._why()}"
            )
        self.processes.average(gradients)
        if self.config.clip is not None:
            nn.utils.clip_grad_norm_(self.descent.parameters, self.config.clip)
        self.descent.step()
        torch.clear_autocast_cache()  # an outer autocast would go on with the weights of before
        self.processes.take_first(self.net.buffers())
        self.total += share * value.detach()

    def mean_loss(self, steps: int, done: int) -> float:
        """The mean loss of the last `steps` steps, whose sum begins anew.

        Raises FloatingPointError if a loss was not finite, one of `FAULTS` came before, or the
        weights are not finite after the `done` steps.
        """
        self.processes.average([self.total])
        self.processes.take_largest(self.fault)
        self.processes.take_largest(self.collapse.most)
        mean = self.total.item() / steps
        self._stop_if_faulty(mean, done)
        if not all(parameter.isfinite().all() for parameter in self.descent.parameters):
            raise FloatingPointError(f"the weights are not finite at step {done}: {self._why()}")
        self.total.zero_()
        return mean

    def _stop_if_faulty(self, loss: float, done: int) -> None:
        if int(self.fault) or not math.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss} at step {done}: {self._why()}")
        self.collapse.stop(done)

    def _why(self) -> str:
        lr = self.descent.rate if self.config.lr is None else self.config.lr
        return FAULTS[int(self.fault)].format(lr=lr)

    def _check(self, x: Tensor, y: Tensor, step: int) -> None:
        """Raise ValueError unless x and y are samples and labels; a user's loss has any labels."""
        try:
            samples(x, y if self.loss is None else y.new_empty(y.shape[:1]))
            Ball(self.config.norm, 0.0, self.config.box).check(x)
            if self.loss is None and not self.tried:
                self._try(x, y)
                self.tried = True
        except ValueError as error:
            raise ValueError(f"{at(step)}: {error}") from None

    def _autocast(self) -> torch.autocast:
        """The context in which the network computes."""
        enabled = self.products == torch.bfloat16
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    @torch.no_grad()
    def _try(self, x: Tensor, y: Tensor) -> None:
        """Raise ValueError unless the network has outputs for two samples, of such labels."""
        x = x[:2].to(self.device, self.weights)
        random = seeded(self.config.seed, "tried", device=self.device)
        with random, evaluating(self.net), self._autocast():
            output = unwritten(self.net, x)
        labels_for(output, y)
        if output.isnan().any():
            found = "the model gives outputs that are no numbers (NaN)"
            raise ValueError(f"{found}: give samples of a scale that it can read, or other weights")

    def _evaluated(self, x: Tensor, y: Tensor, step: int, labels: Tensor | None) -> Evaluated:
        """The loss of a batch, by the network's closed form if it has one, else by autograd.

        x, y    samples and labels on the device
        step    its number
        labels  the same as y, wherever they were given, to be checked; None: they are not
        """
        ball = self.config.ball(step)
        usual = self.loss is None and not self.config.uses_pgd and x.ndim == 2
        if usual and (make := closed_form(self.net)):
            self.form = self.form or make(self.products)
            return _stated(self.form, x, y, ball, labels)
        random = seeded(self.config.seed, "step", step, self.processes.rank, device=self.device)
        with random, self._autocast():
            if self.loss is None:
                value, fault = self._usual(x, y, ball, labels)
            else:
                value = _one_loss(self.loss(self.net, x, y, ball), x).mean()
                fault = _fault_of(x)
        return value, fault, lambda share: (share * value).backward()

    def _usual(
        self, x: Tensor, y: Tensor, ball: Ball, labels: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The mean loss of the adversarial examples, and which of `FAULTS` there is."""
        fault = _fault_of(x)
        if ball.radius:
            lost = torch.zeros(len(x), dtype=torch.bool, device=x.device)
            x = adversarial(self.net, x, y, ball, self.config, lost)
            fault = torch.where(fault == 0, lost.any() * GRADIENT, fault)
        output = one_output_each(self.net(x), x)
        output = output if output.dtype == torch.float64 else output.float()
        if labels is not None:
            fitting(output, labels)
        return usual_loss(output, y).mean(), fault


@torch.no_grad()
def _stated(form: ClosedForm, x: Tensor, y: Tensor, ball: Ball, labels: Tensor | None) -> Evaluated:
    """What `Step._usual` computes, of FGM examples or clean samples, without autograd."""
    fault = _fault_of(x)
    form.read()
    if ball.radius:
        lost = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        form.at(x)
        grad = form.slope().mul_(-y[:, None])  # of the objective -y f, as `fgm` has it
        x = stepped(x, grad, ball, lost, out=grad)  # the form's memory, of no more use
        fault = torch.where(fault == 0, lost.any() * GRADIENT, fault)
    output = form.at(x)
    if labels is not None:
        fitting(output, labels)
    # The mean of softplus(-y f), whose derivative in f is -y sigmoid(-y f) / n.
    signed = -y * output
    slope = y.neg() * signed.sigmoid() / len(y)
    return F.softplus(signed).mean(), fault, lambda share: form.credit(share * slope)


def _fault_of(x: Tensor) -> Tensor:
    """DATA where samples x (n, ...) hold numbers that are not finite, else 0."""
    if x.device.type == "cpu" and _finite(x):  # elsewhere nobody waits for the answer
        return torch.zeros((), dtype=torch.int64, device=x.device)
    return (~finite_rows(x)).any() * DATA


def adversarial(
    model: nn.Module, x: Tensor, y: Tensor, ball: Ball, config: Training, lost: Tensor
) -> Tensor:
    """The adversary's training examples: FGM or PGD, also of broken samples.

    model   gives one logit a sample, or class scores
    x       samples (n, ...)
    y       their labels (n,)
    ball    the threat
    config  says which attack; a random start is of torch's own generator
    lost    (n,), bool, is set where the gradient in x is not finite
    """
    if not config.uses_pgd:
        return one_step(model, x, y, ball, lost)
    size = config.attack_step_size
    step_size = None if size is None else size * ball.radius
    return pgd(
        model,
        x,
        y,
        ball,
        config.attack_steps,
        step_size=step_size,
        stop=False,
        lost=lost,
        at_random=config.random_start,
    )


def _one_loss(value: Tensor, x: Tensor) -> Tensor:
    """What a user's loss returned, if it is a loss of the samples x (n, ...) with a gradient."""
    if not isinstance(value, Tensor) or value.shape not in ((), x.shape[:1]):
        found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        advice = f"return a scalar tensor, or one number a sample, ({len(x)},)"
        raise ValueError(f"the loss is {found} for {len(x)} samples: {advice}")
    if not value.requires_grad:
        advice = "compute it of model(x), not under torch.no_grad() and without .item()"
        raise ValueError(f"the loss has no gradient in the weights: {advice}")
    return value


def _finite(values: Tensor) -> bool:
    """Whether all are: in one pass, as long as they are and their sum does not overflow."""
    return bool(values.sum().isfinite()) or bool(values.isfinite().all())
