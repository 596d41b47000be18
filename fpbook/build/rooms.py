"""The rooms of the two packages, and which imports which, from the modules' syntax trees."""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fpbook.results.files import ROOT


@dataclass(frozen=True)
class Room:
    """Modules that belong together: what they hold, and their names, or those of subpackages."""

    holds: str
    places: tuple[str, ...]


# Each room after those that it imports.
ROOMS = {
    "fpcore: basics": Room(
        "checks of what is passed in, named warnings, random streams, precision, checkpoints",
        (
            "fpcore.checks",
            "fpcore.alerts",
            "fpcore.seeding",
            "fpcore.precision",
            "fpcore.checkpoint",
        ),
    ),
    "fpcore: data": Room(
        "the sparse coding model, labelled images",
        (
            "fpcore.members",
            "fpcore.sparse_codes",
            "fpcore.sparse_coding",
            "fpcore.images",
            "fpcore.data_checksums",
        ),
    ),
    "fpcore: models": Room(
        "the networks, and what their outputs mean",
        ("fpcore.models",),
    ),
    "fpcore: loading": Room(
        "what a stranger's files become: networks with their weights, labelled images",
        ("fpcore.loading",),
    ),
    "fpcore: attacks": Room(
        "FGM, PGD, AutoAttack: upper bounds on robust accuracy, and warnings where they are none",
        (
            "fpcore.ball",
            "fpcore.gradients",
            "fpcore.apgd",
            "fpcore.attacks",
            "fpcore.extra_attacks",
            "fpcore.evaluation",
            "fpcore.auto_attack",
        ),
    ),
    "fpcore: training": Room(
        "one loop, clean or adversarial, resumable",
        ("fpcore.training",),
    ),
    "fpcore: decomposition": Room(
        "w = beta w' + v, what neurons hold, what happens without v",
        ("fpcore.decomposition",),
    ),
    "fpcore: certificates": Room(
        "lower bounds on robust accuracy, of the two-layer network",
        ("fpcore.certificates",),
    ),
    "fpcore: theory": Room(
        "what the theorems speak of, computed: bounds on classes, kernels",
        ("fpcore.theory",),
    ),
    "fpcore: report": Room(
        "the report on anybody's pair of networks, the command line",
        ("fpcore.reporting", "fpcore.command", "fpcore.__main__"),
    ),
    "fpbook: results": Room(
        "records of measured numbers, published files, the claims, caches",
        ("fpbook.results",),
    ),
    "fpbook: synthetic": Room(
        "the experiments on the sparse coding model",
        ("fpbook.synthetic",),
    ),
    "fpbook: cifar10": Room(
        "the experiments on CIFAR-10",
        ("fpbook.cifar10",),
    ),
    "fpbook: figures": Room(
        "what the chapters draw",
        ("fpbook.figures",),
    ),
    "fpbook: sweep": Room(
        "experiments as lists of tasks, for one machine or many",
        ("fpbook.sweep",),
    ),
    "fpbook: widgets": Room(
        "sliders that need no kernel, and live ones",
        ("fpbook.widgets",),
    ),
    "fpbook: build": Room(
        "chapters executed, validated, made a site",
        ("fpbook.build", "fpbook.__main__"),
    ),
}


def rooms_of(module: str) -> list[str]:
    """The rooms that a module is in: one, or for what is in none (a package's face) no room."""
    return [
        room
        for room, content in ROOMS.items()
        if any(f"{module}.".startswith(f"{place}.") for place in content.places)
    ]


@cache
def imports(root: Path = ROOT) -> dict[str, set[str]]:
    """For each module of the two packages those that it imports, at its top or in a function."""
    files = {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for package in ("fpcore", "fpbook")
        for path in sorted((root / package).rglob("*.py"))
    }
    found = {}
    for module, path in files.items():
        names = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                # `from fpcore import checks` is a module, `from fpcore.checks import whole` is not.
                dotted = {f"{node.module}.{alias.name}" for alias in node.names}
                names |= {name if name in files else f"{node.module}" for name in dotted}
        found[module] = names & files.keys() - {module}
    return found


def room_imports(root: Path = ROOT) -> dict[str, set[str]]:
    """For each room those that its modules import."""
    found: dict[str, set[str]] = {room: set() for room in ROOMS}
    for module, targets in imports(root).items():
        for room in rooms_of(module):
            found[room] |= {to for target in targets for to in rooms_of(target)} - {room}
    return found


def arrows(root: Path = ROOT) -> set[tuple[str, str]]:
    """The imports between rooms that no chain of others implies: what the drawing shows."""
    direct = room_imports(root)
    beyond: dict[str, set[str]] = {}
    for room in ROOMS:  # each after those that it imports
        beyond[room] = direct[room].union(*(beyond[to] for to in direct[room]))
    return {
        (room, to)
        for room in ROOMS
        for to in direct[room]
        if not any(to in beyond[other] for other in direct[room])
    }


def modules(room: str, root: Path = ROOT) -> list[str]:
    """The modules of a room, each after those that it imports."""
    graph = imports(root)

    @cache
    def depth(module: str) -> int:
        return 1 + max((depth(to) for to in graph[module]), default=0)

    packages = {module.rpartition(".")[0] for module in graph}
    found = [module for module in graph if rooms_of(module) == [room] and module not in packages]
    return sorted(found, key=lambda module: (depth(module), module))
