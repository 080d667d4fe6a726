"""Four ways to run the engine: sync and async, whole answers and streams. None of them decides anything.

A sync call that must end in time whatever its provider does runs as an async one, on an event loop in the background:
there it can be cancelled at any moment, down to its connection.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from understudy.commands import Admit, Await, Call, Cancel, Leave, Outcome, Verdict, Wait
from understudy.delivery import Delivery
from understudy.engine import Procedure
from understudy.errors import ConnectionFailed, ProviderUnavailable, StreamInterrupted, Timeout
from understudy.failing import OutOfTime
from understudy.messages import Request
from understudy.performance import Performance
from understudy.response import Finish, LLMResponse, StreamEvent

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")


def run(performance: Performance) -> LLMResponse:
    """Run a call to its end."""
    if _needs_loop(performance, streaming=False):
        from understudy import portal  # imports asyncio

        performance.visit()
        return portal.run(lambda: arun(performance))
    clock = performance.runtime.clock
    procedure = performance.begin()
    answer: LLMResponse | None = None
    try:
        command = next(procedure)
        while True:
            if type(command) is Call:
                outcome = _attempt(performance, command)
                answer = outcome.response
            elif type(command) is Wait:
                performance.reporter.wait(command)
                performance.runtime.sleep(command.seconds)
                outcome = Outcome(clock())
            else:
                outcome = performance.settle(command)
            command = procedure.send(outcome)
    except StopIteration as stop:
        return performance.conclude(stop.value, answer)
    finally:
        performance.leave()


def _attempt(performance: Performance, command: Call) -> Outcome:
    late = _make_ready(performance, command)
    if late is not None:
        return late
    started = performance.runtime.clock()
    try:
        request = performance.prepare(command)
        if performance.is_streamed(command.index):
            reply = _whole(performance, command, request)
        else:
            reply = performance.providers[command.index].generate(request)
        outcome = performance.succeeded(command, performance.accept(command, request, reply))
    except Exception as error:
        outcome = performance.failed(command, error)
    return performance.record(command, outcome, started)


def _whole(performance: Performance, command: Call, request: Request) -> Any:
    """Ask for a whole answer as a stream, so that its pieces and the vendor's signs of life are seen."""
    clock, until = performance.runtime.clock, performance.runtime.clock() + command.timeout
    source = performance.providers[command.index].stream(request)
    try:
        for event in source:
            if type(event) is Finish:
                return event.response
            performance.heard(command.index, event)
            if clock() > until:
                raise Timeout(f"no whole answer within {command.timeout:.3g} s")
    finally:
        _close(performance, command, source)
    raise StreamInterrupted("the stream ended without its end marker")


def _close(performance: Performance, command: Call, source: Any) -> None:
    close = getattr(source, "close", None)
    if close is not None:
        try:
            close()
        except Exception:
            performance.reporter.unclosed(command.index)


def _make_ready(performance: Performance, command: Call) -> Outcome | None:
    """Have a provider import what its first call needs; return the outcome where that took the call's time."""
    if performance.is_ready(command.index):
        return None
    started = performance.runtime.clock()
    performance.make_ready(command.index)
    return _if_late(performance, command, started)


def _if_late(performance: Performance, command: Call, started: float) -> Outcome | None:
    """Return the outcome where the deadline passed during an import; else leave the attempt what is left till then."""
    deadline, now = performance.deadline, performance.runtime.clock()
    if deadline is None:
        return None
    if now < deadline:
        command.timeout = min(command.timeout, deadline - now)
        return None
    performance.reporter.attempt_started(command, performance.holdings.state(command.index))
    outcome = performance.failed(command, ProviderUnavailable("what its first call needs was still being imported"))
    return performance.record(command, outcome, started)


async def _amake_ready(performance: Performance, command: Call) -> Outcome | None:
    if performance.is_ready(command.index):
        return None
    from understudy.patience import Patience
    from understudy.threads import in_thread

    started, deadline = performance.runtime.clock(), performance.deadline
    if deadline is None:
        await in_thread(performance.make_ready, command.index)
        return None
    with suppress(OutOfTime), Patience(max(deadline - started, 0.0)):
        await in_thread(performance.make_ready, command.index)
    return await _aside(performance.asks_elsewhere, _if_late, performance, command, started)


async def arun(performance: Performance) -> LLMResponse:
    """Run a call to its end on the running event loop; an attempt that outlasts its time is cancelled."""
    clock = performance.runtime.clock
    performance.concurrent = True
    procedure = await _begin(performance, streaming=False)
    answer: LLMResponse | None = None
    race: Any = None
    try:
        command = next(procedure)
        while True:
            if type(command) is Call:
                late = await _amake_ready(performance, command)
                if late is not None:
                    outcome = late
                elif command.hedge_after is None and not command.alongside:
                    outcome = await _async_attempt(performance, command)
                else:
                    race = race or _race(performance)
                    outcome = await race.enter(command, _Runner(performance, command))
                answer = outcome.response
            elif type(command) is Wait:
                await _aside(performance.listeners, performance.reporter.wait, command)
                await performance.runtime.async_sleep(command.seconds)
                outcome = Outcome(clock())
            elif type(command) is Await:
                outcome = await race.outcome(command.index, command.seconds)
                answer = outcome.response
            elif type(command) is Cancel:
                outcome = await race.cancel(command)
            elif type(command) is Leave:
                outcome = race.leave(command.index)
            elif performance.listeners or (type(command) is Admit and performance.admits_elsewhere(command.index)):
                outcome = await _aside(True, performance.settle, command)
            else:
                outcome = performance.settle(command)
            command = procedure.send(outcome)
    except StopIteration as stop:
        return await _aside(performance.listeners, performance.conclude, stop.value, answer)
    finally:
        await _leave(performance, race)


async def _async_attempt(performance: Performance, command: Call) -> Outcome:
    import asyncio

    from understudy.patience import Patience

    started, task = performance.runtime.clock(), asyncio.current_task()
    cancelled = 0 if task is None else task.cancelling()
    try:
        request = await _aside(performance.guests or performance.listeners, performance.prepare, command)
        if performance.is_streamed(command.index):
            reply = await _awhole(performance, command, request)
        else:
            with Patience(command.timeout):
                reply = await performance.providers[command.index].agenerate(request)
        response = await _aside(performance.guests, performance.accept, command, request, reply)
        outcome = performance.succeeded(command, response)
    except (Exception, asyncio.CancelledError) as error:
        outcome = performance.failed(command, _not_ours(error, task, cancelled))
    return await _aside(performance.asks_elsewhere, performance.record, command, outcome, started)


async def _awhole(performance: Performance, command: Call, request: Request) -> Any:
    """Ask for a whole answer as a stream, so that its pieces and the vendor's signs of life are seen."""
    from understudy.patience import Patience

    clock, clocks = performance.runtime.clock, performance.clocks(command.index)
    until = clock() + command.timeout
    source = performance.providers[command.index].astream(request)
    try:
        while True:
            with Patience(max(min(clocks.patience(), until - clock()), 0.0)):
                event = await anext(source, None)
            if event is None:
                raise StreamInterrupted("the stream ended without its end marker")
            if type(event) is Finish:
                return event.response
            performance.heard(command.index, event)
    finally:
        await _aclose(performance, command, source)


async def _aclose(performance: Performance, command: Call, source: Any) -> None:
    from understudy.patience import Patience

    close = getattr(source, "aclose", None)
    if close is not None:
        try:
            with Patience(performance.patience_to_close()):
                await close()
        except Exception:
            performance.reporter.unclosed(command.index)


def _not_ours(error: BaseException, task: asyncio.Task[Any] | None, cancelled: int) -> BaseException:
    """Return a provider's own failure: a cancellation of its own is one, and whatever follows the call's own is none.

    Args:
        error: what was raised.
        task: the one that runs the attempt.
        cancelled: how often that had been cancelled before.

    Raises:
        CancelledError: the call was cancelled.
    """
    from asyncio import CancelledError

    own = isinstance(error, CancelledError)
    if task is not None and task.cancelling() > cancelled:
        raise error if own else CancelledError from error
    return ConnectionFailed("the provider cancelled its own work") if own else error


async def _aside(aside: bool, function: Callable[..., T], *arguments: Any) -> T:
    """Call a function: in a thread where it would hold up the event loop."""
    if not aside:
        return function(*arguments)
    from understudy.threads import in_thread  # imports asyncio, which sync calls do without

    return await in_thread(function, *arguments)


class _Runner:
    """An attempt at a whole answer, as a race wants it."""

    __slots__ = ("_command", "_performance")

    def __init__(self, performance: Performance, command: Call) -> None:
        self._performance = performance
        self._command = command

    async def start(self) -> Outcome:
        return await _async_attempt(self._performance, self._command)

    async def close(self) -> None:
        pass

    def has_begun(self) -> bool:
        return self._performance.has_begun(self._command.index)


def stream(performance: Performance) -> Iterator[StreamEvent]:
    """Run a call as a stream that ends in Finish.

    Raises:
        StreamInterrupted: the stream broke off after its first token, and nobody took it up.
    """
    if _needs_loop(performance, streaming=True):
        from understudy import portal

        performance.visit()
        yield from portal.iterate(lambda: astream(performance))
        return
    clock = performance.runtime.clock
    procedure = performance.begin(streaming=True)
    answer: LLMResponse | None = None
    try:
        command = next(procedure)
        while True:
            if type(command) is Call:
                outcome = yield from _pieces(performance, command)
                answer = outcome.response
            elif type(command) is Wait:
                performance.reporter.wait(command)
                performance.runtime.sleep(command.seconds)
                outcome = Outcome(clock())
            else:
                outcome = performance.settle(command)
            command = procedure.send(outcome)
    except StopIteration as stop:
        finish = _finish(performance, stop.value, answer)
    finally:
        performance.leave()
    yield finish


def _pieces(performance: Performance, command: Call) -> Generator[StreamEvent, None, Outcome]:
    late = _make_ready(performance, command)
    if late is not None:
        return late
    started = performance.runtime.clock()
    source: Any = None
    delivery: Delivery | None = None
    rest: list[StreamEvent] = []
    try:
        request = performance.prepare(command)
        delivery = performance.delivery_of(command.index)
        source = performance.providers[command.index].stream(request)
        for event in source:
            if type(event) is Finish:
                response = performance.accept(command, request, delivery.complete(event.response))
                rest = delivery.release()
                outcome = performance.succeeded(command, response)
                break
            silent = performance.clocks(command.index).first_at is None
            given = delivery.take(event)
            if silent and performance.has_begun(command.index):
                performance.first_sign(command.index)
            yield from given
        else:
            raise StreamInterrupted("the stream ended without its end marker")
    except Exception as error:
        outcome = performance.failed(command, error, delivery)
    finally:
        _close(performance, command, source)
    outcome = performance.record(command, outcome, started, delivery)
    yield from rest
    return outcome


async def astream(performance: Performance) -> AsyncIterator[StreamEvent]:
    """Run a call as a stream on the running event loop; what outlasts its time is cancelled.

    Raises:
        StreamInterrupted: the stream broke off after its first token, and nobody took it up.
    """
    clock = performance.runtime.clock
    performance.concurrent = True
    procedure = await _begin(performance, streaming=True)
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
                elif (late := await _amake_ready(performance, command)) is not None:
                    outcome = late
                elif command.hedge_after is None and not command.alongside:
                    pieces = _async_pieces(performance, command)
                else:
                    from understudy.racing import StreamRunner

                    race = race or _race(performance)
                    runner = StreamRunner(performance, command.index, _async_pieces(performance, command))
                    outcome = await race.enter(command, runner)
                    pieces = runner.rest() if outcome.began and not command.alongside else None
                if pieces is not None:
                    async for outcome in pieces:
                        if type(outcome) is not Outcome:
                            yield outcome
                answer = outcome.response
            elif type(command) is Wait:
                await _aside(performance.listeners, performance.reporter.wait, command)
                await performance.runtime.async_sleep(command.seconds)
                outcome = Outcome(clock())
            elif type(command) is Cancel:
                outcome = await race.cancel(command)
            elif type(command) is Leave:
                outcome = race.leave(command.index)
            elif performance.listeners or (type(command) is Admit and performance.admits_elsewhere(command.index)):
                outcome = await _aside(True, performance.settle, command)
            else:
                outcome = performance.settle(command)
            command = procedure.send(outcome)
    except StopIteration as stop:
        finish = await _aside(performance.listeners, _finish, performance, stop.value, answer)
    finally:
        try:
            if pieces is not None:
                await pieces.aclose()
        finally:
            await _leave(performance, race)
    yield finish


async def _async_pieces(performance: Performance, command: Call) -> AsyncGenerator[StreamEvent | Outcome, None]:
    """Run one attempt: its pieces for the caller, and last of all its outcome."""
    import asyncio

    from understudy.patience import Patience

    started, task = performance.runtime.clock(), asyncio.current_task()
    cancelled = 0 if task is None else task.cancelling()
    source: Any = None
    delivery: Delivery | None = None
    rest: list[StreamEvent] = []
    try:
        request = await _aside(performance.guests or performance.listeners, performance.prepare, command)
        delivery = performance.delivery_of(command.index)
        source = performance.providers[command.index].astream(request)
        while True:
            task = asyncio.current_task()  # each piece may be asked for in another one
            cancelled = 0 if task is None else task.cancelling()
            with Patience(delivery.patience()):
                event = await anext(source, None)
            if event is None:
                raise StreamInterrupted("the stream ended without its end marker")
            if type(event) is Finish:
                whole = delivery.complete(event.response)
                response = await _aside(performance.guests, performance.accept, command, request, whole)
                rest = delivery.release()
                outcome = performance.succeeded(command, response)
                break
            silent = performance.clocks(command.index).first_at is None
            taken = delivery.take(event)
            if silent and performance.has_begun(command.index):
                performance.first_sign(command.index)
            for given in taken:
                yield given
    except (Exception, asyncio.CancelledError) as error:
        outcome = performance.failed(command, _not_ours(error, task, cancelled), delivery)
    finally:
        await _aclose(performance, command, source)
    outcome = await _aside(performance.asks_elsewhere, performance.record, command, outcome, started, delivery)
    for given in rest:
        yield given
    yield outcome


def _finish(performance: Performance, verdict: Verdict, answer: LLMResponse | None) -> Finish:
    """Return the last event of a stream.

    Raises:
        StreamInterrupted: the caller holds a part of an answer that nobody took up.
    """
    final = performance.conclude(verdict, answer)
    if verdict.end == "interrupted":
        final.raise_for_failure()
    return Finish(final)


def _needs_loop(performance: Performance, *, streaming: bool) -> bool:
    """Whether a sync call wants what only an event loop can do: end an attempt at any moment, or run two at once."""
    policy = performance.policy
    several = len(performance.providers) > 1
    if several and (policy.hedge_after not in (None, "late") or performance.admission.unwell):
        return True  # two are asked at once, or may be, where one of them is a probe
    named = policy.attempt_timeout is not None
    if streaming:
        named = named or policy.first_token_timeout is not None or policy.idle_timeout is not None
    if policy.deadline is None and not named and not (several and policy.hedge_after == "late"):
        return False
    return any(not provider.capabilities.keeps_deadline for provider in performance.providers)


async def _begin(performance: Performance, *, streaming: bool) -> Procedure:
    return await _aside(performance.arranges_elsewhere, partial(performance.begin, streaming=streaming))


def _race(performance: Performance) -> Any:
    from understudy.racing import Race  # imports asyncio, which sync calls do without

    return Race(performance)


async def _leave(performance: Performance, race: Any) -> None:
    """Give back what the call still holds, without making a cancelled caller wait for a store."""
    try:
        if race is not None:
            await race.close()
    finally:
        if performance.admission.store.blocks:
            from understudy.threads import start

            start(performance.leave)
        else:
            performance.holdings.leave()
            await _aside(performance.listeners, performance.reporter.left)
