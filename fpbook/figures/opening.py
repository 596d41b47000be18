"""The opening page: one neuron before and after, what was taken from it, and the numbers."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
from IPython.display import Markdown
from matplotlib.figure import Figure
from torch import Tensor

from fpbook.figures.captions import Captioned, captioned
from fpbook.figures.style import CLEAN, DENSE, EVEN_COSINE, PURIFIED
from fpbook.figures.synthetic import stems, top_sign
from fpbook.results.intervals import Interval
from fpbook.results.ledger import MILD, claims, verdict_counts
from fpbook.results.store import publish_arrays, publish_figure, published, published_arrays
from fpbook.results.summaries import number
from fpbook.synthetic.neurons import coefficients
from fpbook.synthetic.protocol import SYNTHETIC, SyntheticRun
from fpcore.decomposition.purification import decompose, live
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding
from fpcore.theory.scores import Sizes, score_law

HEADLINE = "headline"  # the name of the published neuron, and of its picture
PARTS = {  # {part: (its title, colour)}
    "clean": ("a clean neuron", CLEAN),
    "purified": ("after adversarial training", PURIFIED),
    "residual": ("what was removed", DENSE),
}
PUBLISHED_SHARES = {  # {name on the page: (result, quantity, network)}
    "right_clean": ("synthetic", "clean_accuracy", "clean"),
    "robust_clean": ("synthetic", "robust_accuracy", "clean"),
    "robust_control": ("synthetic", "robust_accuracy", "control"),
    "certified_purified": ("synthetic", "certified_accuracy", "purified"),
    "dense_clean": ("synthetic", "dense_part", "clean"),
    "dense_purified": ("synthetic", "dense_part", "purified"),
    "same_feature": ("synthetic", "same_feature", "purified"),
    "obey_all": ("synthetic", "share_dominant", "purified"),
    "obey_live": ("synthetic", "share_dominant_live", "purified"),
    "obey_control": ("synthetic", "share_dominant", "control"),
    "dense_back": ("interventions", "robust_accuracy", "dense back"),
    "auto_clean": ("cifar10-robustness", "autoattack_accuracy", "clean"),
    "auto_purified": ("cifar10-robustness", "autoattack_accuracy", "purified"),
}
SAID = {  # {verdict: what so many claims do}
    "holds": "hold",
    MILD: "hold mildly (a stand-in, such as the control or a random network, passes the same test)",
    "undecided": "are undecided",
    "fails": "fail",
    "not yet measured": "are not yet measured",
}


def neuron_parts(clean: TwoLayer, purified: TwoLayer, data: SparseCoding) -> dict[str, Tensor]:
    """A typical neuron and its two parts, in the basis of the true features.

    clean    the network after clean training
    purified the same network after adversarial training from there
    data     the model with the features

    {"clean": w, "purified": beta w', "residual": v}, each (d,): amounts of the features, signed as
    in the label, in units of |w|. Typical: among live neurons with |beta w'| > |v|, the one of
    median cos(w, w'); if none obeys, among all live ones.
    """
    w, after = clean.weight.detach(), purified.weight.detach()
    parts = decompose(w, after)
    alive = live(purified).nonzero().squeeze(1)
    obeying = alive[parts.cos[alive] > EVEN_COSINE]
    some = obeying if len(obeying) else alive
    i = some[parts.cos[some].argsort()[len(some) // 2]]
    scale = top_sign(coefficients(w[i], data)) / w[i].norm()
    found = {"clean": w[i], "purified": parts.pure[i], "residual": parts.residual[i]}
    return {name: (scale * coefficients(part, data)).cpu() for name, part in found.items()}


def neuron_in_parts(parts: Mapping[str, Tensor]) -> Figure:
    """Three panels on one scale that add up: the neuron = its purified part + what was removed.

    `parts` is what `neuron_parts` returns.
    """
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.3), sharey=True)
    for axis, (name, (title, color)) in zip(axes, PARTS.items()):
        stems(axis, parts[name], color, title)
        axis.set(xlabel="feature", yticks=(0, 0.25, 0.5, 0.75), xticks=(0, len(parts[name])))
    axes[0].set_ylabel("amount of it")
    for axis, sign in zip(axes[1:], ("=", "+")):
        axis.text(-0.09, 1.06, sign, transform=axis.transAxes, fontsize=13, ha="center")
    return figure


def publish_neuron(run: SyntheticRun) -> None:
    """Write the typical neuron of a run to the results, as numbers and as a picture."""
    parts = neuron_parts(run.clean, run.purified, run.data)
    publish_arrays(HEADLINE, {f"neuron/{name}": part for name, part in parts.items()})
    publish_figure(HEADLINE, neuron_in_parts(parts))


def published_neuron() -> dict[str, Tensor] | None:
    """What `publish_neuron` wrote; None if it never did."""
    try:
        return published_arrays(HEADLINE)["neuron"]
    except FileNotFoundError:
        return None


def opening_numbers() -> dict[str, str]:
    """The numbers in the text of the opening page, as text, by the names that it gives them.

    Those that no full run has published are "(not yet measured)".
    """
    texts = {}
    for name, (result, quantity, network) in PUBLISHED_SHARES.items():
        found = published(result)
        over = {"threat": "l2 0.5"} if quantity == "autoattack_accuracy" else {}
        share = number(found.summary, quantity, network, **over) if found else None
        texts[name] = _share(share, 2 if name == "robust_clean" else 1)
    for size, protocol in SYNTHETIC.items():
        codes = score_law(Sizes(protocol.d, protocol.k, margin=0.0))
        kept = codes.mean(codes.score >= protocol.margin)
        texts[f"one_in_{size}"] = f"{1 / kept:.0f}"
    full = SYNTHETIC["full"]
    texts |= {name: str(getattr(full, name)) for name in ("margin", "reach", "training_reach")}
    tuned = ", ".join(map(str, range(full.tuned_seeds)))
    return texts | {"radius": f"{full.radius:.3f}", "tuned": tuned}


def _share(found: Interval | None, digits: int) -> str:
    if found is None:
        return "(not yet measured)"
    value, low, high = (f"{share:.{digits}%}" for share in (found.value, *found.ends))
    return value if low == high else f"{value} [{low}, {high}]"


def missed_claims(page: str = "claims.html") -> str:
    """How many claims have which verdict, and those that fail or are undecided: Markdown.

    page: of the ledger, where each claim has its card
    """
    ledger = claims()
    counts = [f"{n} {SAID[verdict]}" for verdict, n in verdict_counts(ledger).items()]
    lines = [f"- **Not everything holds.** Of {len(ledger)} claims {', '.join(counts)}."]
    for entry in ledger:
        if entry.verdict in ("fails", "undecided"):
            id, plain = entry.claim.id, entry.claim.plain.replace("The same", "P1")
            lines.append(f'  - <a href="{page}#{id}">{id}</a> {entry.verdict}: {plain}')
    return "\n".join(lines)


def captioned_neuron(parts: Mapping[str, Tensor], caption: str) -> Captioned:
    """The picture of `neuron_in_parts` with a caption; `parts` is what `neuron_parts` returns."""
    return captioned(
        neuron_in_parts(parts),
        caption,
        "Three panels that add up. A clean neuron: one tall spike on a floor of hundreds of small "
        "amounts, nearly all of them positive. After adversarial training: the same spike, and "
        "next to no floor. What was removed: the floor, without the tall spike.",
    )


def opening_picture() -> Captioned | Markdown:
    """The published neuron with its caption; where none is published, a line that says so."""
    parts = published_neuron()
    if parts is None:
        return Markdown("*No neuron is published in this copy: the run below draws one.*")
    return captioned_neuron(
        parts,
        f"One hidden neuron, as amounts of the {len(parts['clean']):,} true features of the data. "
        "Clean training finds a feature, the spike, and lays a floor of all others under it. "
        "Adversarial training keeps the spike and removes the floor.",
    )
