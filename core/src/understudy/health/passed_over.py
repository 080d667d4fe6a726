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

    def add(self, label: str, why: str, *, told: bool) -> None:
        """Take note of one.

        Args:
            label: the target.
            why: why it is left alone, in a few words.
            told: whether another line has said so, as that about its circuit does.
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
        """Begin anew, where its circuit is closed."""
        self._counts.pop(label, None)
