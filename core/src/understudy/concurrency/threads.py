"""Blocking calls that code on an event loop can abandon: they run in daemon threads, without a fixed limit."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")

MOST_IDLE = 16  # threads that are kept for the next calls; those beyond end with their call


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Run a blocking function in a daemon thread, with the caller's context variables, and wait for it.

    Unlike in the loop's executor, a call that hangs does not use up one of a few threads and does not delay the
    interpreter's exit. When cancelled, the thread is abandoned and its result is dropped.

    Returns:
        What the function returns.

    Raises:
        BaseException: what the function raises.
    """
    loop = asyncio.get_running_loop()
    settled: asyncio.Future[None] = loop.create_future()
    outcomes: list[tuple[Any, BaseException | None]] = []
    context = copy_context()

    def settle() -> None:
        if not settled.done():
            settled.set_result(None)

    def work() -> None:
        try:
            outcomes.append((context.run(function, *args), None))
        except BaseException as error:
            traceback = error.__traceback__ and error.__traceback__.tb_next  # without this frame
            outcomes.append((None, error.with_traceback(traceback)))
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle)

    start(work)
    await settled
    result, error = outcomes.pop()
    try:
        if error is not None:
            raise error
        value: T = result
        return value
    finally:
        del error  # it keeps this frame, which would keep it


def start(function: Callable[[], object]) -> None:
    """Run a function in a daemon thread. Whatever it returns or raises is dropped."""
    try:
        worker = _idle.pop()
    except IndexError:
        worker = _Worker()
    worker.take(function)


def shut_gate() -> threading.Lock:
    """Return a locked lock: the cheapest thing that a thread can wait for, until another one releases it."""
    gate = threading.Lock()
    gate.acquire()
    return gate


class DaemonExecutor(ThreadPoolExecutor):
    """An executor for an event loop whose threads never run out and do not delay the interpreter's exit."""

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run a function in a daemon thread."""
        future: Future[T] = Future()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    result = function(*args, **kwargs)
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)

        start(work)
        return future


class _Worker:
    """A thread that runs one function after another."""

    def __init__(self) -> None:
        self._gate = shut_gate()
        self._function: Callable[[], object] | None = None
        threading.Thread(target=self._run, name="understudy-worker", daemon=True).start()

    def take(self, function: Callable[[], object]) -> None:
        self._function = function
        self._gate.release()

    def _run(self) -> None:
        while self._gate.acquire():
            function, self._function = self._function, None
            if function is not None:
                with suppress(BaseException):
                    function()
            del function  # and with it all that it holds, while the thread waits
            if len(_idle) >= MOST_IDLE:
                return
            _idle.append(self)


_idle: list[_Worker] = []

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # no thread is left in a forked process
