"""What one call holds of what all calls share, and how it returns it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeAlias

from understudy.errors import Effect
from understudy.health.admission import Admission
from understudy.health.store import Claim, Lease, Report
from understudy.policy import Policy
from understudy.target import BreakerState

logger = logging.getLogger("understudy")

Detached: TypeAlias = tuple[Lease, Claim, str, bool]  # with the target's name, and whether a request was sent


class CallLeases:
    """The leases of one call, the retry that it has taken, and its place among the calls under way.

    Args:
        admission: what all calls share.
        policy: the call's numbers.
        changed: called with the index of a target whose breaker has just changed.
    """

    __slots__ = (
        "_admission",
        "_changed",
        "_counted",
        "_inside",
        "_leases",
        "_left",
        "_left_to_end",
        "_policy",
        "_retry",
        "_sent",
        "_store",
    )

    def __init__(self, admission: Admission, policy: Policy, changed: Callable[[int, Lease], None]) -> None:
        self._admission = admission
        self._policy = policy
        self._store = admission.store
        self._changed = changed
        self._counted = False  # by the budgets
        self._inside = False  # counted by the bulkhead
        self._leases: dict[int, tuple[Lease, Claim, str]] = {}
        self._left = False
        self._left_to_end: set[int] | None = None  # targets whose attempts go on after the call
        self._sent = 0  # one bit for each target that was sent a request
        self._retry: float | None = None  # when a retry was taken that has not been made yet

    def enter(self) -> bool:
        """Take a place among the calls under way; False where there is none."""
        bulkhead = self._admission.bulkhead
        self._inside = inside = bulkhead is None or bulkhead.enter()
        if self._left:  # asked in a thread, while the caller gave up
            self.leave()
        return inside

    def withdraw_retry(self) -> bool:
        """Take one retry from the budget; False where there is none left."""
        self._retry = taken = self._admission.retries.withdraw()
        if self._left:
            self.give_back_retry()
        return taken is not None

    def send(self, index: int) -> None:
        """Note that a target is sent its request, which uses up the retry that was taken."""
        self._sent |= 1 << index
        self._retry = None

    def give_back_retry(self) -> None:
        """Return a retry that is not made after all."""
        if self._retry is not None:
            self._admission.retries.give_back(self._retry)
            self._retry = None

    def take(self, index: int, name: str, claim: Claim) -> Lease:
        """Ask for permission to ask a target once. A store that fails lets every request through: no call fails."""
        try:
            lease = self._store.take(name, claim)
            if type(lease) is not Lease:
                raise TypeError(f"expected take to return a Lease, found {lease!r}")
        except Exception:
            logger.exception("the health store failed when asked for %s", name)
            lease = Lease(True)
        if lease.changed:
            self._changed(index, lease)
        if lease.changed or not lease.granted:
            self._admission.note_state(name, lease)
        if lease.granted:
            if not self._counted:
                self._counted = True
                self._admission.retries.deposit()
                if self._policy.hedge_after is not None:
                    self._admission.hedges.deposit()
            self._leases[index] = lease, claim, name
            if self._left:  # the store was asked in a thread, and the caller gave up meanwhile
                self.give(index)
        return lease

    def shows_life(self, index: int) -> bool:
        """Return whether a target's attempt is a probe or a doubtful one, whose lease reserves nothing else."""
        held = self._leases.get(index)
        return held is not None and (held[0].probe > 0 or held[0].doubt) and not held[0].slot

    def leave_to_end(self, index: int) -> None:
        """Note that a target's attempt continues on its own: what it holds is released at its own end."""
        self._left_to_end = {*(self._left_to_end or ()), index}

    def state(self, index: int) -> BreakerState:
        """Return the state in which a target's breaker let this call through."""
        held = self._leases.get(index)
        return BreakerState.CLOSED if held is None else held[0].state

    def give(self, index: int, report: Report | None = None) -> Lease | None:
        """Report an attempt's outcome, by default that it was abandoned; None if nothing is held."""
        return self.give_detached(index, self.detach(index), report)

    def detach(self, index: int) -> Detached | None:
        """Detach a target's lease from the call, to be released later; the target may be asked again meanwhile."""
        held = self._leases.pop(index, None)
        sent = bool(self._sent >> index & 1)
        self._sent &= ~(1 << index)
        return None if held is None else (*held, sent)

    def give_detached(self, index: int, detached: Detached | None, report: Report | None) -> Lease | None:
        """Release a lease that was detached from the call; None if there was none."""
        if detached is None:
            return None
        lease, claim, name, sent = detached
        if report is None:
            report = Report(Effect.NOTHING, sent=sent)
        try:
            after = self._store.give(name, lease, claim, report)
            if type(after) is not Lease:
                raise TypeError(f"expected give to return a Lease, found {after!r}")
        except Exception:  # what it cannot record is lost
            logger.exception("the health store failed to record %s", name)
            after = Lease(True)
        if after.changed:
            self._changed(index, after)
            self._admission.note_state(name, after)
        return after

    def leave(self) -> None:
        """Release what the call still holds, however it ended."""
        self._left = True
        for index in list(self._leases):
            if self._left_to_end is None or index not in self._left_to_end:
                self.give(index)
        if self._retry is not None:
            self.give_back_retry()
        if self._inside and self._admission.bulkhead is not None:
            self._inside = False
            self._admission.bulkhead.leave()
