"""Trainings of one of two processes, which write what they end with: `python FILE RANK FOLDER`."""

import dataclasses
import functools
import json
import sys
from pathlib import Path

import torch
from torch import distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from trainings import HARD, Stopped, Stopping, network

from fpcore import checkpoint
from fpcore.attacks import pgd
from fpcore.images import Images
from fpcore.models.convnet import ConvNet
from fpcore.models.outputs import loss as usual_loss
from fpcore.sparse_coding import SparseCoding
from fpcore.training import Training, train

DATA = SparseCoding(32, 4, margin=1.0, seed=2)
# 17 samples: the two parts of a batch differ in size.
# In bfloat16 the rows of a part are not rounded as those of the whole are.
CONFIG = dataclasses.replace(HARD, steps=8, batch=17, precision="float32")
PLAIN = Training(steps=6, batch=16, radius=0.1, seed=1, precision="float32")


def twice(model, x, y, ball):
    """A loss of the user with an attack and two passes."""
    moved = pgd(model, x, y, ball, steps=2, stop=False)
    return usual_loss(model(x).float(), y) + usual_loss(model(moved).float(), y)


ADAMW = functools.partial(torch.optim.AdamW, lr=0.01)


def batch_normed():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(32, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


class Classes:
    """The data with class numbers."""

    def batch(self, size, seed, step):
        x, y = DATA.batch(size, seed, step)
        return x, (y > 0).long()


def images():
    """Random images, which are augmented, and a small ConvNet for them."""
    x = torch.rand(40, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    return Images(x, torch.arange(40) % 10, "random"), ConvNet(1 / 8)


def parts(rank, count):
    """A list of batches, of which each process has its rows."""
    whole = [DATA.batch(16, 3, step) for step in range(3)]
    return [(x[rank::count], y[rank::count]) for x, y in whole]


def runs(wrap, seed, folder, rank=0, count=1):
    """Networks and histories by name.

    wrap    what is made of a network before it is trained
    seed    of networks that are not wrapped
    folder  for checkpoints
    rank    of this process, of `count`
    """
    made = {"adversarial": wrap(network()), "stopped": wrap(network(seed=seed))}
    made |= {"loss": wrap(network()), "not wrapped": network(seed=seed)}
    made |= {"list": wrap(network()), "batch norm": wrap(batch_normed())}
    note = {"every": 3, "measure": lambda net: {"size": net.weight.norm().item()}}
    histories = {"adversarial": train(made["adversarial"], DATA, CONFIG, **note)}
    kept = {**note, "checkpoint": folder / "stopped.safetensors"}
    try:
        train(wrap(network()), Stopping(DATA, 5), CONFIG, **kept)
    except Stopped:
        histories["stopped"] = train(made["stopped"], DATA, CONFIG, **kept)
    histories["loss"] = train(made["loss"], DATA, PLAIN, optimizer=ADAMW, loss=twice)
    histories["not wrapped"] = train(made["not wrapped"], DATA, CONFIG, **note)
    histories["list"] = train(made["list"], parts(rank, count), PLAIN, optimizer=ADAMW)
    still = Training(steps=4, lr=0.1, batch=17, radius=0.1, precision="float32")
    histories["batch norm"] = train(made["batch norm"], Classes(), still)
    data, net = images()
    made["convnet"] = wrap(net)
    attacked = dataclasses.replace(still, momentum=0.9, clip=1.0, radius=0.5, box=(0.0, 1.0))
    histories["convnet"] = train(made["convnet"], data, attacked)
    return made, histories


if __name__ == "__main__":
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    if rank:
        checkpoint.save = None  # rank 0 alone writes
    made, histories = runs(DistributedDataParallel, rank, folder, rank, 2)
    states = {name: net.state_dict() for name, net in made.items()}
    torch.save(states, folder / f"states-{rank}")
    (folder / f"histories-{rank}").write_text(json.dumps(histories))
    dist.destroy_process_group()
