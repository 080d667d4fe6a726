"""The clocks of one attempt: silence, and no progress.

A heartbeat shows that the vendor is at work, and stops the first clock alone. A piece of the answer, or of the thinking
before it, is progress and stops both.
"""

from __future__ import annotations

from collections.abc import Callable

from understudy.engine.timeouts import Times
from understudy.errors import Timeout
from understudy.response import Heartbeat, StreamEvent, TextDelta, ThinkingDelta

HAIR = 0.001  # seconds by which a timer may be off


class Clocks:
    """What one attempt's stream may take, and what it took.

    Args:
        times: the seconds.
        clock: gives seconds, monotonic.

    Attributes:
        times: the seconds.
        first_at: when the first piece with substance came; None before that.
        gap: the longest pause between two pieces so far, in seconds.
        characters: how many were written so far, thinking included.
    """

    __slots__ = ("_clock", "_due", "_heard", "_progress", "characters", "first_at", "gap", "started", "times")

    def __init__(self, times: Times, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.times = times
        self.started = self._heard = self._progress = clock()
        self.first_at: float | None = None
        self.gap = 0.0
        self.characters = 0
        self._due = self._ends()  # when the next event is late

    def patience(self) -> float:
        """Return how many seconds the next event may take."""
        return max(self._due - self._clock(), 0.0)

    def is_out_of_time(self) -> bool:
        """Return whether the next event is late, or late within a hair."""
        return self.patience() <= HAIR

    def is_over(self) -> bool:
        """Return whether the next event is late."""
        return self._clock() > self._due

    def is_working(self) -> bool:
        """Return whether pieces have come and the next one is not late, not even by a hair."""
        return self.first_at is not None and self._due - self._clock() > HAIR

    def hear(self, event: StreamEvent) -> bool:
        """Record an event; return whether it is progress."""
        now = self._clock()
        self._heard = now
        if type(event) is Heartbeat:
            self._due = self._ends()
            return False
        if type(event) is TextDelta or type(event) is ThinkingDelta:
            self.characters += len(event.text)
            if self.first_at is None and not event.text.strip():
                self._due = self._ends()
                return False  # white space is a sign of life, and nothing to show
        if self.first_at is None:
            self.first_at = now
        elif now - self._progress > self.gap:
            self.gap = now - self._progress
        self._progress = now
        self._due = min(now + self.times.idle, now + self.times.silence)
        return True

    def timed_out(self) -> Timeout:
        """Return the failure of an attempt whose next event is late."""
        times = self.times
        if self._heard + times.silence < self._progress_ends():
            return Timeout(f"no sign of life within {times.silence:g} s")
        if self.first_at is None:
            return Timeout(f"no answer within {times.first:.3g} s")
        return Timeout(f"no further piece within {times.idle:.3g} s")

    def _ends(self) -> float:
        return min(self._progress_ends(), self._heard + self.times.silence)

    def _progress_ends(self) -> float:
        return self.started + self.times.first if self.first_at is None else self._progress + self.times.idle
