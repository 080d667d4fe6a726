"""Why an attempt failed, or is not made: the failures of the record, whatever a plugin raised."""

from __future__ import annotations

from copy import copy

from understudy.classify import classify_exception
from understudy.engine.commands import Target
from understudy.errors import Failure, ProviderUnavailable, StreamInterrupted, UnsupportedRequest
from understudy.execution.stream_recovery import Delivery
from understudy.messages import Request
from understudy.provider import ChatProvider


class OutOfTime(TimeoutError):
    """The time that an attempt, or a piece of its stream, was given is over."""


def lack_of(target: Target, provider: ChatProvider, request: Request, delivery: Delivery | None) -> Failure | None:
    """Return why a target cannot answer a request at all, whatever its health; None where it can.

    Args:
        target: the target.
        provider: its provider.
        request: the request.
        delivery: what a stream's caller holds already.
    """
    name = target.provider
    try:
        if (unavailable := provider.unavailable_reason()) is not None:
            return ProviderUnavailable(unavailable, provider=name)
        lack = provider.capabilities.lacking(request)
        if lack is None and delivery is not None:
            lack = delivery.lack(request, provider.takes_prefill(target.model or provider.default_model or ""))
        return None if lack is None else UnsupportedRequest(lack, provider=name)
    except Exception as error:  # a mistake in one plugin must not end a call that another can answer
        failure = ProviderUnavailable(f"asked whether it can be used, it raised {error!r}", provider=name)
        failure.__cause__ = error
        return failure


def own_failure(error: BaseException) -> Failure:
    """Return what an attempt raised as a failure that is its alone: one and the same object may be raised again."""
    failure = classify_exception(error)
    failure.retry_after = _seconds(failure.retry_after)
    if "noted" not in failure.__dict__:
        failure.__dict__["noted"] = True
        return failure
    again = copy(failure).with_traceback(failure.__traceback__)
    again.__cause__, again.model = failure.__cause__, None
    return again


def interrupted(failure: Failure, partial: str) -> StreamInterrupted:
    """Return the failure of a stream that broke off, after its caller was given a part.

    Args:
        failure: how it broke off.
        partial: the text that was given.
    """
    words = (f"after {len(partial)} characters", failure.summary, failure.message)
    broken = StreamInterrupted(
        ": ".join(word for word in words if word),
        partial=partial,
        provider=failure.provider,
        model=failure.model,
        status=failure.status,
        code=failure.code,
        request_id=failure.request_id,
        retry_after=failure.retry_after,
    )
    broken.__cause__ = failure
    return broken


def _seconds(hint: object) -> float | None:
    """Return a hint as seconds; None where a plugin gave something else."""
    return float(hint) if isinstance(hint, int | float) and 0 <= hint < float("inf") else None
