"""The claims on other members of the paper's family of data, and in linf."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from fpbook.results.records import record
from fpbook.results.store import Published
from fpbook.results.summaries import number
from fpbook.results.tables import show
from fpbook.synthetic.measures import medians
from fpbook.synthetic.protocol import SyntheticExperiment, SyntheticRun
from fpbook.synthetic.sweeps import at_size
from fpcore import checks, seeding
from fpcore.attacks import Attack, robust_correct
from fpcore.ball import Ball
from fpcore.certificates.certificate import certify
from fpcore.decomposition.purification import cosine, decompose, features, live
from fpcore.members import Member
from fpcore.models.outputs import accuracy
from fpcore.sparse_coding import SIMPLEST, SparseCoding
from fpcore.theory.cubic import Cubic, certify_cubic
from fpcore.theory.kernels import Linear
from fpcore.training import Schedule, Training, train

# The members of the table, {name: (member, norm of the attack)}
FAMILY_MEMBERS = {
    "simplest": (SIMPLEST, "l2"),
    "magnitudes 1 to 3": (Member(magnitudes=(1, 3)), "l2"),
    "magnitudes 1 or 3": (Member(magnitudes=(1, 3), spread="two-valued"), "l2"),
    "weights 1/2 to 2": (Member(weights=(0.5, 2)), "l2"),
    "both spread": (Member((1, 3), (0.5, 2)), "l2"),
    "bounded noise": (Member(bounded=0.3), "l2"),
    "on the axes, linf": (Member(block=1), "linf"),
    "in blocks, linf": (Member(block=4), "linf"),
}
FAMILY_SIZES = {"quick": ((196, 7),), "full": ((256, 7), (400, 9), (784, 13))}  # (d, k)
FAMILY_SEEDS = {"quick": 1, "full": 3}
# The radius of attacks and certificates, in root mean squares of a feature that is on.
FAMILY_REACHES = {"l2": 0.59, "linf": 0.08}

# What the claims ask of each member, fixed before the published runs: quantity, network, and the
# least and the most that the ends of its interval may be.
FAMILY_BOUNDS = {
    "clean": ("clean_accuracy", "clean", 0.99, 1.0),
    "T1: clean, attacked": ("robust_accuracy", "clean", 0.0, 0.01),
    "T2: purified, certified": ("certified_accuracy", "purified", 0.99, 1.0),
    "P1: all neurons": ("share_dominant", "purified", 2 / 3, 1.0),
    "P1: live neurons": ("share_dominant_live", "purified", 2 / 3, 1.0),
    "L1: linear": ("robust_accuracy", "linear", 0.0, 0.01),
}


@dataclass(frozen=True)
class FamilyExperiment(SyntheticExperiment):
    """The protocol on a member of the family, attacked in l2 or in linf.

    The learner is told none of the member's numbers.
    """

    member: Member = SIMPLEST
    norm: str = "l2"

    def __post_init__(self) -> None:
        super().__post_init__()
        Ball(self.norm, 0.0)  # its checks
        if self.member.bounded >= self.last_threshold:
            found = f"bounded = {self.member.bounded:g} reaches last_threshold"
            left = f"{self.last_threshold:g}: no neuron is silent, and nothing sparse is left"
            raise ValueError(f"{found} = {left}; give less noise")

    def data(self, seed: int, device: torch.device) -> SparseCoding:
        """The sparse coding model of a seed."""
        sizes = (self.d, self.k, self.margin, self.noise, seed, device)
        return SparseCoding(*sizes, member=self.member)

    def adversarial(self, seed: int) -> Training:
        """The second stage, FGM training in the attack's norm, from the clean weights.

        In linf a neuron moves by radius |w_i|_1, of a mixture sqrt(d) times its length. So the
        radius starts smaller, and rises for nine tenths of the steps, while the mixtures go.
        """
        training = replace(super().adversarial(seed), norm=self.norm)
        if self.norm == "l2":
            return training
        rising = Schedule((0, 0.1 * self.training_radius), (0.9, self.training_radius))
        return replace(training, radius=rising)

    @property
    def ball(self) -> Ball:
        """The threat of attacks and certificates."""
        return Ball(self.norm, self.radius)


def on_member(name: str, d: int, k: int, steps: int = 400) -> FamilyExperiment:
    """The protocol at a size, on one of FAMILY_MEMBERS: every constant follows from |x|, d and k.

    name:  of the member
    d, k:  inputs, and active features of a sample
    steps: of FGM training

    Where inputs are s times as long, all is as before in units of s: thresholds and radii are s
    times as large, the initial norm 1/s, the step sizes 1/s^2.
    """
    checks.choice("name", name, FAMILY_MEMBERS)
    member, norm = FAMILY_MEMBERS[name]
    base = at_size(d, k, steps)
    s = math.sqrt(member.mean_square(member.magnitudes))
    kept = {field.name: getattr(base, field.name) for field in fields(base)}
    scaled = {
        "first_threshold": s * base.first_threshold,
        "last_threshold": s * base.last_threshold,
        "init_norm": base.init_norm / s,
        "clean_lr": base.clean_lr / s**2,
        "adversarial_lr": base.adversarial_lr / s**2,
        "reach": s * FAMILY_REACHES[norm],
        "training_reach": 1.1 * s * FAMILY_REACHES[norm],
    }
    return FamilyExperiment(**kept | scaled, member=member, norm=norm)


# What a chapter's sentences quote, {name: (member, quantity, network)}, at the largest size.
_QUOTED = {
    "simplest": ("simplest", "certified_accuracy", "purified"),
    "magnitudes": ("magnitudes 1 to 3", "certified_accuracy", "purified"),
    "weights": ("weights 1/2 to 2", "certified_accuracy", "purified"),
    "both": ("both spread", "certified_accuracy", "purified"),
    "noise": ("bounded noise", "robust_accuracy", "purified"),
    "noise_purity": ("bounded noise", "purity", "purified"),
    "axes": ("on the axes, linf", "robust_accuracy", "purified"),
    "axes_certified": ("on the axes, linf", "certified_accuracy", "purified"),
    "axes_purity": ("on the axes, linf", "purity", "purified"),
    "blocks": ("in blocks, linf", "robust_accuracy", "purified"),
    "clean_simplest": ("simplest", "robust_accuracy", "clean"),
    "clean_magnitudes": ("magnitudes 1 to 3", "robust_accuracy", "clean"),
    "clean_axes": ("on the axes, linf", "robust_accuracy", "clean"),
}


def family_quotes(found: Published | None) -> dict[str, str]:
    """Published numbers of the family as text, by the names that a chapter has for them.

    found: the published result; None: nothing is published, and each of them is "-"

    Those of the largest size; `axes_small` and `noise_small` are of the smallest.
    """
    if found is None:
        return dict.fromkeys([*_QUOTED, "axes_small", "noise_small"], show(None))
    sizes = found.summary.dropna(subset="d").sort_values("d")
    small, large = (
        {"d": int(at["d"]), "k": int(at["k"])} for _, at in sizes.iloc[[0, -1]].iterrows()
    )

    def quoted(name: str, at: dict[str, Any]) -> str:
        member, quantity, network = _QUOTED[name]
        one = number(found.summary, quantity, network, member=member, **at)
        return show(one, percent=quantity != "purity")

    first = {f"{name}_small": quoted(name, small) for name in ("axes", "noise")}
    return {name: quoted(name, large) for name in _QUOTED} | first


def measure_member(run: SyntheticRun) -> list[dict[str, Any]]:
    """What the claims say of a run on a member of the family: records.

    Robust accuracies are upper bounds for the networks, exact for linear classifiers, of which the
    best of three is taken: a lower bound on their class. The cubic's is certified in l2 and on the
    axes, else an upper bound.
    """
    experiment, data = run.experiment, run.data
    assert isinstance(experiment, FamilyExperiment)
    ball = experiment.ball
    w0, w, w_purified = (net.weight.detach() for net in (run.init, run.clean, run.purified))
    alive, parts = live(run.purified), decompose(w, w_purified)
    held = features(w_purified[alive], data.features, data.u_star)
    survived = {
        name: _robust(run.named(name), data, run.x, run.y, ball) for name in ("clean", "purified")
    }
    proved = certify(run.purified, run.x, run.y, ball.radius, 20, norm=ball.norm).robust
    if broken := int((proved & ~survived["purified"]).sum()):
        raise ArithmeticError(f"an attack broke {broken} certified samples: report this bug")
    shares = {
        "certified_accuracy": proved,
        "share_live": alive,
        "share_dominant": parts.dominant,
        "share_dominant_live": parts.dominant[alive],
    }
    return [
        *(record("clean_accuracy", accuracy(run.named(n), run.x, run.y), n) for n in survived),
        *(record("robust_accuracy", _share(right), n) for n, right in survived.items()),
        *(record(name, _share(which), "purified") for name, which in shares.items()),
        *medians("clean", cos_to_init=cosine(w0, w)),
        *medians("purified", cos_to_init=cosine(w0, w_purified), purity=held.purity),
        record("robust_accuracy", best_linear(data, run.x, run.y, ball, run.seed), "linear"),
        *_cubic_rows(data, run.x, run.y, ball),
    ]


def _share(which: Tensor) -> float:
    """The share of True in a tensor of bools."""
    return which.float().mean().item()


def _robust(net: nn.Module, data: SparseCoding, x: Tensor, y: Tensor, ball: Ball) -> Tensor:
    """Which samples survive FGM, the dense direction and PGD in a ball: (n,), bool.

    net:  the model under attack
    data: where the dense direction is known from
    x, y: samples, (n, d) and (n,)
    ball: of all attacks
    """
    rng = seeding.generator(0, "attack", device=x.device)
    return robust_correct(net, x, y, ball, restarts=2, extra=(_densely(data, ball),), rng=rng)


def _densely(data: SparseCoding, ball: Ball) -> Attack:
    """The attack against the dense direction u*, by as much as the ball allows."""
    step = ball.radius * ball.steepest(data.u_star[None])

    def attack(_: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return x - y[:, None] * step

    return attack


def best_linear(data: SparseCoding, x: Tensor, y: Tensor, ball: Ball, seed: int) -> float:
    """The best exact robust accuracy of u*, and of linear classifiers after clean and FGM training.

    data: the sparse coding model
    x, y: samples, (n, d) and (n,)
    ball: of the attack
    seed: of the training samples
    """
    directions = [data.u_star]
    rate = float(data.d) / data.member.mean_square(data.member.magnitudes)
    for radius in (0.0, ball.radius):
        model = Linear(data.d).to(data.device)
        falling = Schedule((0, rate), (1, 0))
        training = Training(
            steps=200, lr=falling, batch=256, radius=radius, norm=ball.norm, seed=seed
        )
        train(model, data, training, every=training.steps)
        directions.append(model.weight.detach().flatten())
    dual = 2 if ball.norm == "l2" else 1
    return max(_share(y * (x @ u) > ball.radius * u.norm(p=dual)) for u in directions)


def _cubic_rows(data: SparseCoding, x: Tensor, y: Tensor, ball: Ball) -> Sequence[dict[str, Any]]:
    """The cubic of the features and of the signs of w*, not told its sizes: records.

    data: knows both
    x, y: samples, (n, d) and (n,)
    ball: of the attack

    In l2 by its certificate; on the axes each coordinate falls by the radius, exactly; else under
    attack.
    """
    witness, sign = "degree 3, witness", data.w_star.sign()
    q = y[:, None] * (x @ data.features) * sign  # the cubic is the sum of q^3
    if ball.norm == "l2":
        return [record("certified_accuracy", _share(certify_cubic(q, ball.radius) > 0), witness)]
    if data.member.block == 1:
        lowest = (q - ball.radius).double().pow(3).sum(1)
        return [record("certified_accuracy", _share(lowest > 0), witness)]
    right = _robust(Cubic(data.features, sign), data, x, y, ball)
    return [record("robust_accuracy", _share(right), witness)]
