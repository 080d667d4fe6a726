"""Dry runs of the decision procedure, in which no provider is asked: the basis for explaining and planning.

A dry run executes the engine itself, with simulated failures, a health store of its own and a clock that only the waits
advance. So what is said about a policy is what the engine does: there is no second description that could differ.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from understudy.engine.commands import ATTEMPT, Admit, Call, Command, Outcome, Verdict, Wait
from understudy.engine.decision import decide
from understudy.errors import Failure, TargetResting
from understudy.health.admission import refusal, report_of
from understudy.health.in_memory import InMemoryHealthStore
from understudy.health.store import Claim, Lease
from understudy.policy import Policy
from understudy.target import Target

Answer: TypeAlias = Callable[[Command, float], Outcome]
MOST_COMMANDS = 100_000  # after which the dry run of a policy with very many retries stops


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What happened in a dry run.

    Args:
        commands: what the engine asked for, in order.
        verdict: how the call ended; None if it was left before its end.
    """

    commands: tuple[Command, ...]
    verdict: Verdict | None

    def waits(self, index: int) -> tuple[float, ...]:
        """Return the seconds of the waits for a target."""
        return tuple(c.seconds for c in self.commands if isinstance(c, Wait) and c.index == index)

    @property
    def asked(self) -> tuple[int, ...]:
        """The targets that were asked, in order, each as often as it was."""
        return tuple(c.index for c in self.commands if isinstance(c, Call))

    def timeout(self, index: int) -> float | None:
        """Return the seconds of a target's first attempt; None where it was not asked."""
        return next((c.timeout for c in self.commands if isinstance(c, Call) and c.index == index), None)


def rehearse(targets: Sequence[Target], policy: Policy, answer: Answer, unable: Collection[int] = ()) -> Rehearsal:
    """Play one call.

    Args:
        targets: the targets, in the order in which they are asked.
        policy: the numbers.
        answer: makes the outcome of a command, given the seconds since the call began. Not asked about waits.
        unable: the targets that cannot answer at all.
    """
    procedure = decide(targets, policy, 0.0, unable)
    commands: list[Command] = []
    now = 0.0
    try:
        command = next(procedure)
        while len(commands) < MOST_COMMANDS:
            commands.append(command)
            outcome = Outcome(now + command.seconds) if isinstance(command, Wait) else answer(command, now)
            now = outcome.at
            command = procedure.send(outcome)
    except StopIteration as done:
        return Rehearsal(tuple(commands), done.value)
    return Rehearsal(tuple(commands), None)


def rehearse_failures(policy: Policy, *parts: Failure | None, draw: float = 1.0, delivered: bool = False) -> Rehearsal:
    """Play one call in which each target always does the same thing, instantly, and was healthy before.

    Args:
        policy: the numbers.
        parts: for each target the failure that all its attempts end in, or None for an answer. A TargetResting is
            passed over until its `retry_after` is over.
        draw: 0.0 for the shortest waits that the jitter allows, 1.0 for the longest.
        delivered: whether the caller of a stream already holds a piece of it when the first target fails; its failure
            is a StreamInterrupted.
    """
    targets = [Target(f"target {index}", f"target {index}", position=index) for index in range(len(parts))]
    clock = _Clock()
    store = InMemoryHealthStore(clock, lambda: 0.0)
    leases: dict[int, tuple[Lease, Claim]] = {}

    def admit(command: Admit, failure: Failure | None) -> Outcome:
        target = targets[command.index]
        if isinstance(failure, TargetResting) and not command.forced and (failure.retry_after or 0.0) > clock.now:
            return Outcome(clock.now, skip=failure, free_in=failure.retry_after)
        claim = Claim(1, policy, ATTEMPT, forced=command.forced)
        lease = store.take(target.label, claim)
        leases[command.index] = lease, claim
        skip = refusal(lease, target.provider)
        return Outcome(clock.now, skip=skip, free_in=lease.free_in or None, breaker=lease.state)

    def call(command: Call, failure: Failure | None) -> Outcome:
        if failure is None or isinstance(failure, TargetResting):
            return Outcome(clock.now, index=command.index)
        report = report_of(failure, None, "", priced=False)
        after = store.give(targets[command.index].label, *leases[command.index], report)
        return Outcome(
            clock.now,
            failure=failure,
            draw=draw,
            index=command.index,
            delivered=delivered and command.index == 0,
            free_in=None if after.granted else after.free_in,
            breaker=after.state,
            failing=after.failing,
        )

    def answer(command: Command, now: float) -> Outcome:
        clock.now = now
        if isinstance(command, Admit):
            return admit(command, parts[command.index])
        if isinstance(command, Call):
            return call(command, parts[command.index])
        return Outcome(now, refused=not (policy.retry_budget or policy.retry_reserve))

    return rehearse(targets, policy, answer)


class _Clock:
    """A clock that stands still until it is set."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now
