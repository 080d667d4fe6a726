"""What one call logs and reports to its listeners."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from understudy.engine.commands import Call, Switch, Wait
from understudy.errors import Failure, LimitReached, TargetResting
from understudy.health.budgets import PassedOver
from understudy.health.store import Lease
from understudy.messages import Request
from understudy.policy import Policy
from understudy.response import AttemptOutcome, LLMResponse
from understudy.target import BreakerState, Target

if TYPE_CHECKING:
    from understudy.execution.extensions import Extensions

logger = logging.getLogger("understudy")


class Reporter:
    """Writes to the log of the name "understudy", and passes events on to extensions.

    Args:
        targets: the call's targets, in the order in which they are asked.
        extensions: the listeners, or None.
        passed_over: counts the calls that skip a target.
        call: the call's id.
    """

    __slots__ = ("_call", "_extensions", "_latest", "_passed_over", "_targets", "_told", "listens")

    def __init__(
        self, targets: Sequence[Target], extensions: Extensions | None, passed_over: PassedOver, call: str
    ) -> None:
        self._call = call
        self._targets = targets
        self._passed_over = passed_over
        self._extensions = extensions if extensions is not None and extensions.listens else None
        self.listens = self._extensions is not None
        self._latest = ""  # who was asked last
        self._told = False  # how the call ended

    def attempt_started(self, command: Call, state: BreakerState, *, told: bool = False) -> None:
        """Report an attempt that is about to begin; `told` if it was abandoned before a thread started it."""
        label = self._latest = self._targets[command.index].label
        if command.number == 1:
            logger.info("Using %s for content generation", label)
        elif command.adaptation is not None:
            logger.info("%s is asked once more, %s", label, command.adaptation)
        if self.listens and not told:
            other = self._targets[command.other].label if command.beside else ""
            self._tell("AttemptStarted", label, command.number, command.reason, state, command.beside, other)

    def started(self, policy: Policy, request: Request, *, streaming: bool) -> None:
        """Report that the call begins."""
        route = tuple(target.label for target in self._targets)
        asked = (request.model, request.temperature, request.max_tokens, len(request.tools))
        messages, structured = len(request.messages), request.output_schema is not None
        self._tell("CallStarted", route, policy, streaming, messages, *asked, structured)

    def first_token(self, index: int, number: int, seconds: float) -> None:
        """Report the first piece of a stream."""
        self._tell("FirstToken", self._targets[index].label, number, seconds)

    def attempt_finished(
        self,
        index: int,
        number: int,
        outcome: AttemptOutcome,
        seconds: float,
        response: LLMResponse | None,
        failure: Failure | None,
    ) -> None:
        """Report how an attempt ended; with both an answer and a failure, the answer was refused."""
        target, source = self._targets[index], response or failure
        told: dict[str, Any] = {"failure": failure, "price_list": target.price_list or target.provider}
        if source is not None:
            told |= {"model": source.model or target.model, "usage": source.usage, "request_id": source.request_id}
        if response is not None:
            told["finish_reason"] = response.finish_reason
        self._tell("AttemptFinished", target.label, number, outcome, seconds, **told)

    def attempt_failed(self, command: Call, failure: Failure, seconds: float, wasted: int) -> None:
        """Report how an attempt failed."""
        self._tell("AttemptFailed", self._targets[command.index].label, command.number, failure, seconds, wasted)

    def skipped(self, index: int, failure: Failure, state: BreakerState) -> None:
        """Report a target that is skipped."""
        if isinstance(failure, TargetResting):
            told = not isinstance(failure, LimitReached)
            self._passed_over.add(self._targets[index].label, failure.summary, told=told)
        self._tell("TargetSkipped", self._targets[index].label, failure.brief, state)

    def wait(self, command: Wait) -> None:
        """Report a wait that is about to begin."""
        label = self._targets[command.index].label
        what = f"retry {command.retry}" if command.retry else "asked again"
        logger.warning("%s %s, %s in %g s", label, command.failure.brief, what, round(command.seconds, 3))
        self._tell("RetryScheduled", label, command.retry, command.seconds, command.failure)

    def switch(self, command: Switch) -> None:
        """Report that another target takes over."""
        label, following = self._targets[command.index].label, self._targets[command.next_index].label
        level = logging.WARNING
        if isinstance(command.failure, TargetResting):
            level = logging.DEBUG  # another line has reported it, for all calls
        elif command.failure.needs_attention:
            level = logging.ERROR
        logger.log(level, "%s %s, switching to %s", label, command.failure.brief, following)
        self._tell("Switched", label, following, command.failure)

    def breaker(self, index: int, lease: Lease) -> None:
        """Report a circuit breaker that has just changed."""
        label, state, seconds = self._targets[index].label, lease.state, lease.free_in
        if state is BreakerState.CLOSED:
            self._passed_over.forget(label)
        if lease.refused:
            words = "%s %s: it is skipped for %.3g s, and longer each time, until its key, model or URL changes"
            logger.error(words, label, lease.refused, seconds)
        else:
            resting = state in (BreakerState.OPEN, BreakerState.COOLING)
            words = f" for {seconds:.3g} s" if resting else ""
            logger.log(logging.WARNING if resting else logging.INFO, "%s circuit %s%s", label, state, words)
        if self._extensions is not None:  # also after the call: a probe may end later
            self._pass_on("BreakerChanged", label, state, seconds)

    def unclosed(self, index: int) -> None:
        """Report a stream that raised when it was closed: its answer counts nevertheless."""
        logger.warning("%s failed when its stream was closed", self._targets[index].label, exc_info=True)

    def finished(self, response: LLMResponse) -> None:
        """Report how the call ended."""
        self._tell("CallFinished", response)
        self._told = True

    def left(self) -> None:
        """Report that the caller gave up, where the call has not ended otherwise."""
        self._tell("CallCancelled", self._latest)
        self._told = True

    def _tell(self, kind: str, *fields: Any, **named: Any) -> None:
        """Build an event of this kind and pass it on, if somebody listens and the call has not ended."""
        if self._extensions is not None and not self._told:
            self._pass_on(kind, *fields, **named)

    def _pass_on(self, kind: str, *fields: Any, **named: Any) -> None:
        from understudy import events  # most calls have no listener

        assert self._extensions is not None
        event = getattr(events, kind)(*fields, **named, call=self._call)
        token = events.current_call.set(self._call)
        try:
            self._extensions.tell(event)
        finally:
            events.current_call.reset(token)
