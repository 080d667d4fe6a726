"""A time limit for code on an event loop, including its cleanup."""

from __future__ import annotations

import asyncio
from types import TracebackType

from understudy.concurrency.out_of_time import OutOfTime

GRACE = 0.04  # seconds for cleanup once the time is over: a call ends within 50 ms of its deadline


class CancelScope:
    """Cancels the running task after so many seconds, and again if its cleanup takes longer than GRACE.

    asyncio.timeout cancels once, so that a provider which is slow to clean up would outlast any deadline.

    Args:
        seconds: how long the block may take.

    Raises:
        OutOfTime: on leaving the block, it took longer.
    """

    __slots__ = ("_before", "_cancels", "_handle", "_loop", "_seconds", "_task")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._cancels = 0

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # a coroutine is run by one
        self._task = task
        self._before = task.cancelling()
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_later(self._seconds, self._cancel)

    def _cancel(self) -> None:
        self._cancels += 1
        self._task.cancel()
        if self._cancels == 1:
            self._handle = self._loop.call_later(GRACE, self._cancel)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._handle.cancel()
        for _ in range(self._cancels):
            self._task.uncancel()
        others_too = self._task.cancelling() > self._before
        if self._cancels and not others_too and isinstance(error, Exception | asyncio.CancelledError):
            raise OutOfTime from error
