"""How quickly a target answers, and how often it does not: the moving averages that routing and hedging go by."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import exp

SAMPLES = 100  # latencies kept for the 95th percentile
ENOUGH_SAMPLES = 20  # so many are needed for one in 20 to be seen
UNSORTED = 5  # new latencies after which the percentile is found anew, since that takes a while
STALE = 300.0  # seconds after which a latency says nothing about now: the longest time that a breaker is open
WEIGHT = 0.2  # of the newest in a moving average: about the last ten count
FADING = 10.0  # seconds in which a failure fades to 37 %: the decay time of Finagle's Peak EWMA
TRACE = 0.001  # of a failure that does not fade: among targets of which nothing else is known, it decides
SHORTEST_PATIENCE = 0.01  # seconds before which nobody is hedged: a request to another city and back takes longer


@dataclass(frozen=True, slots=True)
class Latency:
    """How quickly a target answers one kind of call.

    Args:
        seconds: moving average; None before the first answer, and where the last is more than 300 seconds old.
        p95: the seconds that 95 of the last 100 answers took at most; None before there are 20, and likewise.
    """

    seconds: float | None = None
    p95: float | None = None

    @property
    def patience(self) -> float | None:
        """The seconds after which `hedge_after="p95"` asks another target as well; None for never."""
        return None if self.p95 is None else max(self.p95, SHORTEST_PATIENCE)


UNKNOWN = Latency()


class Latencies:
    """What one target's answers to one kind of call took."""

    __slots__ = ("_latest", "_measured", "_p95", "_seconds", "_unsorted")

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=SAMPLES)
        self._seconds = 0.0
        self._measured = 0.0
        self._p95: float | None = None
        self._unsorted = 0  # latencies that the percentile does not know yet

    def add(self, seconds: float, now: float) -> None:
        """Take note of an answer."""
        latest = self._latest
        if latest and now - self._measured > STALE:
            latest.clear()
            self._p95 = None
        self._seconds = self._seconds + WEIGHT * (seconds - self._seconds) if latest else seconds
        latest.append(seconds)
        self._measured = now
        self._unsorted += 1

    def look(self, now: float) -> Latency:
        """Return what is known."""
        if not self._latest or now - self._measured > STALE:
            return UNKNOWN
        if self._unsorted >= UNSORTED:
            ordered = sorted(self._latest)
            slow = len(ordered) // 20  # one in 20 took longer
            self._p95 = ordered[-1 - slow] if len(ordered) >= ENOUGH_SAMPLES else None
            self._unsorted = 0
        return Latency(self._seconds, self._p95)


class Failing:
    """How often one target fails: 1.0 with a failure, less with each answer and with time.

    It rises at once and falls with care, as a Peak EWMA does: one failure is enough to look elsewhere first, and while
    others are asked, time alone must bring a target back.

    Attributes:
        share: how often it failed when this was last noted.
    """

    __slots__ = ("_since", "share")

    def __init__(self) -> None:
        self.share = 0.0
        self._since = 0.0

    def fail(self, now: float) -> None:
        """Take note of a failure."""
        self.share, self._since = 1.0, now

    def succeed(self, now: float) -> None:
        """Take note of an answer."""
        share = self.look(now) * (1 - WEIGHT)
        self.share, self._since = (share if share >= TRACE else 0.0), now

    def look(self, now: float) -> float:
        """Return how often it fails, from 0.0 to 1.0."""
        return self.share and max(self.share * exp((self._since - now) / FADING), TRACE)
