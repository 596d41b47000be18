"""A claim, as a table of claims.toml states it: figures with bounds, null tests, the recipe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fpbook.results.columns import ABSCISSAE
from fpbook.results.files import check_name
from fpbook.results.intervals import Bound
from fpbook.results.quantities import known
from fpbook.results.summaries import Pick, pick
from fpcore import checks

NULLS = "nulls"  # the published result that holds what stand-ins score
_TEXTS = ("id", "statement", "chapter")  # which every claim has
_MORE_TEXTS = ("plain", "source", "fixed")
_OF_A_CLAIM = (*_TEXTS, *_MORE_TEXTS, "planned", "notes", "recipe", "nulls", "figures")
_BOUNDS = {"above": ">", "below": "<", "within": "in"}
_OF_A_FIGURE = ("result", "quantity", "network", "layer", "seeds", *ABSCISSAE, *_BOUNDS)
_OF_A_NULL = ("words", "network", "rank", "round", "without")
_OF_A_RECIPE = ("command", "facts")


@dataclass(frozen=True)
class Evidence:
    """A number that a claim rests on.

    result:    the published result that holds it
    pick:      which of its numbers
    sign:      ">", "<" or "in" if the claim bounds it, else ""
    bound:     what it must be above, below, or between
    condition: whether the bound only makes sure that there is a case to speak of, such as that
               training did make the network robust: a null test does not have to meet it
    """

    result: str
    pick: Pick
    sign: str = ""
    bound: Bound = 0.0
    condition: bool = False

    @property
    def required(self) -> str:
        """The bound as text, such as "> 0.9"; "" if there is none."""
        if isinstance(self.bound, tuple):
            low, high = self.bound
            return f"between {low:g} and {high:g}"
        return f"{self.sign} {self.bound:g}" if self.sign else ""


@dataclass(frozen=True)
class Null:
    """A stand-in that knows nothing of what a claim says: does it meet the claim's bounds too?

    name:       what it is called
    words:      what it is
    instead_of: the networks of the claim that it stands in for
    columns:    those of its numbers that differ from the claim's: the network, say
    """

    name: str
    words: str
    instead_of: tuple[str, ...]
    columns: tuple[tuple[str, Any], ...]

    def stands_in(self, evidence: Evidence) -> bool:
        """Whether it has a number of its own for this one."""
        return evidence.pick.network in self.instead_of

    def pick(self, evidence: Evidence, **more: Any) -> Pick:
        """Which number it has in the place of this one, over all seeds."""
        of = {k: v for k, v in evidence.pick.columns().items() if k != "seeds"}
        return pick(**of | dict(self.columns) | more)


@dataclass(frozen=True)
class Recipe:
    """How the numbers of a claim are made again.

    name:    of the experiment
    command: which trains, measures and publishes
    facts:   what was chosen, as (name, words): margin, radius of training, what was tuned
    """

    name: str
    command: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Claim:
    """A claim, and the numbers that would confirm it.

    id:        such as "T2"
    statement: in the terms of its source
    chapter:   that measures it
    evidence:  the numbers
    plain:     the statement in plain words
    source:    whose claim it is
    fixed:     when its bounds were fixed
    planned:   how many seeds it was to be tested on; on fewer it does not hold yet
    notes:     what to keep in mind when reading the verdict
    recipe:    how the numbers are made again
    nulls:     the stand-ins that it is tested on
    """

    id: str
    statement: str
    chapter: str
    evidence: tuple[Evidence, ...]
    plain: str = ""
    source: str = ""
    fixed: str = ""
    planned: int = 1
    notes: tuple[str, ...] = ()
    recipe: Recipe | None = None
    nulls: tuple[Null, ...] = ()

    @property
    def results(self) -> list[str]:
        """The names of the published results that decide it, each once."""
        names = [one.result for one in self.evidence] + [NULLS] * bool(self.nulls)
        return [*dict.fromkeys(names)]


def parse_claim(
    stated: Mapping[str, Any], recipes: Mapping[str, Recipe], nulls: Mapping[str, Mapping[str, Any]]
) -> Claim:
    """A claim from its table; ValueError that says what is wrong with it.

    stated:  the table
    recipes: by name
    nulls:   {name: table} of the stand-ins that claims may name
    """
    _check_keys(stated, _OF_A_CLAIM)
    for name in _TEXTS:
        _check_text(name, stated.get(name))
    for name in _MORE_TEXTS:
        if name in stated:
            _check_text(name, stated[name])
    figures = stated.get("figures", [])
    if not isinstance(figures, list) or not all(isinstance(one, dict) for one in figures):
        raise ValueError("give its figures as a list of tables")
    notes = stated.get("notes", [])
    if not isinstance(notes, list) or not all(isinstance(one, str) for one in notes):
        raise ValueError(f"notes = {notes!r}: give a list of texts")
    evidence = tuple(_evidence(one) for one in figures)
    planned = checks.positive_int("planned", stated.get("planned", 1))
    recipe = recipes[known("recipe", stated["recipe"], recipes)] if "recipe" in stated else None
    tested = stated.get("nulls", {})
    return Claim(
        **{name: stated[name] for name in (*_TEXTS, *_MORE_TEXTS) if name in stated},
        evidence=evidence,
        planned=planned,
        notes=tuple(notes),
        recipe=recipe,
        nulls=tuple(_null(name, tested[name], nulls, evidence) for name in tested),
    )


def parse_recipe(name: str, stated: Any) -> Recipe:
    """A recipe from its table; ValueError that says what is wrong with it."""
    if not isinstance(stated, dict):
        raise ValueError(f"recipe {name}: give it as a table")
    _check_keys(stated, _OF_A_RECIPE)
    _check_text("command", stated.get("command"))
    facts = stated.get("facts", {})
    for key, value in facts.items():
        _check_text(key, value)
    return Recipe(name=name, command=stated["command"], facts=tuple(facts.items()))


def check_null(name: str, stated: Any) -> dict[str, Any]:
    """The table of a stand-in, if it is sound; else a ValueError that says what is wrong."""
    if not isinstance(stated, dict):
        raise ValueError(f"null {name}: give it as a table")
    _check_keys(stated, _OF_A_NULL)
    _check_text("words", stated.get("words"))
    without = stated.get("without", [])
    if not isinstance(without, list) or not all(isinstance(one, str) for one in without):
        raise ValueError(f"null {name}: without = {without!r}: give a list of columns")
    for column in without:
        known(f"null {name}: column", column, ABSCISSAE)
        if column in stated:
            raise ValueError(f"null {name}: {column} is given, and without it: give one of them")
    return stated


def _null(
    name: str, instead_of: Any, nulls: Mapping[str, Mapping[str, Any]], evidence: Sequence[Evidence]
) -> Null:
    table = nulls[known("null", name, nulls)]
    columns = {"network": name} | {k: v for k, v in table.items() if k not in ("words", "without")}
    columns |= dict.fromkeys(table.get("without", []))  # which its numbers leave empty
    places = [instead_of] if isinstance(instead_of, str) else [*instead_of]
    tested = {one.pick.network for one in evidence if one.sign and not one.condition}
    for place in places:
        if place not in tested:
            raise ValueError(f"null {name}: no figure of {place!r} has a bound")
    pairs = tuple(columns.items())
    return Null(name=name, words=table["words"], instead_of=tuple(places), columns=pairs)


def _evidence(stated: Mapping[str, Any]) -> Evidence:
    _check_keys(stated, (*_OF_A_FIGURE, "condition"))
    for name in ("result", "quantity"):
        if name not in stated:
            raise ValueError(f"a figure without its {name}: {dict(stated)}")
    result, quantity = check_name(stated["result"]), stated["quantity"]
    given = [(sign, stated[word]) for word, sign in _BOUNDS.items() if word in stated]
    if len(given) > 1:
        raise ValueError(f"{quantity}: give one bound, above, below or within")
    condition = stated.get("condition", False)
    if not isinstance(condition, bool) or (condition and not given):
        raise ValueError(f"{quantity}: condition = {condition!r}: give true, beside a bound")
    others = {k: v for k, v in stated.items() if k not in ("result", "condition", *_BOUNDS)}
    chosen = pick(**others)
    if not given:
        return Evidence(result=result, pick=chosen)
    [(sign, bound)] = given
    return Evidence(
        result=result,
        pick=chosen,
        sign=sign,
        bound=_bound(quantity, sign, bound),
        condition=condition,
    )


def _bound(quantity: str, sign: str, bound: Any) -> Bound:
    ends = bound if sign == "in" and isinstance(bound, list) else [bound]
    if any(isinstance(end, bool) or not isinstance(end, int | float) for end in ends):
        raise ValueError(f"{quantity}: a bound of {bound!r} is no number")
    if sign != "in":
        return bound
    if len(ends) != 2 or not ends[0] < ends[1]:
        raise ValueError(f"{quantity}: within = {bound!r}: give its two ends, [low, high]")
    return (ends[0], ends[1])


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} = {value!r}: give a text")


def _check_keys(stated: Mapping[str, Any], names: Sequence[str]) -> None:
    for name in stated:
        known("key", name, names)
