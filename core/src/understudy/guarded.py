"""A health store that asks over a network, kept from failing or holding up a call.

Each question gets a moment. A store that fails, or does not answer in it, is left alone for a while, and meanwhile a
store in memory answers: this process then knows only what it learnt itself, which is what it would know without a
shared store.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from understudy.health import Claim, HealthStore, Lease, Report, TargetHealth
from understudy.policy import Policy
from understudy.threads import start

logger = logging.getLogger("understudy")

T = TypeVar("T")

PATIENCE = 0.02  # seconds for a question: an attempt asks two, and both together stay below 50 ms
REST = 1.0  # seconds that a store is left alone after its first failure, doubled for each further one
LONGEST_REST = 30.0


class GuardedStore:
    """Asks a store that blocks, and another one while that does not answer.

    Args:
        store: the store that is asked.
        local: the store in memory that stands in for it.
        clock: gives seconds, monotonic.
    """

    blocks = True

    def __init__(self, store: HealthStore, local: HealthStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._local = local
        self._clock = clock
        self._rests = 0
        self._rest_until = float("-inf")

    def __repr__(self) -> str:
        return f"GuardedStore({self._store!r})"

    def take(self, target: str, claim: Claim) -> Lease:
        """Ask for the right to ask a target once."""
        lease = self._ask(lambda: self._store.take(target, claim))
        return lease if lease is not None else replace(self._local.take(target, claim), local=True)

    def give(self, target: str, lease: Lease, claim: Claim, report: Report) -> Lease:
        """Tell what came of it, to the store that gave the lease."""
        after = None if lease.local else self._ask(lambda: self._store.give(target, lease, claim, report))
        if after is not None:
            return after
        foreign = not lease.local  # then its generation and slot mean nothing here
        own = Lease(True, generation=-1) if foreign else lease
        return replace(self._local.give(target, own, claim, report), local=True)

    def look(self, target: str, policy: Policy) -> TargetHealth:
        """Tell how a target is."""
        health = self._ask(lambda: self._store.look(target, policy))
        return health if health is not None else self._local.look(target, policy)

    def _ask(self, question: Callable[[], T]) -> T | None:
        """Return the store's answer; None where there is none in time."""
        if self._clock() < self._rest_until:
            return None
        answers: list[T] = []
        errors: list[BaseException] = []
        gate = threading.Lock()
        gate.acquire()

        def work() -> None:
            try:
                answers.append(question())
            except BaseException as error:
                errors.append(error)
            gate.release()

        start(work)
        if gate.acquire(timeout=PATIENCE) and answers:
            self._rests = 0
            return answers[0]
        now = self._clock()
        if now < self._rest_until:  # somebody who asked at the same time has said so
            return None
        seconds = min(REST * 2.0 ** min(self._rests, 16), LONGEST_REST)
        self._rests += 1
        self._rest_until = now + seconds
        why = f"{type(errors[0]).__name__}: {errors[0]}" if errors else f"no answer within {PATIENCE * 1000:g} ms"
        logger.warning(
            "the health store failed (%s): for %g s this process goes by what it learns itself", why, seconds
        )
        return None
