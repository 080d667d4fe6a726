"""How a call ends for its caller: the answer, or a response that says why there is none."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from understudy.engine.commands import Target, Verdict
from understudy.errors import AllProvidersFailed, Failure, ProviderUnavailable, StreamInterrupted
from understudy.execution.copying import copy_with
from understudy.policy import Policy
from understudy.response import LLMResponse

logger = logging.getLogger("understudy")


def conclude(verdict: Verdict, response: LLMResponse | None, targets: Sequence[Target], policy: Policy) -> LLMResponse:
    """Turn a verdict into the caller's response, and log a total failure once."""
    if verdict.end == "success" and response is not None:
        if type(response) is LLMResponse:
            return copy_with(response, attempts=verdict.attempts)
        return replace(response, attempts=verdict.attempts)
    if verdict.failure is not None:
        return _ended_by(verdict.failure, verdict, targets)
    return _exhausted(verdict, targets, policy)


def _ended_by(failure: Failure, verdict: Verdict, targets: Sequence[Target]) -> LLMResponse:
    if isinstance(failure, StreamInterrupted):
        failure.attempts = verdict.attempts
    label = next((target.label for target in targets if target.provider == failure.provider), "")
    label = next((a.target for a in reversed(verdict.attempts) if a.failure is failure), label)
    words = f"{failure.summary}: {failure.message}" if failure.message else failure.summary
    error = f"{label}: {words}" if label else words
    logger.error("%s; nobody else is asked", error)
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
