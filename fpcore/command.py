"""The command line: `fpcore report CLEAN ADVERSARIAL --arch A --data D --ball l2:0.5 --out DIR`."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from fpcore import checks
from fpcore.ball import Ball

BOX = (0.0, 1.0)  # loaded images are in it
OPTIONAL = ("init", "control", "scratch")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status, 2 where what was given cannot be used.

    arguments  as in a shell; None: those of this process
    """
    options = _parser().parse_args(arguments)
    try:
        _report(options)
    except (ValueError, FileNotFoundError) as error:
        print(f"fpcore: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(prog="fpcore", description="Feature purification, measured.")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser(
        "report", help="what adversarial training did to a network, neuron by neuron"
    )
    one.add_argument("clean", help="file of the clean network's weights w")
    one.add_argument("adversarial", help="file of the weights w', trained on adversarially from w")
    one.add_argument("--arch", required=True, help="architecture, such as torchvision:resnet18")
    one.add_argument("--data", help="images, such as cifar10; without: weights alone")
    one.add_argument("--ball", help="threat in pixels of [0, 1], such as l2:0.5 or linf:8/255")
    one.add_argument("--out", required=True, help="folder of the report; a stopped run goes on")
    one.add_argument("--control", help="file of w trained on, clean, on the schedule of w'")
    one.add_argument("--init", help="file of the weights before training")
    one.add_argument("--scratch", help="file of weights trained adversarially from the start")
    one.add_argument(
        "--layers", action="append", help="shell pattern of layers to measure; may be repeated"
    )
    one.add_argument("--images", type=int, default=1000, help="how many images (1000)")
    one.add_argument("--attacked", type=int, default=200, help="attacked in variants (200)")
    one.add_argument("--seed", type=int, default=0, help="of random vectors and the attack (0)")
    one.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 or auto (auto)")
    return parser


def _report(options: argparse.Namespace) -> None:
    """`fpcore report`: load, measure, save, and print the ten lines."""
    # Here: `fpcore --help` waits for none of it.
    from fpcore.loading import load_images, load_network
    from fpcore.reporting.assembly import report_on
    from fpcore.reporting.inputs import report_folder
    from fpcore.reporting.subjects import USED, Labelled, Subjects

    device = checks.resolve_device(options.device)
    ball = None if options.ball is None else read_ball(options.ball)
    report_folder(options.out)
    count = checks.positive_int("--images", options.images)
    if count > USED:
        raise ValueError(f"--images = {count}: give {USED} at most")
    files = {"clean": options.clean, "purified": options.adversarial}
    files |= {role: getattr(options, role) for role in OPTIONAL if getattr(options, role)}
    networks, described = {}, {}
    for role, path in files.items():
        network, notes = load_network(path, options.arch)
        networks[role] = network.to(device)
        described[role] = {"source": str(path), "notes": list(notes)}
    data: Any = None if options.data is None else load_images(options.data, count)
    found = report_on(
        Subjects(
            networks=networks,
            images=data and Labelled(data.x, data.y, data.name, data.notes),
            ball=ball,
            layers=options.layers,
            seed=options.seed,
            attacked=options.attacked,
            described=described,
            command=_words(options),
        ),
        options.out,
    )
    print(found.summary)
    print(f"The report: {report_folder(options.out)}/report.html")


def _words(options: argparse.Namespace) -> tuple[str, ...]:
    """The words that give these options, but for the folder."""
    words = ["fpcore", options.command, str(options.clean), str(options.adversarial)]
    for name, value in vars(options).items():
        if value is not None and name not in ("command", "clean", "adversarial", "out"):
            for one in value if isinstance(value, list) else [value]:
                words.append(f"--{name}={one}")
    return (*words, "--out=DIR")


def read_ball(text: str) -> Ball:
    """The ball that "l2:0.5" or "linf:8/255" names, in the box of images, (0, 1).

    text  norm:radius; the radius is a number or a fraction
    """
    norm, _, radius = text.partition(":")
    try:
        above, _, below = radius.partition("/")
        return Ball(norm, float(above) / float(below or 1), BOX)
    except (ValueError, ZeroDivisionError) as error:
        advice = "give norm:radius, such as l2:0.5 or linf:8/255"
        raise ValueError(f"--ball = {text!r}: {advice}") from error
