"""What a caller's own limits leave of a target: requests and tokens per minute, dollars per day, slots.

A sliding window in 60 slices: an amount is given back when its whole slice is older than the window, so that never more
than the limit falls within any period of that length. No clock and no lock of its own.
"""

from __future__ import annotations

from collections import deque

from understudy.limits import Limits

SLICES = 60
MINUTE, DAY = 60.0, 86_400.0  # seconds
UNITS = ("requests a minute", "tokens a minute", "dollars a day")


class Window:
    """How much was used of one limit.

    Args:
        limit: the most within any `seconds`.
        seconds: the window's length.
    """

    __slots__ = ("_slice", "_slices", "limit", "seconds", "used")

    def __init__(self, limit: float, seconds: float) -> None:
        self.limit = limit
        self.seconds = seconds
        self.used = 0.0
        self._slice = seconds / SLICES
        self._slices: deque[list[float]] = deque()  # [number, amount], oldest first

    def wait_for(self, amount: float, now: float) -> float:
        """Return how many seconds it is until this amount fits: 0.0 for now, infinity for never."""
        if self.used + amount <= self.limit:
            return 0.0
        self.expire(now)
        missing = self.used + amount - self.limit
        if missing <= 0:
            return 0.0
        if amount > self.limit:
            return float("inf")
        free_at = now
        for number, held in self._slices:
            free_at = (number + 1) * self._slice + self.seconds
            missing -= held
            if missing <= 0:
                break
        return free_at - now  # with the last slice gone there is room, whatever rounding left of `missing`

    def reserve(self, amount: float, now: float) -> float:
        """Count an amount, and return the number of its slice, to settle it with."""
        self.expire(now)
        number = now // self._slice
        if self._slices and self._slices[-1][0] >= number:
            number = self._slices[-1][0]
            self._slices[-1][1] += amount
        else:
            self._slices.append([number, amount])
        self.used += amount
        return number

    def settle(self, number: float, reserved: float, used: float, now: float) -> None:
        """Replace what was reserved with what was used; 0 releases it."""
        self.expire(now)
        for entry in reversed(self._slices):
            if entry[0] == number:
                entry[1] += used - reserved
                self.used += used - reserved
                return
        if used > 0:  # its slice is over: what was just spent counts from now
            self.reserve(used, now)

    def is_unused(self, now: float) -> bool:
        """Return whether nothing counts any more."""
        self.expire(now)
        return not self._slices

    def expire(self, now: float) -> None:
        """Forget what is older than the window."""
        while self._slices and (self._slices[0][0] + 1) * self._slice + self.seconds <= now:
            self.used -= self._slices.popleft()[1]
        if not self._slices:
            self.used = 0.0  # no rounding error remains


class Allowance:
    """The windows and slots of one target under its Limits."""

    __slots__ = ("_slots", "_windows", "limits")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._windows = tuple(
            (which, Window(limit, seconds))
            for which, limit, seconds in (
                (0, limits.requests_per_minute, MINUTE),
                (1, limits.tokens_per_minute, MINUTE),
                (2, limits.spend_per_day, DAY),
            )
            if limit is not None
        )
        self._slots: dict[int, float] = {}  # token -> when its lease ends

    def wait_for(self, tokens: float, cost: float, now: float) -> tuple[float, str, bool]:
        """Return how many seconds it is until such a request fits, and which limit it waits for longest.

        Last comes whether that is a slot: then another request must end first, and the seconds are those of its lease.
        """
        amounts = (1.0, tokens, cost)
        longest, reason = 0.0, ""
        for which, window in self._windows:
            wait = window.wait_for(amounts[which], now)
            if wait > longest:
                longest, reason = wait, f"{window.limit:g} {UNITS[which]}"
        if self.limits.concurrent is not None:
            if len(self._slots) >= self.limits.concurrent:
                self._slots = {token: until for token, until in self._slots.items() if until > now}
            if len(self._slots) >= self.limits.concurrent and not longest:
                return min(self._slots.values()) - now, f"{self.limits.concurrent} at once", True
        return longest, reason, False

    def reserve(self, tokens: float, cost: float, now: float, token: int, lease: float) -> tuple[float, ...]:
        """Take what a request will need, and return what settles it."""
        if self.limits.concurrent is not None:
            self._slots[token] = now + lease
        amounts = (1.0, tokens, cost)
        return tuple([window.reserve(amounts[which], now) for which, window in self._windows])

    def settle(
        self,
        reserved: tuple[float, ...],
        before: tuple[float, float],
        after: tuple[float, float] | None,
        now: float,
        token: int,
    ) -> None:
        """Release a request's slot, and replace what was reserved by what it used.

        Args:
            reserved: what `reserve` returned.
            before: the tokens and dollars that were reserved.
            after: the tokens and dollars that were used; None for a request that was not made, which releases all.
            now: seconds on the caller's clock.
            token: the request's token.
        """
        self._slots.pop(token, None)
        first = (1.0, *before)
        then = (1.0, *after) if after is not None else (0.0, 0.0, 0.0)
        for number, (which, window) in zip(reserved, self._windows, strict=True):
            if first[which] != then[which]:
                window.settle(number, first[which], then[which], now)

    def is_unused(self, now: float) -> bool:
        """Return whether nothing is reserved or used, as if it were new."""
        return all(window.is_unused(now) for _, window in self._windows) and all(
            until <= now for until in self._slots.values()
        )

    def left(self, now: float) -> dict[str, float]:
        """Return what is left of each limit."""
        for _, window in self._windows:
            window.expire(now)
        return {UNITS[which]: max(window.limit - window.used, 0.0) for which, window in self._windows}
