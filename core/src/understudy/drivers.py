"""Four ways to run the engine: sync and async, whole answers and streams. None of them decides anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from understudy.engine import Call, Outcome, Wait, decide
from understudy.errors import StreamInterrupted, Timeout
from understudy.performance import Performance
from understudy.response import Finish, LLMResponse, StreamEvent, TextDelta, ThinkingDelta


def run(performance: Performance) -> LLMResponse:
    """Run a call to its end."""
    clock = performance.runtime.clock
    procedure = decide(performance.targets, performance.policy, clock())
    response: LLMResponse | None = None
    try:
        command = next(procedure)
        while True:
            if type(command) is Call:
                started = clock()
                try:
                    request = performance.prepare(command)
                    reply = performance.providers[command.index].generate(request)
                    response = performance.accept(command, request, reply)
                    outcome = performance.succeeded(response)
                except Exception as error:
                    outcome = performance.failed(command, error)
                    performance.report_attempt(command, outcome, started)
            elif type(command) is Wait:
                performance.report_wait(command)
                performance.runtime.sleep(command.seconds)
                outcome = Outcome(clock())
            else:
                outcome = performance.settle(command)
            command = procedure.send(outcome)
    except StopIteration as stop:
        return performance.conclude(stop.value, response)


async def arun(performance: Performance) -> LLMResponse:
    """Run a call to its end on the running event loop; an attempt that outlasts its time is cancelled."""
    import asyncio

    clock = performance.runtime.clock
    procedure = decide(performance.targets, performance.policy, clock())
    response: LLMResponse | None = None
    try:
        command = next(procedure)
        while True:
            if type(command) is Call:
                started = clock()
                try:
                    request = performance.prepare(command)
                    async with asyncio.timeout(command.timeout):
                        reply = await performance.providers[command.index].agenerate(request)
                    response = performance.accept(command, request, reply)
                    outcome = performance.succeeded(response)
                except Exception as error:
                    outcome = performance.failed(command, error)
                    performance.report_attempt(command, outcome, started)
            elif type(command) is Wait:
                performance.report_wait(command)
                await performance.runtime.async_sleep(command.seconds)
                outcome = Outcome(clock())
            else:
                outcome = performance.settle(command)
            command = procedure.send(outcome)
    except StopIteration as stop:
        return performance.conclude(stop.value, response)


class Delivery:
    """What one attempt's stream has given the caller so far.

    Nothing is given before the first event with substance: until then another target can still take the part
    without the caller noticing.
    """

    __slots__ = ("deadline", "held", "pieces", "runtime", "started")

    def __init__(self, performance: Performance, deadline: float | None) -> None:
        self.runtime = performance.runtime
        self.deadline = deadline
        self.held: list[StreamEvent] = []
        self.pieces: list[str] = []
        self.started = False

    def take(self, event: StreamEvent) -> list[StreamEvent]:
        """Take one event from the provider and return those that the caller gets now.

        Raises:
            Timeout: the deadline of the whole call has passed.
        """
        if self.deadline is not None and self.runtime.clock() >= self.deadline:
            raise Timeout("the deadline passed in the middle of the stream")
        if type(event) is TextDelta:
            self.pieces.append(event.text)
        if not self.started:
            self.held.append(event)
            if isinstance(event, TextDelta | ThinkingDelta) and not event.text.strip():
                return []
            self.started = True
            return self.release()
        return [event]

    def patience(self, timeout: float) -> float:
        """Return how many seconds the next event may take: the attempt's timeout, or what the deadline leaves."""
        return timeout if self.deadline is None else min(timeout, self.deadline - self.runtime.clock())

    def release(self) -> list[StreamEvent]:
        """Return what was held back."""
        held, self.held = self.held, []
        return held

    @property
    def delivered(self) -> list[str] | None:
        """The pieces of text that the caller holds; None where the caller holds nothing."""
        return self.pieces if self.started else None


def stream(performance: Performance) -> Iterator[StreamEvent]:
    """Run a call as a stream that ends in Finish.

    Raises:
        StreamInterrupted: the stream broke off after its first token.
    """
    clock = performance.runtime.clock
    began = clock()
    deadline = None if performance.policy.deadline is None else began + performance.policy.deadline
    procedure = decide(performance.targets, performance.policy, began)
    response: LLMResponse | None = None
    try:
        command = next(procedure)
        while True:
            if type(command) is Call:
                started = clock()
                delivery = Delivery(performance, deadline)
                source: Any = None
                try:
                    request = performance.prepare(command)
                    source = performance.providers[command.index].stream(request)
                    for event in source:
                        if type(event) is Finish:
                            response = performance.accept(command, request, event.response)
                            break
                        yield from delivery.take(event)
                    else:
                        raise StreamInterrupted("the stream ended without its end marker")
                    outcome = performance.succeeded(response)
                except Exception as error:
                    outcome = performance.failed(command, error, delivery.delivered)
                    performance.report_attempt(command, outcome, started)
                finally:
                    _close(source)
                if outcome.failure is None:
                    yield from delivery.release()
            elif type(command) is Wait:
                performance.report_wait(command)
                performance.runtime.sleep(command.seconds)
                outcome = Outcome(clock())
            else:
                outcome = performance.settle(command)
            command = procedure.send(outcome)
    except StopIteration as stop:
        final = performance.conclude(stop.value, response)
        interrupted = stop.value.end == "interrupted"
    if interrupted:
        final.raise_for_failure()
    yield Finish(final)


async def astream(performance: Performance) -> AsyncIterator[StreamEvent]:
    """Run a call as a stream on the running event loop; a pause longer than the attempt's time is cancelled.

    Raises:
        StreamInterrupted: the stream broke off after its first token.
    """
    import asyncio

    clock = performance.runtime.clock
    began = clock()
    deadline = None if performance.policy.deadline is None else began + performance.policy.deadline
    procedure = decide(performance.targets, performance.policy, began)
    response: LLMResponse | None = None
    try:
        command = next(procedure)
        while True:
            if type(command) is Call:
                started = clock()
                delivery = Delivery(performance, deadline)
                source: Any = None
                try:
                    request = performance.prepare(command)
                    source = performance.providers[command.index].astream(request)
                    while True:
                        async with asyncio.timeout(delivery.patience(command.timeout)):
                            event = await anext(source, None)
                        if event is None:
                            raise StreamInterrupted("the stream ended without its end marker")
                        if type(event) is Finish:
                            response = performance.accept(command, request, event.response)
                            break
                        for given in delivery.take(event):
                            yield given
                    outcome = performance.succeeded(response)
                except Exception as error:
                    outcome = performance.failed(command, error, delivery.delivered)
                    performance.report_attempt(command, outcome, started)
                finally:
                    await _aclose(source)
                if outcome.failure is None:
                    for given in delivery.release():
                        yield given
            elif type(command) is Wait:
                performance.report_wait(command)
                await performance.runtime.async_sleep(command.seconds)
                outcome = Outcome(clock())
            else:
                outcome = performance.settle(command)
            command = procedure.send(outcome)
    except StopIteration as stop:
        final = performance.conclude(stop.value, response)
        interrupted = stop.value.end == "interrupted"
    if interrupted:
        final.raise_for_failure()
    yield Finish(final)


def _close(source: Any) -> None:
    close = getattr(source, "close", None)
    if close is not None:
        close()


async def _aclose(source: Any) -> None:
    close = getattr(source, "aclose", None)
    if close is not None:
        await close()
