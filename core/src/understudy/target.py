"""One stop on a route, its state, and what a strategy may know about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Target:
    """One stop on the route: a provider, and the model if the route names one.

    Args:
        label: as the route names it: "gemini", or "claude:claude-haiku-4-5".
        provider: the provider's name.
        model: the model, or None for the provider's default.
        position: its place on the route as it was named, from 0.
        price_list: the name under which its prices are listed, if that is not the provider's.
    """

    label: str
    provider: str
    model: str | None = None
    position: int = 0
    price_list: str = ""


class BreakerState(StrEnum):
    """Whether a target may be asked: always, not now, or by one request at a time, as a test."""

    CLOSED = "closed"
    OPEN = "open"
    COOLING = "cooling"
    HALF_OPEN = "half-open"

    def __repr__(self) -> str:
        return repr(self.value)  # records and events show it as this word


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a strategy may know of a target.

    Args:
        index: the target's place in the route, from 0; what a strategy returns.
        label: the route as it was named, for example "gemini" or "claude:claude-haiku-4-5".
        provider: the provider's name.
        model: the model that would be asked, if it is known.
        seconds: a moving average of the time to the first token where a stream is asked for, else of that to a whole
            answer; None where nothing was measured in the last 300 seconds.
        price: an estimate of what this request would cost there, in US dollars, or a function that returns it; None if
            it is not known.
        ready: whether it may be asked now: False while it cools down or its breaker is open.
        failing: how often it brings no usable answer, from 0.0 to 1.0: 1.0 with each such attempt, less with
            each answer and with time.
    """

    index: int
    label: str
    provider: str
    model: str | None = None
    seconds: float | None = None
    price: Callable[[], float | None] | float | None = None
    ready: bool = True
    failing: float = 0.0

    @property
    def dollars(self) -> float | None:
        """The price; it is looked up now if it is not known yet."""
        return self.price() if callable(self.price) else self.price


Draw: TypeAlias = Callable[[], float]
Strategy: TypeAlias = Callable[[Sequence[Candidate], Draw], Sequence[int]]
