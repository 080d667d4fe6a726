"""What goes wrong, and when: the small things of every day, and the ten minutes of a bad one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from understudy import Failure
from understudy.errors import ConnectionFailed, Overloaded, RateLimited, ServerError

FAULTS = ("outage", "hang", "brown-out", "storm")
FAULT_SECONDS = 600.0

SOON = 0.05, 0.8  # seconds until a failure: at least, and as much more at most, mostly little
NEVER = 3600.0  # seconds after which a connection that hangs is closed by somebody
SLOWER = 4.0  # times as long in a brown-out: an assumption
FAILING = 0.3  # share of the requests that a brown-out fails: an assumption
REFUSED = 0.9  # share of the requests that a storm of 429s refuses: an assumption
HINTED = 0.5  # share of the 429s that say when to come back: an assumption


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """The small things that go wrong on a healthy day. Shares are from 0 to 1, times in seconds.

    Uptimes of vendors are told to be 99.0 to 99.5 %, and 30 to 66 % of what fails are 429s, most of them those of an
    account's own limits, which are drawn apart from these: https://cloudai.pt/?p=1637 (Datadog's report),
    https://www.requesty.ai/data/status-code-distribution-april-2026, both read 2026-11-30. The shape is an assumption.

    Args:
        errors: share of the requests that fail at random: 500, 529, reset, 429.
        limited: share of 429s among these.
        burst_every: mean seconds from one burst of errors to the next; 0.0 for none. A burst lasts 2 to 8 s.
        burst_errors: share of the requests that fail in a burst.
        burst_limited: share of 429s among these.
        slow_every: mean seconds from one slow time to the next; 0.0 for none.
        slow_for: how long it lasts.
        slower: how many times as long an answer takes in it.
    """

    errors: float = 0.003
    limited: float = 0.2
    burst_every: float = 900.0
    burst_errors: float = 0.4
    burst_limited: float = 0.3
    slow_every: float = 1800.0
    slow_for: float = 60.0
    slower: float = 3.0


USUAL = Weather()
AT_HOME = Weather(errors=0.001, limited=0.0, burst_every=0.0)  # nobody limits the rate of one's own machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One day, or what is played of it.

    Args:
        length: seconds in which callers come.
        fault: what is wrong with the primary for a while; empty on a healthy day.
        begin: when that begins, in seconds from the beginning; it lasts ten minutes.
    """

    length: float
    fault: str = ""
    begin: float = 0.0

    @property
    def end(self) -> float:
        """When the primary is well again."""
        return self.begin + FAULT_SECONDS

    def fault_at(self, now: float) -> str:
        """Return what is wrong with the primary at a time; empty for nothing."""
        return self.fault if self.fault and self.begin <= now < self.end else ""


@dataclass(slots=True)
class Forecast:
    """When the weather of one vendor is bad.

    Args:
        bursts: of errors, begin and end.
        slow: times in which it is slow.
    """

    bursts: Sequence[tuple[float, float]] = field(default_factory=list)
    slow: Sequence[tuple[float, float]] = field(default_factory=list)


def forecast(seed: str, weather: Weather, length: float) -> Forecast:
    """Draw when a vendor's weather is bad, over so many seconds; it begins alike however many they are."""
    draw = Random(f"{seed} bursts")
    bursts = [(at, at + 2.0 + 6.0 * draw.random()) for at in _times(draw, weather.burst_every, length)]
    slow = _times(Random(f"{seed} slow"), weather.slow_every, length)
    return Forecast(bursts, [(at, at + weather.slow_for) for at in slow])


def _times(draw: Random, every: float, length: float) -> Iterator[float]:
    now = 0.0
    while every and (now := now + draw.expovariate(1.0 / every)) < length:
        yield now


def is_within(spans: Sequence[tuple[float, float]], now: float) -> bool:
    """Whether a time is within one of some spans."""
    return any(begin <= now < end for begin, end in spans)


def blip(draw: Random, limited: float) -> Failure:
    """Draw one of the failures of every day; `limited` is the share of 429s."""
    if draw.random() < limited:
        return RateLimited("slow down", retry_after=1.0 + 9.0 * draw.random() if draw.random() < HINTED else None)
    return draw.choice((ServerError, Overloaded, Overloaded, ConnectionFailed))("a blip")


def trouble(draw: Random, fault: str, limited: float) -> tuple[Failure | None, float]:
    """Draw what a fault does to one request: the failure, or None, and the seconds until it is told."""
    if fault == "outage":
        return draw.choice((ServerError, Overloaded, ConnectionFailed))("down"), soon(draw)
    if fault == "hang":
        return ConnectionFailed("closed after an hour"), NEVER
    if fault == "brown-out" and draw.random() < FAILING:
        return blip(draw, limited), 0.5 + 4.0 * draw.random()
    if fault == "storm" and draw.random() < REFUSED:
        return RateLimited("slow down", retry_after=5.0 + 15.0 * draw.random() if draw.random() < HINTED else None), 0.1
    return None, 0.0


def soon(draw: Random) -> float:
    """Draw the seconds until a failure that comes at once."""
    least, more = SOON
    return least + more * draw.random() ** 3
