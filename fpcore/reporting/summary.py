"""Ten lines that a person understands."""

from collections.abc import Callable, Mapping
from typing import Any

from fpcore.reporting.lookup import found

Value = Callable[..., float | None]
MISSING = "not measured"


def summary(content: Mapping[str, Any]) -> list[str]:
    """The ten lines of a report: what was compared, what the weights say, what attacks say.

    content  of the report, as far as it is measured
    """

    def value(quantity: str, network: str | None = None, **over: Any) -> float | None:
        return found(content["records"], quantity, network, **over)

    return [*_weights(content, value), *_accuracies(content, value)]


def _share(number: float | None) -> str:
    """A share in percent; what to say where there is none."""
    return MISSING if number is None else f"{100 * number:.1f}%"


def _plain(number: float | None) -> str:
    """A number of two digits after the point."""
    return MISSING if number is None else f"{number:.2f}"


def _weights(content: Mapping[str, Any], value: Value) -> list[str]:
    """Six lines: the networks, how alike they are, what w - beta w' is like."""
    about, layers = content["about"], content["layers"]
    weights = sum(row["weights"] for row in layers)
    given = [role for role in about["networks"] if role not in ("clean", "purified")]
    beside = f", beside {', '.join(given)}" if given else ""
    lines = [
        f"{about['architecture']}, clean and trained on adversarially{beside}: {len(layers)} layers"
        f" of {weights:,} weights, {_share(content['coverage']['share'])} of all matrices.",
        f"Cosine of w' with w, median over neurons: {_plain(value('cos_to_clean', 'purified'))}"
        f" (control: {_plain(value('cos_to_clean', 'control'))};"
        f" from scratch: {_plain(value('cos_to_clean', 'scratch'))}).",
        f"In w = beta w' + v, beta w' outweighs v in {_share(value('share_dominant', 'purified'))}"
        f" of the neurons (control: {_share(value('share_dominant', 'control'))}).",
        "Hidden neurons of w' nearest to their own ancestor in w: "
        f"{_share(value('same_neuron_share', 'purified'))}; switched on:"
        f" {_share(value('share_switched_on', 'purified'))} in w',"
        f" {_share(value('share_switched_on', 'clean'))} in w.",
        f"Of the initial weights w0, the cosine with w is {_plain(value('cos_to_init', 'clean'))}"
        f", with w' {_plain(value('cos_to_init', 'purified'))}.",
    ]
    rank = _rank(content)
    return [*lines, rank]


def _rank(content: Mapping[str, Any]) -> str:
    """How many directions v takes, of how many there are, over the layers."""
    records, shares = content["records"], []
    for row in content["layers"]:
        rank = found(records, "effective_rank_removed", layer=row["name"])
        if rank is not None:
            shares.append(rank / min(row["neurons"], row["fan_in"]))
    if not shares:
        return f"Effective rank of v: {MISSING}."
    middle = sorted(shares)[len(shares) // 2]
    return f"Effective rank of v, over the largest possible, in a middle layer: {_share(middle)}."


def _accuracies(content: Mapping[str, Any], value: Value) -> list[str]:
    """Four lines: accuracies of w and w', and of the networks made from them."""
    data, ball = content["about"]["data"], content["about"]["ball"]
    if data is None:
        nothing = f"{MISSING}, no images were given"
        return [
            f"Accuracy: {nothing}.",
            f"Robust accuracy: {nothing}.",
            f"Without v: {nothing}.",
            "Read the notes on what may not be concluded.",
        ]
    threat = f"{ball['norm']} {ball['radius']:g}" if ball else "no attack"
    quantity = "robust_accuracy" if ball else "clean_accuracy"
    kind = f"right under attack ({threat}, upper bounds)" if ball else "right, without attack"

    def of(name: str, **over: Any) -> str:
        return _share(value(quantity, name, **over))

    robust = "Nothing was attacked: no ball was given."
    if ball:
        robust = (
            f"Under attack, {threat}: w {of('clean')}, w' {of('purified')}, upper bounds, of"
            f" {data['attacked']:,} images (control: {of('control')}; scratch: {of('scratch')})."
        )
    pure = of("beta w'")
    control = value(quantity, "w - v_c", alpha=1.0)
    beside = "" if control is None else f", less the control's {_share(control)}"
    return [
        f"Accuracy: w {_share(value('clean_accuracy', 'clean'))},"
        f" w' {_share(value('clean_accuracy', 'purified'))}, of {data['images']:,} images.",
        robust,
        f"w - v is {kind} in {of('w - v', alpha=1.0)}; less random vectors as long"
        f" {of('w - random', alpha=1.0)}{beside}; beta w' {pure}.",
        "w + an update of rank "
        + ", ".join(f"{rank}: {of('w + rank r', rank=rank)}" for rank in (1, 4, 16))
        + ". The notes say what may not be concluded.",
    ]
