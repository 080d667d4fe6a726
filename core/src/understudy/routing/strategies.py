"""Routing strategies: the order in which targets are asked, if it is not the route's own.

A strategy is a function: it gets what is known of each target and a source of randomness, and returns the targets'
indices in the order in which they are to be asked. It decides nothing else: which target cools down, whose breaker is
open, and when the next one is asked is decided by the engine.

    def alphabetical(candidates, draw):
        return [one.index for one in sorted(candidates, key=lambda one: one.label)]

    Policy.eager(routing=alphabetical)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from understudy.target import Candidate, Draw, Strategy

EXPLORED = 0.05  # share of the calls in which `fastest` first asks one that was not measured recently
PENALTY = 60.0  # seconds that a failure counts for: as long as an attempt may take, so that no answer is slower
HALF = 0.5  # a target that fails more often is not drawn while there are others


def ordered(candidates: Sequence[Candidate], draw: Draw) -> Sequence[int]:
    """Ask the targets as the route names them."""
    return [one.index for one in candidates]


def fastest(candidates: Sequence[Candidate], draw: Draw) -> Sequence[int]:
    """Ask the quicker of two drawn at random first, then the others by their speed.

    Always taking the quickest would send everybody to the same target at once; two at random avoid that (Mitzenmacher,
    "The Power of Two Choices in Randomized Load Balancing"). A target that was not measured recently is asked first in
    one of 20 calls, or at random if nothing is known of any: if it were preferred, all calls would go to it until its
    first answer, and for ever to one that never answers. A failure makes a target slow by up to a minute, as gRPC adds
    errors to the load (`error_utilization_penalty`, gRFC A58), and fades as in Finagle's Peak EWMA. Unlike there,
    calls under way do not count: they slow down a server, but one caller's calls do not slow down a vendor, so that
    counting them would favour slower targets. Targets that are not ready come last.
    """
    ready = [one for one in candidates if one.ready]
    slowest = max((one.seconds for one in ready if one.seconds is not None), default=0.0)

    def slowness(one: Candidate) -> tuple[bool, float, bool]:
        unknown = one.seconds is None
        return not one.ready, (slowest if one.seconds is None else one.seconds) + PENALTY * one.failing, unknown

    order = sorted(candidates, key=slowness)
    sound = [one for one in ready if one.failing < HALF]
    among = [one for one in sound if one.seconds is not None] or sound or ready
    first = _explored(ready, draw)
    if first is None and len(among) > 1:
        one = _pick(among, draw)
        other = _pick([each for each in among if each is not one], draw)
        first = min(one, other, key=slowness)
    if first is not None:
        order.remove(first)
        order.insert(0, first)
    return [one.index for one in order]


def _explored(ready: Sequence[Candidate], draw: Draw) -> Candidate | None:
    """Draw one of those not measured recently, or, mostly, none; one that has just failed is given time."""
    unknown = [one for one in ready if one.seconds is None]
    point = draw() if unknown else 0.0
    for one in unknown:
        point -= EXPLORED * (1.0 - one.failing)
        if point < 0:
            return one
    return None


def cheapest(candidates: Sequence[Candidate], draw: Draw) -> Sequence[int]:
    """Ask by price, the lowest first, and those without a known price last.

    Targets with equal or unknown prices keep the route's order. Prices come from the extra "prices".
    """
    prices = {one.index: one.dollars for one in candidates}
    known = [(price, place, index) for place, (index, price) in enumerate(prices.items()) if price is not None]
    return [index for _, _, index in sorted(known)] + [index for index, price in prices.items() if price is None]


@dataclass(frozen=True, slots=True)
class _Weighted:
    weights: Mapping[str, float] = field(hash=False)  # a mapping has no hash, and a Policy that holds this needs one

    @property
    def names(self) -> tuple[str, ...]:
        """The labels and provider names that have a weight."""
        return tuple(self.weights)

    def __call__(self, candidates: Sequence[Candidate], draw: Draw) -> Sequence[int]:
        weights = {one.index: self.weights.get(one.label, self.weights.get(one.provider, 0)) for one in candidates}
        left = [index for index, weight in weights.items() if weight > 0]
        last = [index for index, weight in weights.items() if weight <= 0]
        order = []
        while left:
            point = draw() * sum(weights[index] for index in left)
            for index in left:
                point -= weights[index]
                if point < 0:
                    break
            order.append(index)  # the last one, if rounding left a remainder
            left.remove(index)
        return order + last

    def __repr__(self) -> str:
        return f"weighted({dict(self.weights)!r})"


def weighted(weights: Mapping[str, float]) -> Strategy:
    """Make a strategy that asks at random, each target as often as its weight says.

    The first one is drawn by the weights, then the next among the rest likewise, and so on. A target with the weight 0,
    or without any, is asked only after those that have one, in the route's order.

    Args:
        weights: numbers of 0 or more by label ("claude:claude-haiku-4-5") or provider name ("claude"), a label first.
            Each of several targets of one provider has its weight.

    Raises:
        TypeError: a weight is not a number.
        ValueError: a weight is below 0 or infinite, or there is none above 0.
    """
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise TypeError(f"expected the weight of {name!r} as a number, found {weight!r}")
        if not 0 <= weight < float("inf"):
            raise ValueError(f"expected the weight of {name!r} as 0 or more, found {weight!r}")
    if not any(weights.values()):
        raise ValueError(f"expected at least one weight above 0, found {dict(weights)!r}")
    return _Weighted(dict(weights))


_STRATEGIES: Mapping[str, Strategy] = {"ordered": ordered, "fastest": fastest, "cheapest": cheapest}


def find_strategy(routing: str | Strategy) -> Strategy:
    """Return the strategy of a name, or the strategy itself.

    Raises:
        ValueError: it is neither one of the names nor a function.
    """
    if isinstance(routing, str) and routing in _STRATEGIES:
        return _STRATEGIES[routing]
    if callable(routing):
        return routing
    expected = f"{', '.join(_STRATEGIES)}, weighted({{...}}) or a function of your own"
    near = difflib.get_close_matches(routing, _STRATEGIES, 1) if isinstance(routing, str) else []
    hint = f"; did you mean {near[0]!r}?" if near else ""
    if routing == "weighted" or isinstance(routing, Mapping):
        hint = '; weights are given as weighted({"gemini": 3, "claude": 1})'
    raise ValueError(f"expected routing as {expected}, found {routing!r}{hint}")


def check_names(strategy: Strategy, known: Iterable[str]) -> None:
    """Check that every name in a strategy's attribute `names` is on the route.

    Args:
        strategy: the strategy.
        known: the labels and provider names of the route.

    Raises:
        ValueError: a name is not on the route.
    """
    names = list(dict.fromkeys(known))
    for name in getattr(strategy, "names", ()):
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"routing {describe(strategy)}: expected {', '.join(names)}, found {name!r}{hint}")


def check_order(strategy: Strategy, candidates: Sequence[Candidate], order: Any) -> tuple[int, ...]:
    """Return what a strategy returned, when it names every candidate once.

    Raises:
        ValueError: it does not.
    """
    expected = [one.index for one in candidates]
    try:
        indices = tuple(order)
        good = len(indices) == len(expected) and set(indices) == set(expected)
    except TypeError:  # not a sequence, or not of numbers
        good = False
    if not good:
        wanted = ", ".join(map(str, expected))
        raise ValueError(f"routing {describe(strategy)}: expected each of the indices {wanted} once, found {order!r}")
    return indices


def describe(strategy: Strategy) -> str:
    """Name a strategy, for people."""
    name = getattr(strategy, "__name__", None)
    return name if isinstance(name, str) else repr(strategy)


def _pick(among: Sequence[Candidate], draw: Draw) -> Candidate:
    return among[min(int(draw() * len(among)), len(among) - 1)]
