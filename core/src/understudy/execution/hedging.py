"""Two attempts in parallel: what a hedged call needs from the event loop. The engine decides whom to ask, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import suppress
from typing import Protocol

from understudy.concurrency.threads import start
from understudy.engine.commands import Call, Cancel, Outcome
from understudy.execution import attempt
from understudy.execution.call import Execution
from understudy.response import StreamEvent

_left: set[asyncio.Future[None]] = set()  # attempts that continue on their own: the loop holds only a weak reference
GRACE = 0.05  # seconds that a cancelled attempt gets to close its connection before the call goes on


class Runner(Protocol):
    """One attempt that can be raced."""

    def start(self) -> Awaitable[Outcome]:
        """Run it to its outcome, or until the first piece of its stream is there."""
        ...

    async def close(self) -> None:
        """End it, if it has not ended."""
        ...

    def has_begun(self) -> bool:
        """Return whether pieces of an answer arrive that are not handed out yet."""
        ...


class StreamRunner:
    """An attempt that is a stream, and may be started in one task and continued in another.

    Args:
        execution: the call.
        index: the target.
        pieces: the attempt's pieces; the last item is its outcome.
    """

    __slots__ = ("_execution", "_first", "_index", "_pieces")

    def __init__(self, execution: Execution, index: int, pieces: AsyncGenerator[StreamEvent | Outcome, None]) -> None:
        self._execution = execution
        self._index = index
        self._pieces = pieces
        self._first: StreamEvent | None = None

    async def start(self) -> Outcome:
        """Run it until its first piece is there, or to its end if none comes."""
        first = await anext(self._pieces)
        if isinstance(first, Outcome):
            return first
        self._first = first
        return Outcome(self._execution.runtime.clock(), began=True, index=self._index)

    async def rest(self) -> AsyncIterator[StreamEvent | Outcome]:
        """Continue it, beginning with the first piece."""
        if self._first is not None:
            yield self._first
        async for piece in self._pieces:
            yield piece

    async def close(self) -> None:
        """End it, if it has not ended."""
        await self._pieces.aclose()

    def has_begun(self) -> bool:
        """Return whether pieces arrive that are not handed out yet: of an answer that is held back."""
        return attempt.has_begun(self._execution, self._index)


class Race:
    """The attempts under way in one call.

    Args:
        execution: the call.
    """

    __slots__ = ("_execution", "_runners", "_tasks")

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._runners: dict[int, Runner] = {}
        self._tasks: dict[int, asyncio.Future[Outcome]] = {}

    async def enter(self, command: Call, runner: Runner) -> Outcome:
        """Start an attempt, and return the first outcome of all; or one that is pending, after `hedge_after`."""
        self._runners[command.index] = runner
        self._tasks[command.index] = asyncio.ensure_future(runner.start())
        patience = None if command.alongside else command.hedge_after
        done, _ = await asyncio.wait(self._tasks.values(), timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            return self._pending(command.index)
        return await self._result(next(index for index, task in self._tasks.items() if task in done))

    async def outcome(self, index: int, seconds: float | None = None) -> Outcome:
        """Wait for an attempt's outcome, or for the first piece of its stream; after so many seconds it is pending."""
        # When cancelled, it leaves the attempt to close().
        done, _ = await asyncio.wait({self._tasks[index]}, timeout=seconds)
        return await self._result(index) if done else self._pending(index)

    def runner(self, index: int) -> Runner:
        """Return an attempt."""
        return self._runners[index]

    async def cancel(self, command: Cancel) -> Outcome:
        """Abandon an attempt; the call continues when its connection is closed, or after a moment.

        Returns:
            An outcome with the answer of an attempt that had ended in the meantime, since it has cost something.
        """
        index = command.index
        task, runner = self._tasks.pop(index), self._runners.pop(index)
        task.cancel()
        closing = asyncio.ensure_future(_end(task, runner))
        await asyncio.wait({closing}, timeout=GRACE)
        execution = self._execution
        outcome = Outcome(execution.runtime.clock(), index=index)
        outcome.wasted = attempt.wasted_so_far(execution, index)
        self._give_up(command)
        answered = task.done() and not task.cancelled() and task.exception() is None
        outcome.response = task.result().response if answered else None
        return outcome

    def leave(self, index: int) -> Outcome:
        """Let an attempt continue on its own, to its outcome or the first piece of its stream, even after the call."""
        task, runner, execution = self._tasks.pop(index), self._runners.pop(index), self._execution
        outcome = attempt.leave_to_end(execution, index)

        async def see_to_end() -> None:
            try:
                await _end(task, runner)
            finally:
                self._give_up(Cancel(index))

        left = asyncio.ensure_future(see_to_end())
        _left.add(left)
        left.add_done_callback(_left.discard)
        return outcome

    async def close(self) -> None:
        """Abandon whatever is under way."""
        for task in self._tasks.values():
            task.cancel()
        for index in list(self._tasks):
            await self.cancel(Cancel(index))

    def _give_up(self, command: Cancel) -> None:
        tell = attempt.give_up(self._execution, command)
        if self._execution.aside.store:
            start(tell)
        else:
            tell()

    def _pending(self, index: int) -> Outcome:
        working = self._runners[index].has_begun()
        return Outcome(self._execution.runtime.clock(), pending=True, working=working, index=index)

    async def _result(self, index: int) -> Outcome:
        """Return a decided attempt's outcome; one that has ended is no longer part of the race."""
        outcome = self._tasks[index].result()
        if not outcome.began:
            del self._tasks[index]
            await self._runners.pop(index).close()
        return outcome


async def _end(task: asyncio.Future[Outcome], runner: Runner) -> None:
    """Wait until a cancelled attempt has ended, and close its stream."""
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # retrieved, or asyncio would log it
    with suppress(Exception):
        await runner.close()
