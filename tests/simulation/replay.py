"""Whether calls that were made beside each other decided as each would have decided alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from understudy.commands import Command, Outcome, Target, Verdict
from understudy.engine import Procedure, decide
from understudy.policy import Policy


@dataclass(slots=True)
class Tape:
    """All that one call's decision procedure asked for, and what it was told."""

    targets: Sequence[Target]
    policy: Policy
    started: float
    steps: list[tuple[Command, Outcome]] = field(default_factory=list)
    verdict: Verdict | None = None


@contextmanager
def recorded() -> Iterator[list[Tape]]:
    """Record every call that is made meanwhile."""
    tapes: list[Tape] = []

    def recording(targets: Sequence[Target], policy: Policy, started: float) -> Procedure:
        tape = Tape(targets, policy, started)
        tapes.append(tape)
        return _relay(decide(targets, policy, started), tape)

    with patch("understudy.drivers.decide", recording):
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
        alone = decide(tape.targets, tape.policy, tape.started)
        command: Any = next(alone)
        for asked, outcome in tape.steps:
            assert command == asked, f"call {number}: alone it asks {command}, among others {asked}"
            try:
                command = alone.send(outcome)
            except StopIteration as stop:
                command = stop.value
        if tape.verdict is not None:
            assert command == tape.verdict, f"call {number}: alone it ends in {command}, among others {tape.verdict}"
