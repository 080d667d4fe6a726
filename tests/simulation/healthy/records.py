"""What is written down of a day: the calls as their callers saw them, and the requests as the vendors saw them."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from random import Random

from simulation.healthy.days import Day

NEVER = float("inf")


@dataclass(slots=True, eq=False)
class Visit:
    """One request as a vendor saw it.

    Args:
        call: the number of the call.
        vendor: who was asked.
        began: when.
        streaming: whether a stream was asked for.
        sound: whether it would have been answered, had the caller waited.
        sick: whether the vendor was in a fault of minutes just then.
        tokens: that the whole answer has.
        works_from: when the first of them is written.
        works_until: when the last of them is.
        ended: when the request was over.
        outcome: "answered", "failed", "left" by the caller, or "under way" when the day ended.
        whole: whether all of it is billed although the caller hung up.
    """

    call: int
    vendor: str
    began: float
    streaming: bool
    sound: bool = True
    sick: bool = False
    tokens: int = 0
    works_from: float = NEVER
    works_until: float = NEVER
    ended: float = NEVER
    outcome: str = "under way"
    whole: bool = False


@dataclass(slots=True, eq=False)
class Call:
    """One call as its caller saw it.

    Args:
        number: from 0.
        arrived: when.
        sick: whether the primary was in a fault of minutes just then.
        prompt: the seed of what is the prompt's own chance.
        ended: when it ended.
        by: who answered; empty where nobody did.
        why: why nobody did.
        visits: the requests, in order.
    """

    number: int
    arrived: float
    sick: bool
    prompt: str
    ended: float = NEVER
    by: str = ""
    why: str = ""
    visits: list[Visit] = field(default_factory=list)

    def visit(self, vendor: str) -> int:
        """Return how often a vendor was asked so far."""
        return sum(visit.vendor == vendor for visit in self.visits)

    def chance(self) -> Random:
        """Return the prompt's own chance, from its beginning."""
        return Random(self.prompt)


@dataclass(slots=True)
class Played:
    """One day, as one client saw it.

    Args:
        day: which day.
        calls: in the order in which they came.
        visits: the vendors' part.
        breaker: when a breaker of whom came into which state.
    """

    day: Day
    calls: list[Call] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    breaker: list[tuple[float, str, str]] = field(default_factory=list)


CURRENT: ContextVar[Call] = ContextVar("CURRENT")  # whose task this is, down to the tasks that it starts
