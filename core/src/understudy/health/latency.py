"""How quickly a target answers, and how often it does not: the basis for routing, hedging and timeouts."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass
from math import exp, inf

from understudy.engine.timeouts import NOTHING_LEARNT, Learned

SAMPLES = 100  # latencies kept for the 95th percentile
ENOUGH_SAMPLES = 20  # this many are needed to see one in 20
UNSORTED = 5  # new latencies after which the percentile is recalculated, since that takes a while
STALE = 300.0  # seconds after which a latency says nothing about now: the longest time that a breaker is open
WEIGHT = 0.2  # of the newest in a moving average: about the last ten count
FADING = 10.0  # seconds in which a failure fades to 37 %: the decay time of Finagle's Peak EWMA
TRACE = 0.001  # of a failure that does not fade: it decides among targets about which nothing else is known
REMEMBERED = 3600.0  # seconds after which percentiles are forgotten


@dataclass(frozen=True, slots=True)
class Latency:
    """How quickly a target answers one kind of call.

    Args:
        seconds: moving average; None before the first answer, and where the last is more than 300 seconds old.
        p95: the seconds within which 95 of the last 100 answers came; None before there are 20, and likewise.
    """

    seconds: float | None = None
    p95: float | None = None


UNKNOWN = Latency()


class Latencies:
    """What one target's answers to one kind of call took."""

    __slots__ = ("_average", "_latest", "_measured", "_ordered", "_sampled", "_unsorted", "median", "p95")

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=SAMPLES)
        self._ordered: list[float] = []  # the same
        self._average: float | None = None
        self._measured = 0.0
        self._sampled = 0.0
        self._unsorted = 0  # latencies that the percentiles do not include yet
        self.p95: float | None = None
        self.median: float | None = None

    def add(self, seconds: float, now: float, *, sample: bool = True) -> bool:
        """Record an answer.

        Args:
            seconds: what it took.
            now: seconds on the caller's clock.
            sample: whether it counts for the percentiles too, not only for the average.

        Returns:
            Whether the percentiles have changed.
        """
        average = self._average if now - self._measured <= STALE else None
        self._average = seconds if average is None else average + WEIGHT * (seconds - average)
        self._measured = now
        if not sample:
            return False
        latest = self._latest
        stale = bool(latest) and now > self._sampled + REMEMBERED
        if stale:
            self.forget()
        ordered = self._ordered
        if len(ordered) != len(latest):  # the record was loaded
            ordered = self._ordered = sorted(latest)
        if len(latest) == SAMPLES:
            del ordered[bisect_left(ordered, latest[0])]  # it is dropped when the next one comes
        latest.append(seconds)
        insort(ordered, seconds)
        self._sampled = now
        self._unsorted += 1
        if len(latest) < ENOUGH_SAMPLES or (self.p95 is not None and self._unsorted < UNSORTED):
            return stale
        self.p95, self.median = ordered[-1 - len(ordered) // 20], ordered[len(ordered) // 2]  # one in 20 took longer
        self._unsorted = 0
        return True

    def forget(self) -> None:
        """Forget the percentiles and what they are computed from."""
        self._latest.clear()
        self.p95 = self.median = None

    def is_stale(self, now: float) -> bool:
        """Return whether the percentiles are too old to use."""
        return now > self.stale_at()

    def stale_at(self) -> float:
        """Return when the percentiles will be too old; infinity where there are none."""
        return self._sampled + REMEMBERED if self._latest else inf

    def look(self, now: float) -> Latency:
        """Return what is known of the last minutes."""
        if self._average is None or now - self._measured > STALE:
            return UNKNOWN
        return Latency(self._average, self.p95)


class Durations:
    """What one target's answers to one kind of request took: whole answers, first pieces and pauses of streams."""

    __slots__ = ("answers", "ends", "first", "gaps", "learned")

    def __init__(self) -> None:
        self.answers = Latencies()
        self.ends = Latencies()
        self.first = Latencies()
        self.gaps = Latencies()
        self.learned = NOTHING_LEARNT

    def add(
        self,
        now: float,
        *,
        answer: float | None = None,
        plain: bool = False,
        first: float | None = None,
        gap: float | None = None,
        end: float | None = None,
    ) -> bool:
        """Record an answer.

        Args:
            now: seconds on the caller's clock.
            answer: seconds that the whole answer took; None for a stream.
            plain: whether it was asked for plainly, so that nothing was heard of it before.
            end: seconds to its end, in either case.
            first: seconds to the first piece.
            gap: seconds of the longest pause.

        Returns:
            Whether what was learnt has changed.
        """
        changed = answer is not None and self.answers.add(answer, now, sample=plain)
        changed = (first is not None and self.first.add(first, now)) or changed
        changed = (gap is not None and self.gaps.add(gap, now)) or changed
        changed = (end is not None and self.ends.add(end, now)) or changed
        if changed:
            self.learn()
        return changed

    def look(self, now: float) -> Learned:
        """Return what was learnt, unless it is too old."""
        stale = [one for one in (self.answers, self.first, self.gaps, self.ends) if one.is_stale(now)]
        for one in stale:
            one.forget()
        if stale:
            self.learn()
        return self.learned

    def stale_at(self) -> float:
        """Return until when what was learnt stays valid, unless there is another answer."""
        return min(self.answers.stale_at(), self.first.stale_at(), self.gaps.stale_at(), self.ends.stale_at())

    def learn(self) -> None:
        """Combine the percentiles."""
        answers, first, ends = self.answers, self.first, self.ends
        self.learned = Learned(
            answers.p95, answers.median, first.p95, first.median, self.gaps.p95, ends.p95, ends.median
        )


class Failing:
    """How often one target fails: 1.0 with a failure, less with each answer and with time.

    It rises at once and falls slowly, as a Peak EWMA does: one failure is enough to try others first, and while others
    are asked, only time can bring a target back.

    Attributes:
        share: how often it failed when this was last noted.
    """

    __slots__ = ("_since", "share")

    def __init__(self) -> None:
        self.share = 0.0
        self._since = 0.0

    def fail(self, now: float) -> None:
        """Record a failure."""
        self.share, self._since = 1.0, now

    def succeed(self, now: float) -> None:
        """Record an answer."""
        share = self.look(now) * (1 - WEIGHT)
        self.share, self._since = (share if share >= TRACE else 0.0), now

    def look(self, now: float) -> float:
        """Return how often it fails, from 0.0 to 1.0."""
        return self.share and max(self.share * exp(min(self._since - now, 0.0) / FADING), TRACE)
