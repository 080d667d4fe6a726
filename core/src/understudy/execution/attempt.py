"""One attempt of a call: its request, its outcome, and what is reported to the health store and the listeners."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from understudy.concurrency.out_of_time import OutOfTime
from understudy.engine.commands import Call, Cancel, Outcome
from understudy.errors import Effect, Failure, ProviderUnavailable, RequestRejected, Scope, StreamInterrupted, Timeout
from understudy.execution.call import AttemptState, Execution
from understudy.execution.outcomes import interrupted, own_failure
from understudy.execution.validation import check_answer, usage_fault
from understudy.frozen import copy_with, freeze, thawed
from understudy.health.admission import EVIDENCE, report_of
from understudy.health.store import Report
from understudy.messages import Request
from understudy.policy import Policy
from understudy.response import LLMResponse, StreamEvent
from understudy.target import BreakerState

if TYPE_CHECKING:
    from understudy.execution.stream_clocks import Clocks
    from understudy.execution.stream_recovery import Delivery

CLOSING = 1.0  # seconds that a stream gets to close, if its call has them
LONGEST_SILENCE = 600.0  # seconds that a provider may let a stream wait at the very most


def if_late(execution: Execution, command: Call, started: float) -> Outcome | None:
    """Return an outcome if the deadline passed during an import; else give the attempt the time that is left."""
    deadline, now = execution.deadline, execution.runtime.clock()
    if deadline is None:
        return None
    if now < deadline:
        command.timeout = min(command.timeout, deadline - now)
        return None
    attempt = execution.attempts[command.index]
    attempt.number, attempt.began = command.number, started
    execution.reporter.attempt_started(command, execution.leases.state(command.index))
    outcome = failed(execution, command, ProviderUnavailable("its first call's imports had not finished"))
    return record(execution, command, outcome, started)


def prepare(execution: Execution, command: Call) -> Request:
    """Make the request for one attempt.

    Raises:
        RequestRejected: an extension refused it.
    """
    execution.leases.send(command.index)
    if execution.refused:
        execution.refused.pop(command.index, None)  # of an abandoned attempt
    target, attempt = execution.targets[command.index], execution.attempts[command.index]
    attempt.number, attempt.began = command.number, execution.runtime.clock()
    state = execution.leases.state(command.index) if execution.reporter.listens else BreakerState.CLOSED
    execution.reporter.attempt_started(command, state, told=attempt.told)
    model = target.model or (execution.request.model if target.position == 0 else None)
    delivery = None if execution.delivery is None else _delivery_for(execution, command)
    timeout = _provider_timeout(execution, command, attempt)
    if attempt.streamed:
        attempt.clocks = _clocks_for(execution, command, attempt)
    request, options = execution.request, execution.request.options
    if options:
        options = _options(execution, command.index)
    if request.model != model or request.timeout != timeout or request.options is not options:
        own = thawed(request)
        own.model, own.timeout, own.options = model, timeout, options
        request = freeze(own, Request)
    if attempt.streamed and execution.delivery is None:
        request = copy_with(request, whole=True)
    if command.adaptation is not None:
        request = copy_with(request, adaptation=command.adaptation)
    if delivery is not None:
        assert attempt.clocks is not None
        delivery.begin(target.label, attempt.clocks)
        request = delivery.resume(request)
    if execution.extensions is None:
        return request
    from understudy.events import current_call  # most calls have no extension

    token = current_call.set(execution.call_id)
    try:
        return execution.extensions.prepare_request(request, target.provider)
    except Failure:
        raise
    except Exception as error:
        raise RequestRejected(f"an extension failed on the request: {type(error).__name__}: {error}") from error
    finally:
        current_call.reset(token)


def _delivery_for(execution: Execution, command: Call) -> Delivery:
    """Return what the caller would hold of this attempt; each of two parallel attempts has its own."""
    assert execution.delivery is not None
    execution.beside.pop(command.index, None)  # of an attempt before
    if command.alongside:
        from understudy.execution.stream_recovery import Delivery

        execution.beside[command.index] = Delivery(execution.policy, execution.runtime.clock, execution.deadline)
    return delivery_of(execution, command.index)


def delivery_of(execution: Execution, index: int) -> Delivery:
    """Return what the caller of a stream holds of the attempt under way on a target."""
    assert execution.delivery is not None  # it is a stream
    return execution.beside.get(index, execution.delivery)


def seconds_to_close(execution: Execution) -> float:
    """Return the seconds that a stream gets to close."""
    left = CLOSING if execution.deadline is None else execution.deadline - execution.runtime.clock()
    return min(max(left, 0.001), CLOSING)


def _clocks_for(execution: Execution, command: Call, attempt: AttemptState) -> Clocks:
    from understudy.execution.stream_clocks import Clocks

    times = attempt.times
    if execution.delivery is not None and command.timeout < times.first:
        times = replace(times, first=command.timeout)
    return Clocks(times, execution.runtime.clock)


def _provider_timeout(execution: Execution, command: Call, attempt: AttemptState) -> float:
    """Return the seconds that a provider may take: for a whole answer, or between two events of a stream."""
    if not attempt.streamed:
        return command.timeout
    times = attempt.times
    longest = min(max(times.first, times.idle), times.silence, LONGEST_SILENCE)
    if execution.delivery is None:
        longest = min(longest, command.timeout)
    left = longest if execution.deadline is None else execution.deadline - execution.runtime.clock()
    return max(min(longest, left), 0.001)  # a provider takes no timeout of 0


def clocks_of(execution: Execution, index: int) -> Clocks:
    """Return the clocks of a target's stream."""
    clocks = execution.attempts[index].clocks
    assert clocks is not None  # it was prepared
    return clocks


def has_begun(execution: Execution, index: int) -> bool:
    """Return whether pieces of a target's answer have come."""
    clocks = execution.attempts[index].clocks
    return clocks is not None and clocks.first_at is not None


def first_sign(execution: Execution, index: int) -> None:
    """Record the first piece of a stream: if there was doubt, it shows that the target is well."""
    clocks = clocks_of(execution, index)
    first = None if clocks.first_at is None else clocks.first_at - clocks.started
    if execution.leases.shows_life(index):
        execution.leases.give(index, Report(Effect.SUCCESS, first=first))
    attempt = execution.attempts[index]
    if execution.reporter.listens and first is not None and not attempt.told:
        execution.reporter.first_token(index, attempt.number, first)


def heard(execution: Execution, index: int, event: StreamEvent) -> bool:
    """Record an event of a stream whose answer the caller gets in one piece.

    Returns:
        Whether it is the first piece.

    Raises:
        Timeout: it came too late.
    """
    clocks = clocks_of(execution, index)
    if clocks.is_over():
        raise clocks.timed_out()
    silent = clocks.first_at is None
    return clocks.hear(event) and silent


def _options(execution: Execution, index: int) -> Mapping[str, Mapping[str, Any]]:
    """Return the caller's options; those for a name from `understudy.toml` under the name that its provider knows."""
    options, name, own = (
        execution.request.options,
        execution.targets[index].provider,
        execution.providers[index].get_provider_name(),
    )
    return {**options, own: options[name]} if name != own and name in options else options


def accept(execution: Execution, command: Call, request: Request, response: LLMResponse) -> LLMResponse:
    """Check an answer.

    Raises:
        Failure: it is rejected; see `check_answer`.
    """
    provider, own_code = execution.targets[command.index].provider, execution.call_id
    if own_code:
        from understudy.events import current_call

        token = current_call.set(own_code)
    try:
        return check_answer(response, request, provider, execution.policy, execution.validator, execution.extensions)
    except Exception:
        if isinstance(response, LLMResponse) and response.usage is not None and not usage_fault(response.usage):
            execution.refused = {**(execution.refused or {}), command.index: response}  # it was paid for anyway
        raise
    finally:
        if own_code:
            current_call.reset(token)


def succeeded(execution: Execution, command: Call, response: LLMResponse) -> Outcome:
    """Make the outcome of an answered attempt."""
    return Outcome(execution.runtime.clock(), response=response, index=command.index)


def failed(execution: Execution, command: Call, error: BaseException, delivery: Delivery | None = None) -> Outcome:
    """Make the outcome of a failed attempt; `delivery` is that of a stream which had begun."""
    target = execution.targets[command.index]
    refused = execution.refused.pop(command.index, None) if execution.refused else None
    if isinstance(error, OutOfTime):
        failure: Failure = _timed_out(execution, command, delivery)
    else:
        failure = own_failure(error)
    delivered = delivery is not None and delivery.began
    if delivery is not None and delivered:
        failure = interrupted(failure, "".join(delivery.pieces or ()))
        delivery.broke_off(failure)
        execution.delivery, execution.beside = delivery, {}  # the target that continues it must know what was given
    failure.provider = target.provider
    failure.model = failure.model or target.model
    return Outcome(
        execution.runtime.clock(),
        failure=failure,
        response=refused,
        delivered=delivered,
        draw=execution.runtime.random(),
        index=command.index,
    )


def _timed_out(execution: Execution, command: Call, delivery: Delivery | None) -> Timeout:
    if delivery is not None:
        return delivery.timed_out()
    clocks = execution.attempts[command.index].clocks
    if clocks is not None and clocks.is_out_of_time():
        return clocks.timed_out()
    whole = "whole " if clocks is not None and clocks.first_at is not None else ""
    return Timeout(f"no {whole}answer within {command.timeout:.3g} s")


def record(
    execution: Execution, command: Call, outcome: Outcome, started: float, delivery: Delivery | None = None
) -> Outcome:
    """Report an attempt to the health store and the listeners; `delivery` is that of a stream which had begun.

    Returns:
        The outcome, with what the store knows of the target afterwards.
    """
    index, failure, seconds = command.index, outcome.failure, outcome.at - started
    target, attempt = execution.targets[index], execution.attempts.get(index)
    report = report_of(failure, outcome.response, target.price_list or target.provider, execution.admission.spends)
    if failure is None:
        report.end = seconds
        report.seconds = None if execution.delivery is not None else seconds
    else:
        outcome.wasted = _wasted(execution, index, failure, seconds)
        if attempt is None or not attempt.told:
            execution.reporter.attempt_failed(command, failure, seconds, outcome.wasted)
    if execution.reporter.listens:
        execution.tell_end(index, "succeeded" if failure is None else "failed", seconds, outcome.response, failure)
    clocks = None if attempt is None else attempt.clocks
    if clocks is not None and clocks.first_at is not None:
        report.first, report.gap = clocks.first_at - clocks.started, clocks.gap
    if isinstance(_cause(failure), Timeout):
        _judge_lateness(execution, index, report, failure, seconds, command)
    after = execution.leases.give(index, report)
    outcome.took = seconds
    if failure is None or after is None:
        return outcome
    outcome.failing, outcome.alive = after.failing, after.alive
    if not after.granted:
        outcome.free_in, outcome.breaker = after.free_in, after.state
    return outcome


def _judge_lateness(
    execution: Execution, index: int, report: Report, failure: Failure | None, seconds: float, command: Call
) -> None:
    """Report that an attempt was late; a short timeout of the caller's does not count against the target."""
    cause = _cause(failure)
    if cause is not None and cause.status is not None:
        return  # the vendor itself says so
    attempt = execution.attempts.get(index)
    allowed = seconds if attempt is None else min(command.timeout, attempt.times.first, attempt.times.answer)
    working = attempt is not None and attempt.clocks is not None and attempt.clocks.is_working()
    if working or _is_hurry(execution, attempt, seconds, allowed):
        report.effect = Effect.NOTHING
    else:
        report.late = seconds


def _is_hurry(execution: Execution, attempt: AttemptState | None, seconds: float, allowed: float) -> bool:
    """Return whether the caller allowed less time than ordinary answers take: that says nothing about the target."""
    usual = None if attempt is None else attempt.times.usual
    hurried = (
        _times_of(execution.policy) != _times_of(execution.admission.policy) and usual is not None and allowed < usual
    )
    return hurried or seconds < EVIDENCE


def _wasted(execution: Execution, index: int, failure: Failure, seconds: float) -> int:
    """Estimate the tokens that an attempt without an answer may have cost."""
    attempt = execution.attempts.get(index)
    if failure.usage is not None or attempt is None or attempt.began is None:
        return 0
    cause = _cause(failure)
    begun = has_begun(execution, index) and failure.scope is Scope.TRANSIENT
    broken = begun or isinstance(failure, StreamInterrupted)
    if not broken and (not isinstance(cause, Timeout) or cause.status is not None):
        return 0
    return _waste_of(execution, index, attempt, seconds)


def _waste_of(execution: Execution, index: int, attempt: AttemptState, seconds: float) -> int:
    written = None if attempt.clocks is None else attempt.clocks.characters
    room = execution.admission.thinking_room(execution.targets[index].position, execution.request)
    from understudy.extras.pricing import estimate_waste

    return estimate_waste(execution.request, seconds, written, room)


def give_up(execution: Execution, command: Cancel) -> Callable[[], None]:
    """Release what a cancelled attempt holds; a late one counts against its target.

    Returns:
        A function that reports to the store, which may take a while: the target may be asked again before that.
    """
    index, attempt, now = command.index, execution.attempts.get(command.index), execution.runtime.clock()
    began = None if attempt is None else attempt.began
    report = None
    if command.late and began is not None:
        seconds = now - began
        report = Report(Effect.FAILURE, late=seconds, failed=True)
        if _is_hurry(execution, attempt, seconds, seconds):
            report = Report(Effect.NOTHING)
        clocks = None if attempt is None else attempt.clocks
        if clocks is not None and clocks.first_at is not None:
            report = Report(Effect.NOTHING, first=clocks.first_at - clocks.started)
    detached = execution.leases.detach(index)

    def tell() -> None:
        after = execution.leases.give_detached(index, detached, report)
        if report is not None and after is not None and not after.alive and report.late is not None:
            execution.give_back_hedge()  # it seems to answer nobody: the attempt beside it was not an extra one

    return tell


def wasted_so_far(execution: Execution, index: int) -> int:
    """Estimate the tokens that an attempt under way has cost."""
    attempt = execution.attempts.get(index)
    if attempt is None or attempt.began is None:
        return 0
    return _waste_of(execution, index, attempt, execution.runtime.clock() - attempt.began)


def leave_to_end(execution: Execution, index: int) -> Outcome:
    """Let an attempt continue on its own."""
    execution.leases.leave_to_end(index)
    return Outcome(execution.runtime.clock(), index=index)


def _cause(failure: Failure | None) -> Failure | None:
    """Return why a stream broke off, if a failure says that one did; else the failure."""
    if isinstance(failure, StreamInterrupted) and isinstance(failure.__cause__, Failure):
        return failure.__cause__
    return failure


def _times_of(policy: Policy) -> tuple[float | None, ...]:
    return policy.deadline, policy.attempt_timeout, policy.first_token_timeout, policy.idle_timeout
