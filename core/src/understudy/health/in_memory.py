"""The targets' health in this process: a HealthStore in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from random import random

from understudy.concurrency.fork_safety import begin_anew_in_child
from understudy.health.record import TargetRecord
from understudy.health.store import Claim, Lease, Report, TargetHealth
from understudy.policy import Policy

MOST_TARGETS = 4096  # idle ones are forgotten first, then those that have not answered for the longest time


class InMemoryHealthStore:
    """Keeps health in this process. Share one among factories so that each knows what the others learnt.

    Args:
        clock: gives seconds, monotonic.
        random: gives numbers from 0 to below 1, for the jitter of open breakers.
    """

    blocks = False

    def __init__(self, clock: Callable[[], float] = time.monotonic, random: Callable[[], float] = random) -> None:
        self._clock = clock
        self._random = random
        self._records: dict[str, TargetRecord] = {}
        self._lock = threading.Lock()
        begin_anew_in_child(self)

    def __repr__(self) -> str:
        return f"InMemoryHealthStore({len(self._records)} targets)"

    def take(self, target: str, claim: Claim) -> Lease:
        """Ask for permission to ask a target once; reserve what the limits count."""
        now = self._clock()
        with self._lock:
            record = self._records.get(target) or self._add(target)
            return record.take(claim, now)

    def give(self, target: str, lease: Lease, claim: Claim, report: Report) -> Lease:
        """Report the outcome, and release or settle what was taken."""
        now = self._clock()
        with self._lock:
            record = self._records.get(target) or self._add(target)
            return record.give(lease, claim, report, now, self._random)

    def look(self, target: str, policy: Policy) -> TargetHealth:
        """Return how healthy a target is, and change nothing."""
        now = self._clock()
        with self._lock:
            record = self._records.get(target)
            return TargetHealth() if record is None else record.look(now, policy)

    def forget(self) -> None:
        """Forget everything, for example between two tests."""
        with self._lock:
            self._records.clear()

    def begin_anew(self) -> None:
        """Recreate the lock in a forked process, and release what was leased to the parent's calls."""
        self._lock = threading.Lock()
        for record in self._records.values():
            record.free_leases()

    def _add(self, target: str) -> TargetRecord:
        if len(self._records) >= MOST_TARGETS:
            for name in sorted(self._records, key=lambda name: self._records[name].worth())[: MOST_TARGETS // 2]:
                del self._records[name]
        record = self._records[target] = TargetRecord()
        return record
