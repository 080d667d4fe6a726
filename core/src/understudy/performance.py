"""What the four drivers share: one call's cast, and what is done with a command or an answer besides waiting for it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from understudy import events
from understudy.classify import classify_exception
from understudy.engine import Admit, Call, Command, Outcome, Switch, Target, Verdict, Wait
from understudy.errors import (
    AllProvidersFailed,
    EmptyResponse,
    Failure,
    MalformedResponse,
    ProviderUnavailable,
    RequestRejected,
    ResponseRejected,
    StreamInterrupted,
    Timeout,
    UnsupportedRequest,
)
from understudy.messages import Request
from understudy.policy import Policy
from understudy.provider import ChatProvider
from understudy.response import FinishReason, LLMResponse

if TYPE_CHECKING:
    from understudy.extensions import Extensions

logger = logging.getLogger("understudy")


@dataclass(frozen=True, slots=True)
class Runtime:
    """The world outside: a clock, two ways to sleep, and chance. Tests bring their own."""

    clock: Callable[[], float]
    sleep: Callable[[float], None]
    async_sleep: Callable[[float], Any]
    random: Callable[[], float]


class Performance:
    """One call: its request, its route, and the answers to the engine's commands that need no waiting.

    Args:
        request: what the caller asks.
        targets: the route, primary first.
        providers: the provider of each target, in the same order.
        policy: the numbers of this call.
        runtime: clock, sleep and chance.
        extensions: the caller's own checks and listeners, or None.
    """

    __slots__ = ("extensions", "policy", "providers", "request", "runtime", "targets")

    def __init__(
        self,
        request: Request,
        targets: Sequence[Target],
        providers: Sequence[ChatProvider],
        policy: Policy,
        runtime: Runtime,
        extensions: Extensions | None,
    ) -> None:
        self.request = request
        self.targets = targets
        self.providers = providers
        self.policy = policy
        self.runtime = runtime
        self.extensions = extensions

    def settle(self, command: Command) -> Outcome:
        """Answer a command that needs no waiting, and report a switch."""
        now = self.runtime.clock()
        if type(command) is Admit:
            return Outcome(now, skip=self._reason_to_skip(command.index))
        if type(command) is Switch:
            self._report_switch(command)
        return Outcome(now)

    def prepare(self, command: Call) -> Request:
        """Make the request for one attempt.

        Raises:
            RequestRejected: an extension refused it.
        """
        target = self.targets[command.index]
        if command.number == 1:
            logger.info("Using %s for content generation", target.label)
        if self.extensions is not None and self.extensions.listens:
            self.extensions.tell(events.AttemptStarted(target.label, command.number))
        model = target.model or (self.request.model if command.index == 0 else None)
        request = replace(self.request, model=model, timeout=command.timeout, options=self._options(command.index))
        if self.extensions is None:
            return request
        try:
            return self.extensions.prepare_request(request, target.provider)
        except Failure:
            raise
        except Exception as error:
            raise RequestRejected(f"an extension failed on the request: {type(error).__name__}: {error}") from error

    def _options(self, index: int) -> Mapping[str, Mapping[str, Any]]:
        """The caller's options, those for a name of `understudy.toml` under the name that its provider knows."""
        options = self.request.options
        if options:
            name, own = self.targets[index].provider, self.providers[index].get_provider_name()
            if name != own and name in options:
                return {**options, own: options[name]}
        return options

    def accept(self, command: Call, request: Request, response: LLMResponse) -> LLMResponse:
        """Check an answer.

        Raises:
            Failure: the response says that it is one.
            MalformedResponse: it is no LLMResponse, or its content is no text.
            EmptyResponse: it holds neither text nor tool calls.
            ResponseRejected: an extension refused it.
        """
        if not isinstance(response, LLMResponse):
            raise MalformedResponse(f"expected the provider to return an LLMResponse, found {type(response).__name__}")
        if not response.success:
            response.raise_for_failure()
        if response.content is None:  # not as it is typed, but what an SDK gives whose reply has no text
            response = replace(response, content="")
        if not isinstance(response.content, str):
            raise MalformedResponse(f"expected content as a text, found {type(response.content).__name__}")
        nothing = not response.content.strip() and not response.tool_calls
        if nothing and response.finish_reason is not FinishReason.PAUSED:  # a paused turn goes on from its parts
            cut = ", cut by max_tokens" if response.finish_reason is FinishReason.LENGTH else ""
            raise EmptyResponse(f"expected text or a tool call, found nothing{cut}", request_id=response.request_id)
        target = self.targets[command.index]
        if response.provider_name != target.provider:  # not filled in, or it goes by another name on this route
            response = replace(response, provider_name=target.provider)
        if self.extensions is not None:
            try:
                self.extensions.check_response(request, response)
            except Failure:
                raise
            except Exception as error:
                raise ResponseRejected(f"an extension failed on the response: {error!r}") from error
        return response

    def succeeded(self, response: LLMResponse) -> Outcome:
        """Make the outcome of an answered attempt."""
        return Outcome(self.runtime.clock(), response=response)

    def failed(self, command: Call, error: BaseException, delivered: Sequence[str] | None = None) -> Outcome:
        """Make the outcome of a failed attempt, and report it.

        Args:
            command: the attempt.
            error: what was raised.
            delivered: the pieces of text that the caller already holds; None where the caller holds nothing yet.
        """
        target = self.targets[command.index]
        if type(error) is TimeoutError and not error.args:
            failure: Failure = Timeout(f"no answer within {command.timeout:g} s")
        else:
            failure = classify_exception(error)
        if delivered is not None:
            failure = _interrupted(failure, "".join(delivered))
        failure.provider = target.provider
        failure.model = failure.model or target.model
        return Outcome(
            self.runtime.clock(),
            failure=failure,
            delivered=delivered is not None,
            draw=self.runtime.random(),
        )

    def report_attempt(self, command: Call, outcome: Outcome, started: float) -> None:
        """Tell the listeners of a failed attempt."""
        if outcome.failure is not None and self.extensions is not None and self.extensions.listens:
            label = self.targets[command.index].label
            seconds = outcome.at - started
            self.extensions.tell(events.AttemptFailed(label, command.number, outcome.failure, seconds))

    def report_wait(self, command: Wait) -> None:
        """Log a wait that is about to begin, and tell the listeners."""
        label = self.targets[command.index].label
        logger.warning(
            "%s %s, retry %d in %g s", label, command.failure.brief, command.retry, round(command.seconds, 3)
        )
        if self.extensions is not None and self.extensions.listens:
            self.extensions.tell(events.RetryScheduled(label, command.retry, command.seconds, command.failure))

    def conclude(self, verdict: Verdict, response: LLMResponse | None) -> LLMResponse:
        """Turn the verdict into the caller's response, and log a total failure once."""
        if verdict.end == "success" and response is not None:
            final = replace(response, attempts=verdict.attempts)
        elif verdict.end in ("failed", "interrupted"):
            final = self._conclude_failed(verdict)
        else:
            final = self._conclude_exhausted(verdict)
        if self.extensions is not None and self.extensions.listens:
            self.extensions.tell(events.CallFinished(final))
        return final

    def _conclude_failed(self, verdict: Verdict) -> LLMResponse:
        last = verdict.attempts[-1]
        failure = verdict.attempts[-1].failure
        assert failure is not None  # only a failure ends a call like this
        if isinstance(failure, StreamInterrupted):
            failure.attempts = verdict.attempts
        error = f"{last.target}: {failure.summary}" + (f": {failure.message}" if failure.message else "")
        logger.error("%s; no other provider is asked", error)
        return LLMResponse(False, "", last.provider, error, attempts=verdict.attempts, failure=failure)

    def _conclude_exhausted(self, verdict: Verdict) -> LLMResponse:
        failures = []
        for index, target in enumerate(self.targets):
            failure = verdict.failures.get(index)
            if failure is None:
                reason = f"not asked, the deadline of {self.policy.deadline:g} s had passed"
                failure = ProviderUnavailable(reason, provider=target.provider)
            failures.append(failure)
        listing = ", ".join(f"{t.label}: {f.brief}" for t, f in zip(self.targets, failures, strict=True))
        error = f"All LLM providers failed: [{listing}]"
        logger.error("%s", error)
        failed = AllProvidersFailed(error, failures=tuple(failures))
        failed.__cause__ = failures[-1]
        return LLMResponse(False, "", "", error, attempts=verdict.attempts, failure=failed)

    def _reason_to_skip(self, index: int) -> Failure | None:
        provider, name = self.providers[index], self.targets[index].provider
        failure: Failure | None = None
        try:
            if (unavailable := provider.unavailable_reason()) is not None:
                failure = ProviderUnavailable(unavailable, provider=name)
            elif (lack := provider.capabilities.lacking(self.request)) is not None:
                failure = UnsupportedRequest(lack, provider=name)
        except Exception as error:  # a mistake in one plugin must not end a call that another can answer
            failure = ProviderUnavailable(f"asked whether it can be used, it raised {error!r}", provider=name)
            failure.__cause__ = error
        if failure is not None and self.extensions is not None and self.extensions.listens:
            self.extensions.tell(events.TargetSkipped(self.targets[index].label, failure.brief))
        return failure

    def _report_switch(self, command: Switch) -> None:
        label, following = self.targets[command.index].label, self.targets[command.next_index].label
        level = logging.ERROR if command.failure.needs_attention else logging.WARNING
        logger.log(level, "%s %s, switching to %s", label, command.failure.brief, following)
        if self.extensions is not None and self.extensions.listens:
            self.extensions.tell(events.Switched(label, following, command.failure))


def _interrupted(failure: Failure, partial: str) -> StreamInterrupted:
    interrupted = StreamInterrupted(
        f"after {len(partial)} characters: {failure.summary}: {failure.message}",
        partial=partial,
        provider=failure.provider,
        model=failure.model,
        status=failure.status,
        code=failure.code,
        request_id=failure.request_id,
        retry_after=failure.retry_after,
    )
    interrupted.__cause__ = failure
    return interrupted
