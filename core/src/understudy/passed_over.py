"""Counts for the log how many calls pass a target over."""

from __future__ import annotations

import logging
from collections.abc import Callable

logger = logging.getLogger("understudy")

SUMMARY = 60.0  # seconds from one summary to the next, while a target is left alone


class PassedOver:
    """Counts for the log how many calls pass a target over: a line now and then, instead of one for each call.

    Args:
        clock: gives seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counts: dict[str, list[float]] = {}  # since when, and how many

    def add(self, label: str, why: str) -> None:
        """Take note of one; the first is told of by the line about the circuit itself."""
        now = self._clock()
        since = self._counts.setdefault(label, [now, 0])
        since[1] += 1
        if now - since[0] >= SUMMARY:
            logger.warning("%s is left alone (%s): %d calls in %.0f s", label, why, since[1], now - since[0])
            self._counts[label] = [now, 0]

    def forget(self, label: str) -> None:
        """Begin anew, where a circuit has changed."""
        self._counts.pop(label, None)
