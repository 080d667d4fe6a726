"""Run a sync call: a whole answer or a stream. Nothing is decided here.

A sync call that must end in time whatever its provider does runs as an async one, on an event loop in the background:
there it can be cancelled at any moment, down to its connection.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

from understudy.concurrency.out_of_time import OutOfTime, next_by
from understudy.engine.commands import Call, Outcome, Wait
from understudy.errors import StreamInterrupted, Timeout
from understudy.execution import attempt
from understudy.execution.call import Execution, finish
from understudy.messages import Request
from understudy.response import Finish, LLMResponse, StreamEvent

if TYPE_CHECKING:
    from understudy.execution.stream_recovery import Delivery


def run(execution: Execution) -> LLMResponse:
    """Run a call to its end."""
    if _needs_loop(execution, streaming=False):
        from understudy.concurrency import portal  # imports asyncio, which other sync calls do not need
        from understudy.execution import async_driver

        execution.visit()
        return portal.run(lambda: async_driver.run(execution))
    clock = execution.runtime.clock
    procedure = execution.begin()
    answer: LLMResponse | None = None
    try:
        command = next(procedure)
        while True:
            if type(command) is Call:
                outcome = _attempt(execution, command)
                answer = outcome.response
            elif type(command) is Wait:
                execution.reporter.wait(command)
                execution.runtime.sleep(command.seconds)
                outcome = Outcome(clock())
            else:
                outcome = execution.settle(command)
            command = procedure.send(outcome)
    except StopIteration as stop:
        return execution.conclude(stop.value, answer)
    finally:
        execution.leave()


def _attempt(execution: Execution, command: Call) -> Outcome:
    late = _make_ready(execution, command)
    if late is not None:
        return late
    started = execution.runtime.clock()
    try:
        request = attempt.prepare(execution, command)
        if execution.attempts[command.index].streamed:
            reply = _whole(execution, command, request)
        else:
            reply = execution.providers[command.index].generate(request)
        outcome = attempt.succeeded(execution, command, attempt.accept(execution, command, request, reply))
    except Exception as error:
        outcome = attempt.failed(execution, command, _told_by_clocks(execution, command, error))
    return attempt.record(execution, command, outcome, started)


def _whole(execution: Execution, command: Call, request: Request) -> Any:
    """Ask for a whole answer as a stream, so that its pieces and the vendor's signs of life are seen."""
    clock, until = execution.runtime.clock, execution.runtime.clock() + command.timeout
    clocks = attempt.clocks_of(execution, command.index)
    source = execution.providers[command.index].stream(request)
    events = iter(source)
    try:
        while (event := _next(events, min(clocks.patience(), until - clock()))) is not None:
            if type(event) is Finish:
                return event.response
            if attempt.heard(execution, command.index, event):
                attempt.first_sign(execution, command.index)
            if clock() > until:
                raise Timeout(f"no whole answer within {command.timeout:.3g} s")
    finally:
        _close(execution, command, source)
    raise StreamInterrupted("the stream ended without its end marker")


def stream(execution: Execution) -> Iterator[StreamEvent]:
    """Run a call as a stream that ends in Finish.

    Raises:
        StreamInterrupted: the stream broke off after its first token, and no target continued it.
    """
    if _needs_loop(execution, streaming=True):
        from understudy.concurrency import portal
        from understudy.execution import async_driver

        execution.visit()
        yield from portal.iterate(lambda: async_driver.stream(execution))
        return
    clock = execution.runtime.clock
    procedure = execution.begin(streaming=True)
    answer: LLMResponse | None = None
    try:
        command = next(procedure)
        while True:
            if type(command) is Call:
                outcome = yield from _pieces(execution, command)
                answer = outcome.response
            elif type(command) is Wait:
                execution.reporter.wait(command)
                execution.runtime.sleep(command.seconds)
                outcome = Outcome(clock())
            else:
                outcome = execution.settle(command)
            command = procedure.send(outcome)
    except StopIteration as stop:
        end = finish(execution, stop.value, answer)
    finally:
        execution.leave()
    yield end


def _pieces(execution: Execution, command: Call) -> Generator[StreamEvent, None, Outcome]:
    late = _make_ready(execution, command)
    if late is not None:
        return late
    started = execution.runtime.clock()
    source: Any = None
    delivery: Delivery | None = None
    rest: list[StreamEvent] = []
    try:
        request = attempt.prepare(execution, command)
        delivery, clocks = attempt.delivery_of(execution, command.index), attempt.clocks_of(execution, command.index)
        source = execution.providers[command.index].stream(request)
        events = iter(source)
        while (event := _next(events, delivery.patience())) is not None:
            if type(event) is Finish:
                response = attempt.accept(execution, command, request, delivery.complete(event.response))
                rest = delivery.release()
                outcome = attempt.succeeded(execution, command, response)
                break
            silent = clocks.first_at is None
            given = delivery.take(event)
            if silent and clocks.first_at is not None:
                attempt.first_sign(execution, command.index)
            yield from given
        else:
            raise StreamInterrupted("the stream ended without its end marker")
    except Exception as error:
        outcome = attempt.failed(execution, command, _told_by_clocks(execution, command, error), delivery)
    finally:
        _close(execution, command, source)
    outcome = attempt.record(execution, command, outcome, started, delivery)
    yield from rest
    return outcome


def _next(events: Iterator[StreamEvent], patience: float) -> StreamEvent | None:
    """Return the next event; None at the end. A provider that keeps deadlines gives up when the patience ends."""
    token = next_by.set(time.monotonic() + patience)
    try:
        return next(events, None)
    finally:
        next_by.reset(token)


def _told_by_clocks(execution: Execution, command: Call, error: Exception) -> Exception:
    """Return what a provider's own timeout means where the clocks are over as well: these know which of them it is."""
    clocks = execution.attempts[command.index].clocks
    own = type(error) is Timeout and error.status is None
    return OutOfTime() if own and clocks is not None and clocks.is_out_of_time() else error


def _close(execution: Execution, command: Call, source: Any) -> None:
    close = getattr(source, "close", None)
    if close is not None:
        try:
            close()
        except Exception:
            execution.reporter.unclosed(command.index)


def _make_ready(execution: Execution, command: Call) -> Outcome | None:
    """Let a provider import what its first call needs; return an outcome if that used up the call's time."""
    if execution.is_ready(command.index):
        return None
    started = execution.runtime.clock()
    execution.make_ready(command.index)
    return attempt.if_late(execution, command, started)


def _needs_loop(execution: Execution, *, streaming: bool) -> bool:
    """Whether a sync call wants what only an event loop can do: end an attempt at any moment, or run two at once."""
    policy = execution.policy
    several = len(execution.providers) > 1
    if several and (policy.hedge_after not in (None, "late") or execution.admission.unwell):
        return True  # two are asked at once, or may be, where one of them is a probe
    named = policy.attempt_timeout is not None
    if streaming:
        named = named or policy.first_token_timeout is not None or policy.idle_timeout is not None
    timed = policy.deadline is not None or named or (several and policy.hedge_after == "late")
    return timed and any(not provider.capabilities.keeps_deadline for provider in execution.providers)
