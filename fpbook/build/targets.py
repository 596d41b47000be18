"""How fast it shall be: what was asked for before it was measured, for the page *How fast*."""

from dataclasses import dataclass

from fpbook.cifar10.judgements import JUDGED

BENCH = "bench"  # the name of the result that `make bench` publishes
BOOK = "book-time"  # of `python benchmarks/book.py`
POINTS, TIMES_AS_FAST = 0.5, 3.0  # from AutoAttack's robust accuracy, either way; over its speed


@dataclass(frozen=True)
class Target:
    """What was asked for.

    words:  what it is of
    timed:  the name under which it is measured
    bound:  the value that it shall reach; for `atmost` not exceed
    result: in which it is published
    atmost: whether less is better
    within: words that occur in the settings of the row, where several have its name
    limit:  the name under which the bound that the hardware sets is measured; "" for none
    reason: why the target may not be met, in a sentence
    """

    words: str
    timed: str
    bound: float
    result: str = BENCH
    atmost: bool = False
    within: str = ""
    limit: str = ""
    reason: str = ""


STEP_SHAPES = ((1024, 2048), (1536, 7680))  # (d, m) of the training step
STEP_KINDS = ("clean", "FGM")
RATE_SHARES = {"float32": 0.7, "bfloat16": 0.6}  # of the rate of torch's own products
STEP_REASON = (
    "a batch has to be drawn, and pre-activations and weights have to be read and written, which "
    "memory bounds; the faster the products, the more of a step that is"
)
LEAST_WORK = "were it products with a batch and single passes"  # which every step has to make
LIMIT_WORDS = {
    LEAST_WORK: "were it its batch, its products and one pass over each tensor"
}  # in words
STEP_TARGETS = tuple(
    Target(
        words=f"{kind} step, {precision}, d = {d}, m = {m}: share of the rate of products",
        timed=f"{kind} step, share of the product rate",
        bound=bound,
        within=f"d = {d}, m = {m}, n = 512, precision = {precision}",
        limit=f"{kind} step, share of the product rate, {LEAST_WORK}",
        reason=STEP_REASON,
    )
    for d, m in STEP_SHAPES
    for precision, bound in RATE_SHARES.items()
    for kind in STEP_KINDS
)
GRID_TARGETS = tuple(
    Target(
        words=f"48 networks at once, {kind} step, {precision}: over one after the other",
        timed=f"grid, {kind} step over the loop",
        bound=5,
        within=f"precision = {precision}",
        limit=f"grid, {kind} step over the loop, {LEAST_WORK}",
        reason="single networks have a closed-form step as well, so that the loop is fast",
    )
    for precision in RATE_SHARES
    for kind in STEP_KINDS
)
PASSES = "each step needs a pass forward and one backward, which every library makes as well"
FASTER = {"purified": 2.5, "clean": 5.0}  # than torchattacks, at equal robust accuracy
ATTACK_PEERS = ("torchattacks", "foolbox", "ART")
ATTACK_TARGETS = (
    *(
        Target(
            words=f"PGD-20 on the {network} ConvNet, over torchattacks",
            timed=f"PGD on the {network} ConvNet, over torchattacks",
            bound=bound,
            limit=f"PGD on the {network} ConvNet, over torchattacks, were it passes alone",
            reason=f"{PASSES}, for each image that is not broken yet",
        )
        for network, bound in FASTER.items()
    ),
    *(
        Target(
            words=f"PGD-20 on the {to_the_end}, over {peer}",
            timed=f"PGD on the {to_the_end}, over {peer}",
            bound=1,
            limit=f"PGD on the {to_the_end}, over {peer}, were it passes alone",
            reason=PASSES,
        )
        for to_the_end in (f"{network} ConvNet, without stopping" for network in FASTER)
        for peer in ATTACK_PEERS
    ),
    Target(
        "evaluation, times as fast as AutoAttack, the least of all cases",
        "evaluation, least over AutoAttack",
        TIMES_AS_FAST,
        JUDGED,
        reason="AutoAttack has a fixed cost, which few images share",
    ),
    Target(
        "the same, furthest from AutoAttack's robust accuracy of all cases",
        "evaluation, furthest from AutoAttack",
        POINTS,
        JUDGED,
        atmost=True,
        reason="each breaks a few images that the other does not (AutoAttack asks 5,000 times "
        "without gradients as well, ours spends more runs on what still stands)",
    ),
)
BOOK_TARGETS = (
    Target(
        "quick book",
        "quick book, alone",
        360,
        BOOK,
        atmost=True,
        reason="it trains, attacks and certifies, at sizes that show the claims",
    ),
    Target(
        "quick book beside a busy core, over alone",
        "quick book, beside over alone",
        2,
        BOOK,
        atmost=True,
    ),
    Target("opening page", "opening page, alone", 90, BOOK, atmost=True),
)
TARGETS = (*STEP_TARGETS, *GRID_TARGETS, *ATTACK_TARGETS, *BOOK_TARGETS)
