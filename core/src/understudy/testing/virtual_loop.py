"""An event loop whose time is a VirtualClock's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol


class Clock(Protocol):
    """What the loop needs from a clock."""

    now: float

    def advance(self, seconds: float) -> None:
        """Advance the clock."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Advances the clock at once whenever only timers are left to wait for.

    Args:
        clock: whose time it is.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        selector: Any = self._selector  # type: ignore[attr-defined]  # every selector loop has it, the stubs do not
        self._really_select: Callable[[float | None], list[Any]] = selector.select
        selector.select = self._select

    def time(self) -> float:
        """Return the seconds on the clock."""
        return self._clock.now

    def _select(self, timeout: float | None) -> list[Any]:
        if timeout is None:  # a thread, or a socket, will wake it
            return self._really_select(None)
        events = self._really_select(0)
        if not events and timeout > 0:
            self._clock.advance(timeout)
        return events
