"""A time limit for code on an event loop, including its cleanup."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

from understudy.concurrency.out_of_time import OutOfTime

HAIR = 0.001  # seconds by which a timer may be early
GRACE = 0.04  # seconds for cleanup once the time is over: a call ends within 50 ms of its deadline


class CancelScope:
    """Cancels the running task after so many seconds, and again if its cleanup takes longer than GRACE.

    asyncio.timeout cancels once, so that a provider which is slow to clean up would outlast any deadline.

    Args:
        seconds: how long the block may take.
        again: whether further blocks follow, each with a new value of `seconds`: they share one timer, which is not
            restarted for each of them. `close` stops it.

    Raises:
        OutOfTime: the block took longer; raised on leaving it.
    """

    __slots__ = ("_again", "_before", "_cancels", "_due", "_loop", "_task", "_timer", "seconds")

    def __init__(self, seconds: float = 0.0, *, again: bool = False) -> None:
        self.seconds = seconds
        self._again = again
        self._task: asyncio.Task[Any] | None = None  # while a block runs
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._task = task = asyncio.current_task()
        assert task is not None  # a coroutine is run by one
        self._before = task.cancelling()
        self._cancels = 0
        self._loop = loop = task.get_loop()
        self._due = due = loop.time() + self.seconds
        timer = self._timer
        if timer is None or timer.when() > due:
            self.close()
            self._timer = loop.call_at(due, self._expire)

    def _expire(self) -> None:
        self._timer = None
        if self._task is None:
            return
        if not self._cancels and self._due - self._loop.time() > HAIR:  # set for a block before this one
            self._timer = self._loop.call_at(self._due, self._expire)
            return
        self._cancels += 1
        self._task.cancel()
        if self._cancels == 1:
            self._timer = self._loop.call_later(GRACE, self._expire)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        assert task is not None
        if self._cancels or not self._again:
            self.close()
        if not self._cancels:
            return
        for _ in range(self._cancels):
            task.uncancel()
        if task.cancelling() <= self._before and isinstance(error, Exception | asyncio.CancelledError):
            raise OutOfTime from error

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
