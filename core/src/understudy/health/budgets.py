"""What a factory counts across all its calls: retries, second requests, concurrent calls, and skipped targets."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from understudy.concurrency.fork_safety import begin_anew_in_child

logger = logging.getLogger("understudy")

WINDOW = 10.0  # seconds over which retries are weighed against calls: Finagle's
BUCKET = 1.0  # seconds
BURST = 10.0  # second requests that can accumulate while idle
SUMMARY = 60.0  # seconds between two summaries of the calls that skip a target


class RetryBudget:
    """Retries over any 10 s: at most a share of the calls of these 10 s, and a reserve. Safe to use from threads.

    Args:
        share: retries for each call.
        reserve: retries a second that are allowed in addition.
        clock: gives seconds, monotonic.
    """

    __slots__ = ("__weakref__", "_calls", "_clock", "_lock", "_retries", "reserve", "share")

    def __init__(self, share: float, reserve: float, clock: Callable[[], float]) -> None:
        self.share = share
        self.reserve = reserve
        self._clock = clock
        self._calls: deque[list[float]] = deque()  # [second, calls]
        self._retries: deque[float] = deque()
        self.begin_anew()
        begin_anew_in_child(self)

    def begin_anew(self) -> None:
        """Recreate the lock; what was counted still counts."""
        self._lock = threading.Lock()

    def deposit(self) -> None:
        """Count a call."""
        now = self._clock()
        second = now // BUCKET
        with self._lock:
            if self._calls and self._calls[-1][0] == second:
                self._calls[-1][1] += 1
            else:
                self._calls.append([second, 1.0])
                while self._calls[0][0] * BUCKET <= now - WINDOW:
                    self._calls.popleft()

    def withdraw(self) -> float | None:
        """Take one retry.

        Returns:
            When it was taken, to give it back with; None where there is none left.
        """
        now = self._clock()
        with self._lock:
            if self._left(now) < 1:
                return None
            self._retries.append(now)
            return now

    def give_back(self, taken: float) -> None:
        """Return a retry that was not made after all; one that no longer counts stays forgotten.

        Args:
            taken: when it was taken.
        """
        with self._lock:
            if taken in self._retries:
                self._retries.remove(taken)

    def left(self) -> float:
        """Return how many retries are left now."""
        now = self._clock()
        with self._lock:
            return self._left(now)

    def _left(self, now: float) -> float:
        while self._retries and self._retries[0] <= now - WINDOW:
            self._retries.popleft()
        calls = sum(count for second, count in self._calls if second * BUCKET > now - WINDOW)
        return self.share * calls + self.reserve * WINDOW - len(self._retries)


class HedgeBudget:
    """Second requests: at most a share of the calls, with a few accumulated. Safe to use from threads.

    Args:
        share: second requests for each call.
    """

    __slots__ = ("__weakref__", "_lock", "_saved", "share")

    def __init__(self, share: float) -> None:
        self.share = share
        self._saved = 1.0
        self.begin_anew()
        begin_anew_in_child(self)

    def begin_anew(self) -> None:
        """Recreate the lock; what has accumulated is kept."""
        self._lock = threading.Lock()

    def deposit(self) -> None:
        """Count a call."""
        with self._lock:
            self._saved = min(self._saved + self.share, BURST)

    def withdraw(self) -> bool:
        """Take one; False where there is none left."""
        with self._lock:
            if self._saved < 1 or not self.share:
                return False
            self._saved -= 1
            return True

    def give_back(self) -> None:
        """Return the latest, because it was not made."""
        with self._lock:
            self._saved = min(self._saved + 1, BURST)


class Bulkhead:
    """Calls under way at the same time; one more than the limit is refused. Safe to use from threads.

    Args:
        limit: the most.
    """

    __slots__ = ("__weakref__", "_lock", "limit", "under_way")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.begin_anew()
        begin_anew_in_child(self)

    def begin_anew(self) -> None:
        """Recreate the lock, and count no call: the threads of those under way do not exist here."""
        self._lock = threading.Lock()
        self.under_way = 0

    def enter(self) -> bool:
        """Count a call that begins; False where there is no room."""
        with self._lock:
            if self.under_way >= self.limit:
                return False
            self.under_way += 1
            return True

    def leave(self) -> None:
        """Count a call that has ended."""
        with self._lock:
            self.under_way = max(self.under_way - 1, 0)  # in a forked process one may end that is not counted


class PassedOver:
    """Counts for the log how many calls skip a target: a line now and then, instead of one for each call.

    Args:
        clock: gives seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counts: dict[str, list[float]] = {}  # since when, and how many

    def add(self, label: str, why: str, *, told: bool) -> None:
        """Count one.

        Args:
            label: the target.
            why: why it is skipped, in a few words.
            told: whether another line has reported it, such as the one about its circuit.
        """
        now = self._clock()
        if label not in self._counts and not told:
            logger.warning("%s is left alone (%s)", label, why)
        since = self._counts.setdefault(label, [now, 0])
        since[1] += 1
        if now - since[0] >= SUMMARY:
            logger.warning("%s is left alone (%s): %d calls in %.0f s", label, why, since[1], now - since[0])
            self._counts[label] = [now, 0]

    def forget(self, label: str) -> None:
        """Start again, once its circuit is closed."""
        self._counts.pop(label, None)
