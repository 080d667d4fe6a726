"""Where health is kept: the real store in memory, with a book of all that it is asked, and faults of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any
from unittest.mock import patch

from simulation.faults import Episode, current
from simulation.world import CURRENT, Flushed, Given, History, Stuck, Taken, VirtualLoop
from understudy.errors import InvalidRequest, RequestRefused, RequestTooLarge
from understudy.health import InMemoryHealthStore, shared
from understudy.health.breaker import Breaker
from understudy.health.budgets import HedgeBudget, RetryBudget
from understudy.health.store import Claim, Lease, Report, TargetHealth
from understudy.policy import Policy

SLOWEST = 0.5  # seconds that a slow store takes for a question at most


class Book:
    """A health store that writes down every question and every report.

    Args:
        loop: the world's clock.
        history: where it writes.
        draw: gives the random numbers.
        episodes: when the store is killed, flushed or slow.
        blocks: whether it is reached over a network.
        name: tells it from other stores.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        history: History,
        draw: Random,
        episodes: Sequence[Episode] = (),
        blocks: bool = False,
        name: str = "shared",
    ) -> None:
        self.name = name
        self.inner = InMemoryHealthStore(lambda: loop.now, draw.random)
        self.blocks = blocks
        self.forgetful: set[int] = set()  # calls of processes that died: their reports never arrive
        self.too_late = False  # whether nobody waits for the answer any more
        self.calls: dict[int, int] = {}  # the numbers that claims give to calls, and those of the history
        self._episodes = episodes
        self._loop = loop
        self._history = history
        self._draw = draw
        self._flushed: Episode | None = None

    def take(self, target: str, claim: Claim) -> Lease:
        call, vendor = CURRENT.get(), target.partition("/")[0]
        if not self.too_late:
            call.lease.pop(vendor, None)
        self.calls[claim.call] = call.number  # also of one that the store never hears of: its report may arrive
        self._fail()
        lease = self.inner.take(target, claim)
        if lease.granted and not self.too_late:
            call.lease[vendor] = self.name, lease, claim
        until = self.inner._records[target].breaker._probe_until
        self._history.store_log.append(Taken(self._loop.now, self.name, target, call.number, claim, lease, until))
        return lease

    def give(self, target: str, lease: Lease, claim: Claim, report: Report) -> Lease:
        call, vendor = CURRENT.get(), target.partition("/")[0]
        if call.number in self.forgetful:
            return Lease(True)
        self._fail()
        failure = next((visit.failure for visit in reversed(call.visits) if visit.vendor == vendor), None)
        # A report that arrives late is of an earlier attempt.
        blameless = isinstance(failure, RequestTooLarge | RequestRefused | InvalidRequest) and not self.too_late
        before = self._fingerprint(target) if blameless else None
        after = self.inner.give(target, lease, claim, report)
        touched = blameless and self._fingerprint(target) != before
        given = Given(self._loop.now, self.name, target, call.number, claim, lease, report, after, failure, touched)
        self._history.store_log.append(given)
        return after

    def look(self, target: str, policy: Policy) -> TargetHealth:
        self._fail()
        health = self.inner.look(target, policy)
        if health.suspect:
            self._history.suspects.add((CURRENT.get().number, target.partition("/")[0]))
        return health

    def seconds(self) -> float:
        """Draw how long the next question takes."""
        wrong = current(self._episodes, self._loop.now)
        if wrong is None or wrong.kind != "slow":
            return 0.0
        seconds = SLOWEST * self._draw.random() ** 3
        wrong.met += seconds > shared.PATIENCE
        return seconds

    def _fingerprint(self, target: str) -> tuple[Any, ...]:
        """Return what the breaker of a target holds against it."""
        record = self.inner._records.get(target)
        breaker = Breaker() if record is None else record.breaker
        failed = sum(bucket[2] for bucket in breaker._buckets)
        return (
            breaker.state,
            breaker.generation,
            breaker.trips,
            len(breaker._streak),
            len(breaker.failing_calls),
            failed,
        )

    def _fail(self) -> None:
        if not self._episodes:
            return
        wrong = current(self._episodes, self._loop.now)
        if wrong is None:
            return
        if wrong.kind == "killed":
            wrong.met += 1
            raise ConnectionError("the store is gone")
        if wrong.kind == "flushed" and wrong is not self._flushed:
            wrong.met += 1
            self._flushed = wrong
            self.inner.forget()
            self._history.store_log.append(Flushed(self._loop.now, self.name))


class Network:
    """Between the programs and their health store: it takes virtual time where threads would wait.

    Args:
        loop: the world's clock.
        book: the store.
    """

    def __init__(self, loop: VirtualLoop, book: Book) -> None:
        self._loop = loop
        self._book = book
        self.asked_by: dict[int, shared.GuardedStore] = {}  # by client
        self._late = 0.0  # seconds after its caller's patience that the answer comes
        self._over = False

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Have it stand in for threads."""
        with (
            patch("understudy.execution.async_driver.in_thread", self._in_thread),
            patch("understudy.execution.async_driver.start", lambda function: function()),
            patch("understudy.execution.hedging.start", lambda function: function()),
            patch("understudy.health.shared.start", self._start),
            patch("understudy.health.shared.shut_gate", lambda: self),
        ):
            yield

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function after the time that the store takes, even if its caller waits no longer."""
        store = self.asked_by[CURRENT.get().client]
        seconds = 0.0 if self._loop.now < store._rest_until else self._book.seconds()
        done = self._loop.create_future()

        def work() -> None:
            self._late = seconds - shared.PATIENCE
            try:
                result = function(*arguments)
            except BaseException as error:
                if not done.done():
                    done.set_exception(error)
            else:
                if not done.done():
                    done.set_result(result)
            finally:
                self._late = 0.0

        self._loop.call_later(min(seconds, shared.PATIENCE), work)
        return await done

    def _start(self, work: Callable[[], None]) -> None:
        """Ask the store now, or only when the caller waits no longer."""
        self._over = False
        if self._late > 0:
            self._loop.call_later(self._late, self._ask_too_late, work)
        else:
            work()

    def _ask_too_late(self, work: Callable[[], None]) -> None:
        self._book.too_late = True
        try:
            work()
        finally:
            self._book.too_late = False

    # The gate at which a caller waits for the store: shut until there is an answer.

    def acquire(self, timeout: float = -1) -> bool:
        if timeout < 0 and not self._over:
            raise Stuck("a caller waits for a store that does not answer")
        return self._over

    def release(self) -> None:
        self._over = True


class WatchedBudget(RetryBudget):
    """The retry budget, with a line in the history for every retry that is taken, refused or given back."""

    __slots__ = ("_loop",)

    def __init__(self, share: float, reserve: float, loop: VirtualLoop) -> None:
        super().__init__(share, reserve, lambda: loop.now)
        self._loop = loop

    def withdraw(self) -> float | None:
        taken = super().withdraw()
        CURRENT.get().retries.append((self._loop.now, "refused" if taken is None else "granted"))
        return taken

    def give_back(self, taken: float) -> None:
        super().give_back(taken)
        CURRENT.get().retries.append((self._loop.now, "given back"))


class WatchedHedges(HedgeBudget):
    """The hedges' budget, likewise."""

    __slots__ = ("_loop",)

    def __init__(self, share: float, loop: VirtualLoop) -> None:
        super().__init__(share)
        self._loop = loop

    def withdraw(self) -> bool:
        taken = super().withdraw()
        CURRENT.get().hedges.append((self._loop.now, "granted" if taken else "refused"))
        return taken

    def give_back(self) -> None:
        super().give_back()
        CURRENT.get().hedges.append((self._loop.now, "given back"))
