"""Run a call on an event loop: a whole answer or a stream. Nothing is decided here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from understudy.concurrency.cancel import CancelScope
from understudy.concurrency.out_of_time import OutOfTime
from understudy.concurrency.threads import in_thread, start
from understudy.engine.commands import Admit, Await, Call, Cancel, Leave, Outcome, Wait
from understudy.engine.decision import Procedure
from understudy.errors import ConnectionFailed, StreamInterrupted
from understudy.execution import attempt
from understudy.execution.call import Execution, finish
from understudy.execution.stream_recovery import Delivery
from understudy.messages import Request
from understudy.response import AttemptOutcome, Finish, LLMResponse, StreamEvent

T = TypeVar("T")


async def run(execution: Execution) -> LLMResponse:
    """Run a call to its end on the running event loop; an attempt that exceeds its time is cancelled."""
    clock = execution.runtime.clock
    execution.concurrent = True
    procedure = await _begin(execution, streaming=False)
    answer: LLMResponse | None = None
    race: Any = None
    try:
        command = next(procedure)
        while True:
            if type(command) is Call:
                late = await _make_ready(execution, command)
                if late is not None:
                    outcome = late
                elif command.hedge_after is None and not command.alongside:
                    outcome = await _attempt(execution, command)
                else:
                    race = race or _race(execution)
                    outcome = await race.enter(command, _Runner(execution, command))
                answer = outcome.response
            elif type(command) is Wait:
                await _aside(execution.aside.listeners, execution.reporter.wait, command)
                await execution.runtime.async_sleep(command.seconds)
                outcome = Outcome(clock())
            elif type(command) is Await:
                outcome = await race.outcome(command.index, command.seconds)
                answer = outcome.response
            elif type(command) is Cancel:
                outcome = await race.cancel(command)
                await _tell_end(execution, command.index, "cancelled")
            elif type(command) is Leave:
                outcome = race.leave(command.index)
                await _tell_end(execution, command.index, "left to end")
            elif execution.aside.listeners or (type(command) is Admit and execution.admits_aside(command.index)):
                outcome = await _aside(True, execution.settle, command)
            else:
                outcome = execution.settle(command)
            command = procedure.send(outcome)
    except StopIteration as stop:
        return await _aside(execution.aside.listeners, execution.conclude, stop.value, answer)
    finally:
        await _leave(execution, race)


async def _attempt(execution: Execution, command: Call) -> Outcome:
    started, task = execution.runtime.clock(), asyncio.current_task()
    cancelled = 0 if task is None else task.cancelling()
    try:
        request = await _aside(execution.aside.checks or execution.aside.listeners, attempt.prepare, execution, command)
        if execution.attempts[command.index].streamed:
            reply = await _whole(execution, command, request)
        else:
            with CancelScope(command.timeout):
                reply = await execution.providers[command.index].agenerate(request)
        response = await _aside(execution.aside.checks, attempt.accept, execution, command, request, reply)
        outcome = attempt.succeeded(execution, command, response)
    except (Exception, asyncio.CancelledError) as error:
        outcome = attempt.failed(execution, command, _not_ours(error, task, cancelled))
    return await _aside(execution.aside.store, attempt.record, execution, command, outcome, started)


async def _whole(execution: Execution, command: Call, request: Request) -> Any:
    """Ask for a whole answer as a stream, so that its pieces and the vendor's signs of life are seen."""
    clock, clocks = execution.runtime.clock, attempt.clocks_of(execution, command.index)
    until = clock() + command.timeout
    source = execution.providers[command.index].astream(request)
    limit = CancelScope(again=True)
    try:
        while True:
            limit.seconds = max(min(clocks.patience(), until - clock()), 0.0)
            with limit:
                event = await anext(source, None)
            if event is None:
                raise StreamInterrupted("the stream ended without its end marker")
            if type(event) is Finish:
                return event.response
            if attempt.heard(execution, command.index, event):
                await _aside(execution.aside.store, attempt.first_sign, execution, command.index)
    finally:
        limit.close()
        await _close(execution, command, source)


async def stream(execution: Execution) -> AsyncIterator[StreamEvent]:
    """Run a call as a stream on the running event loop; what exceeds its time is cancelled.

    Raises:
        StreamInterrupted: the stream broke off after its first token, and no target continued it.
    """
    clock = execution.runtime.clock
    execution.concurrent = True
    procedure = await _begin(execution, streaming=True)
    outcome: Any
    answer: LLMResponse | None = None
    pieces: Any = None
    race: Any = None
    try:
        command = next(procedure)
        while True:
            if isinstance(command, Call | Await):
                pieces = None
                if isinstance(command, Await):
                    outcome = await race.outcome(command.index, command.seconds)
                    pieces = race.runner(command.index).rest() if outcome.began else None
                elif (late := await _make_ready(execution, command)) is not None:
                    outcome = late
                elif command.hedge_after is None and not command.alongside:
                    pieces = _pieces(execution, command)
                else:
                    from understudy.execution.hedging import StreamRunner

                    race = race or _race(execution)
                    runner = StreamRunner(execution, command.index, _pieces(execution, command))
                    outcome = await race.enter(command, runner)
                    pieces = runner.rest() if outcome.began and not command.alongside else None
                if pieces is not None:
                    async for outcome in pieces:
                        if type(outcome) is not Outcome:
                            yield outcome
                answer = outcome.response
            elif type(command) is Wait:
                await _aside(execution.aside.listeners, execution.reporter.wait, command)
                await execution.runtime.async_sleep(command.seconds)
                outcome = Outcome(clock())
            elif type(command) is Cancel:
                outcome = await race.cancel(command)
                await _tell_end(execution, command.index, "cancelled")
            elif type(command) is Leave:
                outcome = race.leave(command.index)
                await _tell_end(execution, command.index, "left to end")
            elif execution.aside.listeners or (type(command) is Admit and execution.admits_aside(command.index)):
                outcome = await _aside(True, execution.settle, command)
            else:
                outcome = execution.settle(command)
            command = procedure.send(outcome)
    except StopIteration as stop:
        end = await _aside(execution.aside.listeners, finish, execution, stop.value, answer)
    finally:
        try:
            if pieces is not None:
                await pieces.aclose()
        finally:
            await _leave(execution, race)
    yield end


async def _pieces(execution: Execution, command: Call) -> AsyncGenerator[StreamEvent | Outcome, None]:
    """Run one attempt: yield its pieces for the caller, and finally its outcome."""
    started, task = execution.runtime.clock(), asyncio.current_task()
    cancelled = 0 if task is None else task.cancelling()
    source: Any = None
    delivery: Delivery | None = None
    rest: list[StreamEvent] = []
    limit = CancelScope(again=True)
    try:
        request = await _aside(execution.aside.checks or execution.aside.listeners, attempt.prepare, execution, command)
        delivery, clocks = attempt.delivery_of(execution, command.index), attempt.clocks_of(execution, command.index)
        source = execution.providers[command.index].astream(request)
        while True:
            task = asyncio.current_task()  # each piece may be asked for in another one
            cancelled = 0 if task is None else task.cancelling()
            limit.seconds = delivery.patience()
            with limit:
                event = await anext(source, None)
            if event is None:
                raise StreamInterrupted("the stream ended without its end marker")
            if type(event) is Finish:
                whole = delivery.complete(event.response)
                response = await _aside(execution.aside.checks, attempt.accept, execution, command, request, whole)
                rest = delivery.release()
                outcome = attempt.succeeded(execution, command, response)
                break
            silent = clocks.first_at is None
            taken = delivery.take(event)
            if silent and clocks.first_at is not None:
                await _aside(execution.aside.store, attempt.first_sign, execution, command.index)
            for given in taken:
                yield given
    except (Exception, asyncio.CancelledError) as error:
        outcome = attempt.failed(execution, command, _not_ours(error, task, cancelled), delivery)
    finally:
        limit.close()
        await _close(execution, command, source)
    outcome = await _aside(execution.aside.store, attempt.record, execution, command, outcome, started, delivery)
    for given in rest:
        yield given
    yield outcome


async def _close(execution: Execution, command: Call, source: Any) -> None:
    close = getattr(source, "aclose", None)
    if close is not None:
        try:
            with CancelScope(attempt.seconds_to_close(execution)):
                await close()
        except Exception:
            execution.reporter.unclosed(command.index)


async def _make_ready(execution: Execution, command: Call) -> Outcome | None:
    if execution.is_ready(command.index):
        return None
    started, deadline = execution.runtime.clock(), execution.deadline
    if deadline is None:
        await in_thread(execution.make_ready, command.index)
        return None
    with suppress(OutOfTime), CancelScope(max(deadline - started, 0.0)):
        await in_thread(execution.make_ready, command.index)
    return await _aside(execution.aside.store, attempt.if_late, execution, command, started)


class _Runner:
    """An attempt at a whole answer, as hedging needs it."""

    __slots__ = ("_command", "_execution")

    def __init__(self, execution: Execution, command: Call) -> None:
        self._execution = execution
        self._command = command

    async def start(self) -> Outcome:
        return await _attempt(self._execution, self._command)

    async def close(self) -> None:
        pass

    def has_begun(self) -> bool:
        return attempt.has_begun(self._execution, self._command.index)


async def _begin(execution: Execution, *, streaming: bool) -> Procedure:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "expected a running event loop of asyncio, found none: under trio or another library, call "
            "generate_content or stream_content in a thread, as with trio.to_thread.run_sync"
        ) from None
    return await _aside(
        execution.orders_aside or execution.aside.listeners, partial(execution.begin, streaming=streaming)
    )


async def _leave(execution: Execution, race: Any) -> None:
    """Release what the call still holds, without making a cancelled caller wait for a store."""
    try:
        if race is not None:
            await race.close()
    finally:
        if execution.admission.store.blocks:
            start(execution.leave)
        else:
            execution.leases.leave()
            await _aside(execution.aside.listeners, execution.tell_left)


async def _tell_end(execution: Execution, index: int, outcome: AttemptOutcome) -> None:
    if execution.reporter.listens:
        await _aside(execution.aside.listeners, execution.tell_end, index, outcome)


def _race(execution: Execution) -> Any:
    from understudy.execution.hedging import Race  # imports asyncio, which sync calls do not need

    return Race(execution)


def _not_ours(error: BaseException, task: asyncio.Task[Any] | None, cancelled: int) -> BaseException:
    """Return the provider's own failure: its own cancellation is one; whatever follows the call's cancellation is not.

    Args:
        error: what was raised.
        task: the one that runs the attempt.
        cancelled: how often that had been cancelled before.

    Raises:
        CancelledError: the call was cancelled.
    """
    own = isinstance(error, asyncio.CancelledError)
    if task is not None and task.cancelling() > cancelled:
        raise error if own else asyncio.CancelledError from error
    return ConnectionFailed("the provider cancelled its own work") if own else error


async def _aside(aside: bool, function: Callable[..., T], *arguments: Any) -> T:
    """Call a function: in a thread if it would block the event loop."""
    if not aside:
        return function(*arguments)
    return await in_thread(function, *arguments)
