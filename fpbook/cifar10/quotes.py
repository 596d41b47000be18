"""Which published numbers the text of a CIFAR-10 chapter quotes, by the names it gives them."""

from fpbook.cifar10.networks import TRAINED
from fpbook.results import Pick, pick, quoted


def quotes_of(chapter: str) -> dict[str, str]:
    """The published numbers that a chapter's text quotes, {name: text with its interval}.

    chapter  its name; ValueError for one that quotes none
    """
    made = {
        "cifar10": _of_recipe,
        "cifar10-robustness": _of_robustness,
        "cifar10-layers": _of_layers,
        "cifar10-removal": _of_removal,
        "cifar10-features": _of_features,
        "cifar10-low-rank": _of_low_rank,
        "your-own-networks": _of_own,
    }
    if chapter not in made:
        raise ValueError(f"chapter = {chapter!r}: give one of {[*made]}")
    source, picks, plain = made[chapter]()
    return {name: quoted(source, of, name not in plain) for name, of in picks.items()}


# Each returns the result's name, its numbers, and which of them are no percentages.
_Quotes = tuple[str, dict[str, Pick], set[str]]


def _of_recipe() -> _Quotes:
    found = {name: pick("robust_accuracy", name) for name in TRAINED}
    return "cifar10", found | {"lost": pick("clean_lost", "purified")}, set()


def _of_robustness() -> _Quotes:
    at_home = {"threat": "l2 0.5"}
    found = {name: pick("autoattack_accuracy", name, **at_home) for name in TRAINED}
    ratio = pick("autoattack_ratio", "purified", **at_home)
    return "cifar10-robustness", found | {"ratio": ratio}, {"ratio"}


def _of_layers() -> _Quotes:
    found = {name: pick("cos_to_clean", name) for name in ("purified", "control")}
    share = pick("share_dominant", "purified")
    return "cifar10", found | {"share": share}, {*found}


def _of_removal() -> _Quotes:
    ways = {"before": ("w - v", 0), "after": ("w - v", 1), "random": ("w - random", 1)}
    found = {name: pick("robust_accuracy", way, alpha=alpha) for name, (way, alpha) in ways.items()}
    return "cifar10-removal", found, set()


def _of_features() -> _Quotes:
    found = {name: pick("unexplained_share", name, atoms=2) for name in TRAINED}
    return "cifar10-features", found, set()


def _of_low_rank() -> _Quotes:
    ranks = {"zero": 0, "four": 4, "sixteen": 16}
    update = "adversarial update"
    found = {name: pick("regained", update, rank=rank) for name, rank in ranks.items()}
    return "cifar10-low-rank", found | {"of_full": pick("regained_of_full", update, rank=16)}, set()


def _of_own() -> _Quotes:
    found: dict[str, Pick] = {}
    for letter, architecture in {"t": "transformer", "p": "perceptron"}.items():
        of = {"architecture": architecture}
        found |= {
            f"{letter}_clean": pick("robust_accuracy", "clean", **of),
            f"{letter}_purified": pick("robust_accuracy", "purified", **of),
            f"{letter}_gain": pick("robust_gain", "purified", **of),
            f"{letter}_cos": pick("cos_to_clean", "purified", **of),
            f"{letter}_init": pick("cos_to_init", "clean", **of),
        }
    plain = {name for name in found if name[2:] in ("gain", "cos", "init")}
    return "own-networks", found, plain
