"""THE decision procedure: who is asked, how long, how often, and who comes next.

`decide` is a generator without input, output, clock or randomness of its own. It yields commands and is sent what came
of them; every driver (sync, async, streams, the simulator) runs this same code.

    VISIT    the deadline has passed                      -> end: deadline
             the target must be skipped                   -> note why; next target
    ATTEMPT  timeout = min(attempt_timeout, time left / targets left)
             answer                                       -> end: success
             quota                                        -> next target, at once
             transient                                    -> wait and ATTEMPT again while retries, the vendor's hint and
                                                             the deadline allow, else next target
             this target cannot                           -> next target, at once
             the request is at fault                      -> end: failed
             broken off after the caller got a part       -> end: interrupted
    NEXT     none left: if every target was only skipped and one is free again some time, one plain attempt on the one
             that is free soonest; else end: exhausted
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from understudy.errors import ContentBlocked, Failure, Scope, StreamInterrupted
from understudy.policy import Policy
from understudy.response import Attempt, LLMResponse


@dataclass(frozen=True, slots=True)
class Target:
    """One stop on the route: a provider, and the model if the route names one.

    Args:
        label: the route's own words: "gemini", or "claude:claude-haiku-4-5".
        provider: the provider's name.
        model: the model, or None for the provider's default.
    """

    label: str
    provider: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Admit:
    """Command: tell whether this target may be asked now. Answer with an Outcome; `skip` says why not."""

    index: int


@dataclass(frozen=True, slots=True)
class Call:
    """Command: ask this target, for at most `timeout` seconds. Answer with an Outcome."""

    index: int
    number: int
    timeout: float
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Command: let `seconds` pass before the next attempt on this target. Answer with an Outcome."""

    index: int
    retry: int
    seconds: float
    failure: Failure


@dataclass(frozen=True, slots=True)
class Switch:
    """Command: note that the next target takes the part. Answer with an Outcome."""

    index: int
    next_index: int
    failure: Failure


Command: TypeAlias = Admit | Call | Wait | Switch


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a command.

    Args:
        at: seconds on the caller's monotonic clock, now.
        failure: the failure of an attempt; None for an answer.
        response: the answer.
        delivered: whether the caller already holds a part of a stream's answer.
        draw: a random number of at least 0 and below 1, for jitter.
        skip: why a target may not be asked; None where it may.
        free_in: seconds until a skipped target may be asked again; None for never in this call.
    """

    at: float
    failure: Failure | None = None
    response: LLMResponse | None = None
    delivered: bool = False
    draw: float = 0.0
    skip: Failure | None = None
    free_in: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a call ended.

    Args:
        end: "success", "exhausted" (no target answered), "deadline", "failed" (the request is at fault) or
            "interrupted" (a stream broke off after its first token).
        attempts: every target's part, in order.
        failures: the last failure or skip reason of every target that was come to, by its index.
    """

    end: Literal["success", "exhausted", "deadline", "failed", "interrupted"]
    attempts: tuple[Attempt, ...]
    failures: dict[int, Failure]


Procedure: TypeAlias = Generator[Command, Outcome, Verdict]


def decide(targets: Sequence[Target], policy: Policy, started: float) -> Procedure:
    """Run one call.

    Args:
        targets: the route, primary first; at least one.
        policy: the numbers.
        started: seconds on the caller's monotonic clock, now.

    Returns:
        A generator that yields commands, is sent outcomes, and returns the Verdict.
    """
    return _Run(targets, policy, started).visit_all()


class _Run:
    """The state of one call; it belongs to nobody else."""

    __slots__ = ("attempts", "deadline", "failures", "free_in", "now", "policy", "targets")

    def __init__(self, targets: Sequence[Target], policy: Policy, started: float) -> None:
        self.targets = targets
        self.policy = policy
        self.now = started
        self.deadline = None if policy.deadline is None else started + policy.deadline
        self.attempts: list[Attempt] = []
        self.failures: dict[int, Failure] = {}
        self.free_in: dict[int, float] = {}

    def visit_all(self) -> Procedure:
        reason = "primary"
        for index in range(len(self.targets)):
            if self._late():
                return self._end("deadline")
            admission = yield Admit(index)
            self.now = admission.at
            if admission.skip is None:
                end = yield from self.insist(index, reason, self.policy.max_retries, len(self.targets) - index)
                if end is not None:
                    return self._end(end)
            else:
                self._note_skip(index, admission.skip, admission.free_in)
            if index + 1 < len(self.targets):
                failure = self.failures[index]
                reason = f"after {self.targets[index].label}: {failure.brief}"
                self.now = (yield Switch(index, index + 1, failure)).at
        if all(attempt.outcome == "skipped" for attempt in self.attempts) and self.free_in:
            soonest = min(self.free_in, key=self.free_in.__getitem__)
            end = yield from self.insist(soonest, "every target was skipped, this one is free soonest", 0, 1)
            if end is not None:
                return self._end(end)
        return self._end("deadline" if self._late() else "exhausted")

    def insist(
        self, index: int, reason: str, max_retries: int, targets_left: int
    ) -> Generator[Command, Outcome, Literal["success", "failed", "interrupted"] | None]:
        """Ask one target until it answers, gives up for good, or its retries are used up (then None)."""
        wait = 0.0
        retry = 0
        while True:
            asked = self.now
            outcome = yield Call(index, retry + 1, self._timeout(targets_left), reason)
            self.now = outcome.at
            failure = outcome.failure
            self._note_attempt(index, retry + 1, reason, outcome, outcome.at - asked, wait)
            if failure is None:
                return "success"
            self.failures[index] = failure
            end = self._fate(failure, outcome.delivered)
            if end is not None:
                return end
            pause = self._pause(failure, retry, outcome.draw) if retry < max_retries else None
            if pause is None:
                return None
            wait = pause
            retry += 1
            reason = f"retry {retry} of {max_retries} after {failure.brief}"
            self.now = (yield Wait(index, retry, wait, failure)).at

    def _fate(self, failure: Failure, delivered: bool) -> Literal["failed", "interrupted"] | None:
        """Whether the failure ends the whole call."""
        if delivered:
            return "interrupted"
        if failure.scope is Scope.CANCELLED:
            return "failed"
        if failure.scope is Scope.REQUEST:
            blocked_may_switch = isinstance(failure, ContentBlocked) and self.policy.switch_on_content_blocked
            return None if blocked_may_switch else "failed"
        return None

    def _pause(self, failure: Failure, retry: int, draw: float) -> float | None:
        """Seconds to wait before asking the same target again; None to go on to the next."""
        passing = failure.scope is Scope.TRANSIENT or isinstance(failure, StreamInterrupted)
        if not passing or failure.retryable is False:
            return None
        wait = self.policy.backoff(retry)
        if self.policy.jitter == "full":
            wait *= draw
        hint = failure.retry_after
        if hint is not None:
            if hint > self.policy.max_delay:
                return None
            wait = max(wait, hint)
        if self.deadline is not None and self.now + wait + self.policy.minimum_attempt >= self.deadline:
            return None
        return wait

    def _timeout(self, targets_left: int) -> float:
        if self.deadline is None:
            return self.policy.attempt_timeout
        slice_ = (self.deadline - self.now) / targets_left
        return max(min(self.policy.attempt_timeout, slice_), 0.001)  # a provider takes no timeout of 0

    def _late(self) -> bool:
        return self.deadline is not None and self.now >= self.deadline

    def _note_attempt(
        self, index: int, number: int, reason: str, outcome: Outcome, seconds: float, wait: float
    ) -> None:
        target = self.targets[index]
        source = outcome.failure or outcome.response
        self.attempts.append(
            Attempt(
                target=target.label,
                provider=target.provider,
                model=(source.model if source else None) or target.model,
                outcome="succeeded" if outcome.failure is None else "failed",
                reason=reason,
                number=number,
                failure=outcome.failure,
                seconds=seconds,
                wait=wait,
                usage=outcome.response.usage if outcome.response else None,
                request_id=source.request_id if source else None,
            )
        )

    def _note_skip(self, index: int, failure: Failure, free_in: float | None) -> None:
        target = self.targets[index]
        self.failures[index] = failure
        if free_in is not None:
            self.free_in[index] = free_in
        self.attempts.append(
            Attempt(
                target=target.label,
                provider=target.provider,
                model=target.model,
                outcome="skipped",
                reason=f"skipped: {failure.brief}",
                failure=failure,
            )
        )

    def _end(self, end: Literal["success", "exhausted", "deadline", "failed", "interrupted"]) -> Verdict:
        return Verdict(end, tuple(self.attempts), self.failures)
