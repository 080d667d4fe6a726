"""The outcomes of attempts and of the whole call: failures for the record, and the caller's response."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from understudy.classify import classify_exception
from understudy.engine.commands import Verdict
from understudy.errors import (
    AllProvidersFailed,
    Failure,
    InvalidRequest,
    ProviderUnavailable,
    RequestRefused,
    StreamInterrupted,
    UnsupportedRequest,
)
from understudy.frozen import freeze, thawed
from understudy.messages import Request
from understudy.policy import Policy
from understudy.provider import ChatProvider
from understudy.response import LLMResponse, ResponseWarning
from understudy.target import Target

if TYPE_CHECKING:
    from understudy.execution.stream_recovery import Delivery

logger = logging.getLogger("understudy")


def lack_of(target: Target, provider: ChatProvider, request: Request, delivery: Delivery | None) -> Failure | None:
    """Return why a target cannot answer a request at all, whatever its health; None if it can.

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
        failure = ProviderUnavailable(f"it raised {error!r} when asked whether it can be used", provider=name)
        failure.__cause__ = error
        return failure


def own_failure(error: BaseException) -> Failure:
    """Return what an attempt raised as a failure of its own: the same object may be raised again."""
    failure = classify_exception(error)
    if type(failure) is InvalidRequest and failure.status is not None:
        failure = _refusal(failure)
    failure.retry_after = _seconds(failure.retry_after)
    if "noted" not in failure.__dict__:
        failure.__dict__["noted"] = True
        return failure
    again = copy(failure).with_traceback(failure.__traceback__)
    again.__cause__, again.model = failure.__cause__, None
    return again


def _refusal(invalid: InvalidRequest) -> RequestRefused:
    """Return a plugin's InvalidRequest as a RequestRefused if a vendor said so: it concerns only that vendor."""
    refused = RequestRefused(invalid.message)
    refused.__dict__.update(invalid.__dict__)
    refused.__cause__ = invalid
    return refused


def interrupted(failure: Failure, partial: str) -> StreamInterrupted:
    """Return the failure of a stream that broke off after its caller got a part of it.

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


def conclude(verdict: Verdict, response: LLMResponse | None, targets: Sequence[Target], policy: Policy) -> LLMResponse:
    """Turn a verdict into the caller's response, and log a total failure once."""
    if verdict.end == "success" and response is not None:
        warnings = response.warnings
        if len(verdict.attempts) > 1 and (refusals := _refusals(verdict)):
            warnings = (*warnings, *refusals)
        if type(response) is not LLMResponse:
            return replace(response, attempts=verdict.attempts, warnings=warnings)
        final = thawed(response)
        final.attempts, final.warnings = verdict.attempts, warnings
        return freeze(final, LLMResponse)
    if verdict.failure is not None:
        return _ended_by(verdict.failure, verdict, targets)
    return _exhausted(verdict, targets, policy)


def _refusals(verdict: Verdict) -> list[ResponseWarning]:
    """Return a warning for each target that called the request wrong although another one answered it."""
    return [
        ResponseWarning("request", f"{attempt.target} refused the request, so another was asked: {_words(failure)}")
        for attempt in verdict.attempts
        if isinstance(failure := attempt.failure, RequestRefused) and failure.adaptation is None
    ]


def _words(failure: Failure) -> str:
    numbers = " ".join(str(part) for part in (failure.status, failure.code) if part)
    return f"{failure.message} [{numbers}]" if numbers else failure.message


def _ended_by(failure: Failure, verdict: Verdict, targets: Sequence[Target]) -> LLMResponse:
    if isinstance(failure, StreamInterrupted):
        failure.attempts = verdict.attempts
    label = next((target.label for target in targets if target.provider == failure.provider), "")
    label = next((a.target for a in reversed(verdict.attempts) if a.failure is failure), label)
    words = f"{failure.summary}: {failure.message}" if failure.message else failure.summary
    error = f"{label}: {words}" if label else words
    logger.error("%s; no other provider is asked", error)
    return LLMResponse(False, "", failure.provider, error, attempts=verdict.attempts, failure=failure)


def _exhausted(verdict: Verdict, targets: Sequence[Target], policy: Policy) -> LLMResponse:
    failures = []
    for index, target in enumerate(targets):
        failure = verdict.failures.get(index)
        if failure is None:
            reason = f"not asked, the deadline of {policy.deadline or 0:g} s had passed"
            failure = ProviderUnavailable(reason, provider=target.provider)
        failures.append(failure)
    listing = ", ".join(f"{t.label}: {f.brief}" for t, f in zip(targets, failures, strict=True))
    error = f"All LLM providers failed: [{listing}]"
    logger.error("%s", error)
    failed = AllProvidersFailed(error, failures=tuple(failures))
    failed.__cause__ = failures[-1]
    return LLMResponse(False, "", "", error, attempts=verdict.attempts, failure=failed)
