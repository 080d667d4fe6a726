"""A background event loop for sync calls that must end in time.

A blocking call ends when the vendor's SDK lets it; a coroutine can be cancelled at any moment, down to its socket. So a
sync call with a deadline is run as a coroutine on a loop in a thread of its own, one for the process, and the caller
waits at a gate: a lock that the loop's side opens, the cheapest thing that a thread can wait for.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

from understudy.concurrency.threads import DaemonExecutor, shut_gate

T = TypeVar("T")

PATIENCE = 1.0  # seconds that cancelled work gets to clean up before its caller, or the interpreter's exit, goes on
GRACE = 0.2  # seconds at exit for work nobody waits for (connections being closed) before it is cancelled
SLICE = 0.1 if sys.platform == "win32" else -1  # seconds; on Windows no Ctrl-C reaches a thread that waits for a lock
_END = object()


def run(function: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine on the background loop, with the caller's context variables, and wait for it.

    Where the caller is itself on the background loop (an extension that makes a sync call of its own), the coroutine
    runs on a second one; the first one, with every call on it, is blocked meanwhile.

    Args:
        function: makes the coroutine; it is called on the loop.

    Returns:
        What the coroutine returns.

    Raises:
        BaseException: what the coroutine raises; or what interrupts the caller, such as KeyboardInterrupt, after the
            coroutine was cancelled and had a second to clean up.
    """
    call = _Call(_free(), function)
    try:
        _wait(call.background, call.begin, call.over)
    except BaseException:
        call.abandon()
        raise
    call.raise_error()
    result: T = call.result
    return result


def iterate(function: Callable[[], AsyncIterator[T]]) -> Iterator[T]:
    """Iterate over an asynchronous iterator on the background loop. Nothing is read before the caller asks for it.

    All of its steps run in one task, with the context variables that the caller has at the first step. When the caller
    closes the iteration early, or is interrupted, the asynchronous iterator is closed on the loop, in a second at most.

    Args:
        function: makes the asynchronous iterator; it is called on the loop.
    """
    call = _Iteration(_free(), function)
    try:
        _wait(call.background, call.begin, call.ready)
        while not call.ended:
            yield call.result
            _wait(call.background, call.go_on, call.ready)
    except BaseException as reason:
        call.abandon()
        if isinstance(reason, GeneratorExit):
            call.raise_error()  # what the iterator's own cleaning up raises, as close() of a plain generator does
        raise
    call.raise_error()


class _Background:
    """An event loop and its thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_default_executor(DaemonExecutor(1))  # names are looked up there, which can hang as well
        self.calls: set[_Call] = set()  # those that somebody waits for
        self.blocked = False  # by a sync call, on this loop, that waits for another one
        self.ending = False
        self.lost = False  # its thread is the parent's, and this a forked process
        self.thread = threading.Thread(target=self._run, name="understudy", daemon=True)
        try:
            self.thread.start()
        except RuntimeError:  # no more threads: the interpreter is about to end
            self.loop.close()
            raise
        self.ident = self.thread.ident or 0

    def _run(self) -> None:
        while not self.ending:
            with suppress(SystemExit, KeyboardInterrupt):  # it also reaches what awaits the task that raised it
                self.loop.run_forever()
        self.loop.close()

    def end(self) -> None:
        """Make the loop end soon; called from another thread."""
        self.ending = True
        self.loop.set_exception_handler(lambda loop, context: None)  # what ignores this is not reported
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(lambda: self.loop.create_task(self._end()))

    async def _end(self) -> None:
        for call in self.calls:
            call.cancel()
        for patience in (GRACE, PATIENCE):
            if others := asyncio.all_tasks() - {asyncio.current_task()}:
                _, left = await asyncio.wait(others, timeout=patience)
                for task in left:
                    task.cancel()
        await self.loop.shutdown_asyncgens()
        self.loop.stop()


class _Call:
    """A coroutine on its way, and the gate at which its caller waits."""

    __slots__ = ("background", "ended", "error", "function", "over", "result", "task")

    def __init__(self, background: _Background, function: Callable[[], Any]) -> None:
        self.background = background
        self.function = function
        self.over = shut_gate()
        self.ended = False
        self.task: asyncio.Task[None] | None = None
        self.result: Any = None
        self.error: BaseException | None = None

    # ---- on the loop ----

    def begin(self) -> None:
        self.background.calls.add(self)
        self.task = self.background.loop.create_task(self.work())

    async def work(self) -> None:
        try:
            self.result = await self.function()
        except BaseException as error:
            self.error = error.with_traceback(_below(error))
        self.end()

    def end(self) -> None:
        self.ended = True
        self.background.calls.discard(self)
        if not self.background.ending:  # at the exit only daemon threads can wait, and these stop where they are
            self.over.release()

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()
        elif not self.ended:  # its caller was interrupted before it could begin
            self.end()

    # ---- in the caller's thread ----

    def abandon(self) -> None:
        """Cancel what is left, and give it a moment."""
        if self.ended or self.background.ending:
            return
        with suppress(RuntimeError):  # the loop is closed
            self.background.loop.call_soon_threadsafe(self.cancel)
            on_its_loop = threading.get_ident() == self.background.ident  # where garbage is collected by chance
            if not on_its_loop and not self.over.acquire(timeout=PATIENCE):
                self.background.loop.call_soon_threadsafe(self.cancel)

    def raise_error(self) -> None:
        error, self.error = self.error, None
        try:
            if error is not None:
                raise error
        finally:
            del error


class _Iteration(_Call):
    """An asynchronous iterator on its way, and the gate at which its caller waits for the next piece."""

    __slots__ = ("asked", "ready")

    def __init__(self, background: _Background, function: Callable[[], Any]) -> None:
        super().__init__(background, function)
        self.ready = shut_gate()
        self.asked: asyncio.Future[bool] | None = None  # whether the iteration goes on

    async def work(self) -> None:
        source: Any = None
        try:
            source = self.function()
            while (piece := await anext(source, _END)) is not _END:
                self.result = piece
                self.asked = self.background.loop.create_future()
                self.ready.release()
                if not await self.asked:
                    break
        except BaseException as error:
            self.error = error.with_traceback(_below(error))
        try:
            if hasattr(source, "aclose"):
                await source.aclose()
        except BaseException as error:
            self.error = self.error or error.with_traceback(_below(error))
        self.end()

    def end(self) -> None:
        super().end()
        if not self.background.ending and self.ready.locked():
            self.ready.release()

    def go_on(self) -> None:
        if self.asked is not None and not self.asked.done():
            self.asked.set_result(True)

    def cancel(self) -> None:
        if self.asked is not None and not self.asked.done():
            self.asked.set_result(False)
        else:
            super().cancel()


def _free() -> _Background:
    """Return a loop that can run something for this thread.

    A thread that runs a loop itself blocks it from this moment on: two such threads that chose at the same time could
    otherwise choose, and wait for, each other.
    """
    here = _backgrounds.get(threading.get_ident())
    if here is None:
        for one in tuple(_backgrounds.values()):
            if not one.blocked:
                return one
    with _lock:
        if here is not None:
            here.blocked = True
        for one in _backgrounds.values():  # another thread may have been quicker
            if not one.blocked:
                return one
        try:
            one = _Background()
        except RuntimeError:
            if here is not None:
                here.blocked = False
            raise
        _backgrounds[one.ident] = one
        return one


def _wait(background: _Background, callback: Callable[[], None], gate: threading.Lock) -> None:
    """Run a callback on a loop, and wait at a gate."""
    if background.lost:
        raise RuntimeError("this stream was begun before the process was forked: it goes on in the parent alone")
    here = _backgrounds.get(threading.get_ident())
    if here is not None:
        here.blocked = True
    try:
        background.loop.call_soon_threadsafe(callback)
        while not gate.acquire(True, SLICE):
            pass
    finally:
        if here is not None:
            here.blocked = False


def _below(error: BaseException) -> TracebackType | None:
    """Return an error's traceback without the frame that caught it, which is ours."""
    return error.__traceback__ and error.__traceback__.tb_next


_lock = threading.Lock()
_backgrounds: dict[int, _Background] = {}  # by their threads
_lost: list[_Background] = []


def _end() -> None:
    latest = time.monotonic() + PATIENCE
    backgrounds = list(_backgrounds.values())  # another thread may make one more meanwhile
    for one in backgrounds:
        one.end()
    for one in backgrounds:
        one.thread.join(max(0.0, latest - time.monotonic()))
    _backgrounds.clear()


def _forget() -> None:
    """Reset in a forked process, where no other thread is left.

    The loops are kept, since closing them would take the parent's connections out of the parent's selector; but
    whatever knows of them must treat them as closed.
    """
    global _lock
    _lock = threading.Lock()
    for one in _backgrounds.values():
        one.ending = one.lost = True
        with suppress(AttributeError):  # of a loop that is not written in Python
            one.loop.is_closed = lambda: True  # type: ignore[method-assign]  # on purpose, see above
    _lost.extend(_backgrounds.values())
    _backgrounds.clear()


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
