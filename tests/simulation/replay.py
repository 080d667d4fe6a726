"""Whether calls that were made beside each other decided as each would have decided alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from understudy.engine.commands import Command, Outcome, Verdict
from understudy.engine.decision import Procedure, decide
from understudy.policy import Policy
from understudy.target import Target


@dataclass(slots=True)
class Tape:
    """All that one call's decision procedure asked for, and what it was told."""

    targets: Sequence[Target]
    policy: Policy
    started: float
    unable: Collection[int]
    steps: list[tuple[Command, Outcome]] = field(default_factory=list)
    verdict: Verdict | None = None


@contextmanager
def recorded() -> Iterator[list[Tape]]:
    """Record every call that is made meanwhile."""
    tapes: list[Tape] = []

    def recording(targets: Sequence[Target], policy: Policy, started: float, unable: Collection[int]) -> Procedure:
        tape = Tape(targets, policy, started, unable)
        tapes.append(tape)
        return _relay(decide(targets, policy, started, unable), tape)

    with patch("understudy.execution.call.decide", recording):
        yield tapes


def _relay(procedure: Procedure, tape: Tape) -> Procedure:
    command = next(procedure)
    while True:
        outcome = yield command
        tape.steps.append((command, outcome))
        try:
            command = procedure.send(outcome)
        except StopIteration as stop:
            tape.verdict = stop.value
            return tape.verdict


def check_i14(tapes: Sequence[Tape]) -> None:
    """Of calls that are under way at once each one does what it would have done alone."""
    for number, tape in enumerate(tapes):
        alone = decide(tape.targets, tape.policy, tape.started, tape.unable)
        command: Any = next(alone)
        for asked, outcome in tape.steps:
            assert _same(command, asked), f"call {number}: alone it asks {command}, among others {asked}"
            try:
                command = alone.send(outcome)
            except StopIteration as stop:
                command = stop.value
        same = tape.verdict is None or _same(command, tape.verdict)
        assert same, f"call {number}: alone it ends in {command}, among others {tape.verdict}"


def _same(one: object, other: object) -> bool:
    """Whether two decisions are the same; a failure that the engine itself makes is another object each time."""
    return one == other or repr(one) == repr(other)
