"""Wraps a health store that uses a network, so that it neither fails nor delays a call.

Each query gets a moment. A store that fails, or does not answer in time, is not asked for a while, and a store in
memory answers instead: this process then knows only what it learnt itself, as it would without a shared store. Then one
query tests whether the store answers again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from understudy.concurrency.fork_safety import begin_anew_in_child
from understudy.concurrency.threads import shut_gate, start
from understudy.errors import Effect
from understudy.health.store import Claim, HealthStore, Lease, Report, TargetHealth
from understudy.policy import Policy

logger = logging.getLogger("understudy")

T = TypeVar("T")

PATIENCE = 0.02  # seconds for a query: an attempt makes two, and both together stay below 50 ms
CROWD = 0.004  # seconds on top, to wait for a free place among the queries
MOST_AT_ONCE = 64  # queries, each in a thread; a store that hangs leaves no more of them behind
MOST_OWED = 1024  # leases that are released when the store answers again; of more, the oldest expire by themselves
REST = 1.0  # seconds that a store is not asked after its first failure, doubled for each further one
LONGEST_REST = 30.0


class GuardedStore:
    """Asks a blocking store, or a local one while that does not answer.

    A store that neither answers nor fails is not asked again until it does: its client needs a timeout of its own.

    Args:
        store: the store that is asked.
        local: the store in memory that replaces it meanwhile.
        clock: gives seconds, monotonic.
    """

    blocks = True

    def __init__(self, store: HealthStore, local: HealthStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._local = local
        self._clock = clock
        self._rests = 0  # in a row
        self._rest_until = float("-inf")
        self.begin_anew()
        begin_anew_in_child(self)

    def __repr__(self) -> str:
        return f"GuardedStore({self._store!r})"

    def begin_anew(self) -> None:
        """Recreate the locks in a forked process, where no query is under way and the leases are the parent's."""
        self._lock = threading.Lock()
        self._places = threading.Semaphore(MOST_AT_ONCE)
        self._trying = False  # whether the first query after a rest is under way
        self._owed: deque[tuple[str, Lease, Claim, Report]] = deque(maxlen=MOST_OWED)
        self._repaying = False

    def take(self, target: str, claim: Claim) -> Lease:
        """Ask for permission to ask a target once."""

        def give_back(lease: Lease) -> None:
            if lease.granted:
                self._store.give(target, lease, claim, Report(Effect.NOTHING, sent=False))

        lease = self._ask(self._enter(), lambda: self._store.take(target, claim), give_back)
        return lease if lease is not None else replace(self._local.take(target, claim), local=True)

    def give(self, target: str, lease: Lease, claim: Claim, report: Report) -> Lease:
        """Report the outcome to the store that gave the lease."""
        if not lease.local:
            leave = self._enter()
            after = self._ask(leave, lambda: self._store.give(target, lease, claim, report))
            if after is not None:
                return after
            if lease.slot or lease.probe:  # what was learnt is old by then
                settled = Report(Effect.NOTHING, tokens=report.tokens, cost=report.cost, sent=report.sent)
                if leave is not None:  # it may already have recorded it: then this changes nothing
                    settled = Report(Effect.NOTHING)
                self._owed.append((target, lease, claim, settled))
            lease = Lease(True, generation=-1)  # its generation and slot mean nothing here
        return replace(self._local.give(target, lease, claim, report), local=True)

    def look(self, target: str, policy: Policy) -> TargetHealth:
        """Return how healthy a target is."""
        health = self._ask(self._enter(), lambda: self._store.look(target, policy))
        return health if health is not None else self._local.look(target, policy)

    def _enter(self) -> Callable[[], object] | None:
        """Begin a query; return the function that ends it, None if none may be made now."""
        if not self._rests:
            places = self._places
            if not places.acquire(timeout=CROWD):
                return None
            if not self._rests:
                return places.release
            places.release()
        with self._lock:
            if self._trying or self._clock() < self._rest_until:
                return None
            self._trying = True
            return self._end_trial

    def _end_trial(self) -> None:
        self._trying = False

    def _ask(
        self,
        leave: Callable[[], object] | None,
        question: Callable[[], T],
        undo: Callable[[T], object] | None = None,
    ) -> T | None:
        """Return the store's answer; None if it does not come in time.

        Args:
            leave: ends the query; None if none may be made.
            question: asks the store.
            undo: called, in the query's thread, with an answer that is no longer awaited.
        """
        if leave is None:
            return None
        answers: list[T] = []
        errors: list[BaseException] = []
        gate = shut_gate()
        first = threading.Lock()  # taken by the answer or by the end of waiting, whichever comes first

        def work() -> None:
            try:
                answers.append(question())
            except BaseException as error:
                errors.append(error)
            if first.acquire(blocking=False):
                gate.release()
            else:
                end_late()

        def end_late() -> None:
            try:
                if undo is not None and answers:
                    undo(answers[0])
            finally:
                leave()

        try:
            start(work)
        except RuntimeError:  # there are no more threads
            leave()
            return None
        try:
            in_time = gate.acquire(timeout=PATIENCE) or not first.acquire(blocking=False)
        except BaseException:  # the caller is interrupted
            if not first.acquire(blocking=False):
                start(end_late)
            raise
        if not in_time:
            self._rest(f"no answer within {PATIENCE * 1000:g} ms")
            return None
        leave()
        if errors:
            self._rest(f"{type(errors[0]).__name__}: {errors[0]}")
            return None
        self._go_on(tried=leave == self._end_trial)
        return answers[0]

    def _rest(self, why: str) -> None:
        """Stop asking the store for a while."""
        with self._lock:
            now = self._clock()
            if now < self._rest_until:  # a concurrent query has already reported it
                return
            seconds = min(REST * 2.0 ** min(self._rests, 16), LONGEST_REST)
            self._rests += 1
            self._rest_until = now + seconds
        logger.warning(
            "the health store failed (%s): for %g s this process uses only what it learns itself", why, seconds
        )

    def _go_on(self, tried: bool) -> None:
        """Record an answer; one to a query from before a failure says nothing about the time after it."""
        if tried:
            self._rests = 0
        if self._owed and not self._rests:
            with self._lock:
                if self._repaying:
                    return
                self._repaying = True
            try:
                start(self._repay)
            except RuntimeError:  # there are no more threads
                self._repaying = False

    def _repay(self) -> None:
        """Release the leases that could not be released while the store was not asked."""
        try:
            with suppress(Exception):  # the store is down again: the rest is released later
                while self._owed and not self._rests:
                    self._store.give(*self._owed.popleft())
        finally:
            self._repaying = False
