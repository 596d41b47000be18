"""Training in several processes, as under `torchrun`: whose rows are whose, what is averaged."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Processes:
    """The processes that train one network together; without torch.distributed, this one alone.

    rank   the number of this one, from 0
    count  how many there are
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def running(cls) -> "Processes":
        """Those of torch.distributed's default group, if it was initialised."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    def part(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, float]:
        """This process's rows of a batch that all have, and what their mean counts.

        Weighted by it, the mean over the processes of their means is that of the whole batch.
        """
        if self.count == 1:
            return x, y, 1.0
        if len(x) < self.count:
            advice = f"give one at least for each of the {self.count} processes"
            raise ValueError(f"a batch holds {len(x)} samples: {advice}")
        mine = x[self.rank :: self.count]
        return mine, y[self.rank :: self.count], len(mine) * self.count / len(x)

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors, of the same shapes everywhere, by their means over the processes."""

        def mean(flat: Tensor) -> None:
            dist.all_reduce(flat)
            flat /= self.count

        self._together(tensors, mean)

    def take_first(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors, of the same shapes everywhere, by those of rank 0."""
        self._together(tensors, lambda flat: dist.broadcast(flat, 0))

    def take_largest(self, value: Tensor) -> None:
        """Replace a tensor by the largest of the processes, element by element."""
        if self.count > 1:
            dist.all_reduce(value, dist.ReduceOp.MAX)

    def of_first(self, make: Callable[[], Any]) -> Any:
        """What `make` returns in rank 0, in all of them: no other calls it."""
        if self.count == 1:
            return make()
        found = [make() if self.rank == 0 else None]
        dist.broadcast_object_list(found, 0)
        return found[0]

    @contextlib.contextmanager
    def whole_batches(self, net: nn.Module) -> Iterator[None]:
        """For a while, batch norms in training normalise by the rows of all processes.

        As nn.SyncBatchNorm does, but on every device, and a network stays what it was.
        """
        norms = [m for m in net.modules() if isinstance(m, _BatchNorm) and self.count > 1]
        norms = [norm for norm in norms if not isinstance(norm, nn.SyncBatchNorm)]
        for norm in norms:
            norm.__dict__["forward"] = functools.partial(_normalised, norm)
        try:
            yield
        finally:
            for norm in norms:
                del norm.__dict__["forward"]

    @torch.no_grad()
    def _together(self, tensors: Iterable[Tensor], operate: Callable[[Tensor], Any]) -> None:
        """Apply an operation to the contents of tensors, in one piece for each type of numbers."""
        if self.count == 1:
            return
        of_type: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            of_type.setdefault(tensor.dtype, []).append(tensor)
        for group in of_type.values():
            flat = torch.cat([tensor.reshape(-1) for tensor in group])
            operate(flat)
            for tensor, values in zip(group, flat.split([tensor.numel() for tensor in group])):
                tensor.copy_(values.view(tensor.shape))


class _Total(torch.autograd.Function):
    """The sum of a tensor over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        total = part.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Total.apply(gradient)


def _normalised(norm: _BatchNorm, x: Tensor) -> Tensor:
    """What a batch norm makes of a process's rows x (n, channels, ...), by those of all.

    (x - mean) / sqrt(var + eps) * weight + bias: Ioffe & Szegedy (2015), algorithm 1. The gradient
    goes through the statistics, to the rows of every process.
    """
    if not norm.training:
        return type(norm).forward(norm, x)
    norm._check_input_dim(x)
    axes, shape = [0, *range(2, x.ndim)], (1, -1, *[1] * (x.ndim - 2))
    with torch.autocast(x.device.type, enabled=False):  # statistics of bfloat16 are of float32
        rows = x if x.dtype == torch.float64 else x.float()
        n = _Total.apply(rows.new_tensor(x.numel() / x.shape[1]))
        mean = _Total.apply(rows.sum(axes)) / n
        centred = rows - mean.view(shape)
        variance = _Total.apply(centred.square().sum(axes)) / n
        out = centred * (variance + norm.eps).rsqrt().view(shape)
        if norm.weight is not None:
            out = out * norm.weight.view(shape)
        if norm.bias is not None:
            out = out + norm.bias.view(shape)
    seen = norm.num_batches_tracked
    if seen is not None and norm.running_mean is not None and norm.running_var is not None:
        seen += 1
        share = 1 / seen.item() if norm.momentum is None else norm.momentum
        norm.running_mean.lerp_(mean.detach(), share)
        norm.running_var.lerp_(variance.detach() * n / (n - 1), share)
    return out.to(x.dtype)


def without_reducer(model: nn.Module) -> nn.Module:
    """The network within DistributedDataParallel, if it is in one: gradients are averaged here.

    Its reducer allows one pass a step, and an attack makes more.
    """
    return model.module if isinstance(model, DistributedDataParallel) else model
