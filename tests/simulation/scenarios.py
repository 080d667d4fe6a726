"""What a seed stands for: a world with its vendors, programs and faults, played until it is quiet again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import Any

from simulation import faults
from simulation.clients import Client, Manners
from simulation.faults import Episode
from simulation.policies import random_limits, random_policy
from simulation.stores import Book, Network
from simulation.vendors import Vendor
from simulation.world import BEGINNING, CURRENT, Flushed, Given, History, VirtualLoop, run
from understudy import Policy
from understudy.execution.call import LONGEST
from understudy.health.breaker import REFUSAL_GROWTH
from understudy.health.budgets import BURST
from understudy.health.shared import GuardedStore
from understudy.limits import Limits

logger = logging.getLogger("understudy")

USUAL = Manners()


class World:
    """Vendors, programs and a health store, at the beginning of their time.

    Args:
        loop: the clock.
        history: where all that happens is written down.
        draw: gives the random numbers.
        episodes: what goes wrong with each vendor.
        store_episodes: what goes wrong with the health store.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        history: History,
        draw: Random,
        episodes: Mapping[str, list[Episode]],
        store_episodes: Sequence[Episode] = (),
    ) -> None:
        self.loop = loop
        self.history = history
        self.draw = draw
        remote = bool(store_episodes) and draw.random() < 0.8
        self.book = Book(loop, history, Random(draw.random()), store_episodes, blocks=remote)
        self.network = Network(loop, self.book)
        self.vendors = [Vendor(name, loop, history, Random(draw.random()), own) for name, own in episodes.items()]
        self.clients: list[Client] = []
        history.episodes = dict(episodes)
        history.slowest = {vendor.name: vendor.slowest for vendor in self.vendors}
        history.strict = {vendor.name for vendor in self.vendors if vendor.small}
        history.remote = remote
        if store_episodes:
            history.episodes["store"] = list(store_episodes)

    def add_client(
        self,
        route: Sequence[Vendor],
        policy: Policy,
        limits: Mapping[str, Limits] | None = None,
        manners: Manners = USUAL,
    ) -> Client:
        """Add a program with this route, primary first."""
        draw = Random(self.draw.random())
        client = Client(
            len(self.clients), self.loop, self.history, draw, route, policy, limits or {}, self.book, manners
        )
        self.clients.append(client)
        if isinstance(client.admission.store, GuardedStore):
            self.network.asked_by[client.number] = client.admission.store
        self.history.budgets[client.number] = policy.retry_budget, policy.retry_reserve
        self.history.hedges[client.number] = policy.hedge_share, BURST
        self.history.limits.update(limits or {})
        return client

    async def heal(self) -> None:
        """From now on nothing goes wrong: go on until all calls have ended and every target serves again, or longer."""
        history, loop = self.history, self.loop
        history.healed = loop.now
        longest = max(_longest_rest(client.policy) for client in self.clients)
        step = max(longest / 40, 5.0)
        while loop.now < history.healed + LONGEST + 60 * step:  # so long ends what began before may come
            for client in self.clients:
                client.arrive("plain", routing="ordered")
            await asyncio.sleep(step)
            if not any(client.tasks for client in self.clients) and not self._resting():
                break
        await asyncio.gather(*(task for client in self.clients for task in client.tasks))
        await asyncio.sleep(LONGEST + 2)  # so long is the longest lease
        history.ended = loop.now
        history.remains = self._remains()

    def _resting(self) -> list[str]:
        known = self.book.inner._records.items()
        return [
            f"{target} is {record.breaker.state.value}" for target, record in known if record.breaker.state != "closed"
        ]

    def _remains(self) -> dict[str, Any]:
        """Return what should not be left over: targets that rest, leases, spent budgets, calls under way."""
        left: dict[str, Any] = {what: [] for what in ("under way", "slots", "budgets", "bulkheads")}
        left["resting"] = self._resting()
        for target, record in self.book.inner._records.items():
            under_way = {call for calls in record._under_way for call in calls}
            if under_way - self._unheard(target):
                left["under way"].append(target)
            if record._allowance is not None and any(
                until > self.loop.now for until in record._allowance._slots.values()
            ):
                left["slots"].append(target)
        for client in self.clients:
            retries, bulkhead = client.admission.retries, client.admission.bulkhead
            if retries.left() != retries.reserve * 10:
                left["budgets"].append(client.number)
            if bulkhead is not None and bulkhead.under_way:
                left["bulkheads"].append(client.number)
        left["tasks"] = len(asyncio.all_tasks(self.loop)) - 1
        return left

    def _unheard(self, target: str) -> set[int]:
        """Return the claims of calls whose last word never came: the store counts them until their time is over."""
        last = {
            entry.claim.call: isinstance(entry, Given)
            for entry in self.history.store_log
            if not isinstance(entry, Flushed) and (entry.store, entry.target) == (self.book.name, target)
        }
        failing, calls = "store" in self.history.episodes, self.history.calls
        return {claim for claim, given in last.items() if not given and (failing or calls[self.book.calls[claim]].died)}


def _longest_rest(policy: Policy) -> float:
    refused = REFUSAL_GROWTH * (policy.refusal_cooldown or 0.0)
    return max(policy.breaker_longest, policy.longest_hint, policy.longest_cooldown, refused)


def play(seed: int, changes: Mapping[str, Any] | None = None, manners: Manners = USUAL) -> History:
    """Play the random world of a seed to its end.

    Args:
        seed: of all that is random.
        changes: numbers that all its programs have, whatever else is drawn for them.
        manners: how callers behave.
    """
    history = History(seed)
    draw = Random(seed)
    with log_of(history):
        run(lambda loop: _random_world(loop, history, draw, changes or {}, manners))
    return history


def is_small(seed: int) -> bool:
    """Whether the world of a seed is played quickly."""
    names, dense, seconds = _shape(Random(seed))
    return dense and len(names) * seconds <= 300.0


def _shape(draw: Random) -> tuple[list[str], bool, float]:
    """Draw who is there, whether things go wrong one after another rather than with many callers, and for how long."""
    names = ["alpha", "beta", "gamma", "delta"][: draw.choice((1, 2, 2, 3, 3, 3, 4))]
    dense = draw.random() < 0.92
    return names, dense, draw.choice((100.0, 300.0, 500.0)) if dense else 300.0


async def _random_world(
    loop: VirtualLoop, history: History, draw: Random, changes: Mapping[str, Any], manners: Manners
) -> None:
    names, dense, seconds = _shape(draw)
    end = BEGINNING + seconds
    world = World(loop, history, draw, _episodes(draw, names, end, dense), _store_episodes(draw, end))
    base = random_policy(draw)
    limits = random_limits(draw, names)
    for first in range(len(names)):
        policy = base if draw.random() < 0.7 else random_policy(draw)
        policy = replace(policy, **changes) if changes else policy
        world.add_client([*world.vendors[first:], *world.vendors[:first]], policy, limits, manners)
    rate = draw.choice((0.1, 0.2, 0.3)) if dense else draw.choice((1.0, 3.0)) / len(names)
    if dense:
        _meet(world, draw)
    with world.network.in_place():
        await asyncio.gather(*(client.arrivals(rate, end) for client in world.clients))
        await world.heal()


def _meet(world: World, draw: Random) -> None:
    """Have a caller come into most of the episodes, by the program whose primary has them."""
    for client, vendor in zip(world.clients, world.vendors, strict=True):
        for one in vendor.episodes:
            if draw.random() < 0.6:
                world.loop.call_at(one.begin + draw.random() * (one.end - one.begin), client.arrive)


def _episodes(draw: Random, names: Sequence[str], end: float, dense: bool) -> dict[str, list[Episode]]:
    if draw.random() < 0.3:
        return faults.swizzle(draw, names, BEGINNING, end, step=draw.choice((1.0, 2.0, 4.0) if dense else (5.0, 20.0)))
    sound = draw.choice((2.0, 5.0, 8.0) if dense else (10.0, 30.0))
    wrong = draw.choice((4.0, 8.0, 12.0) if dense else (10.0, 30.0))
    return {name: faults.alternating(draw, BEGINNING, end, sound=sound, wrong=wrong) for name in names}


def _store_episodes(draw: Random, end: float) -> list[Episode]:
    if draw.random() < 0.8:
        return []
    return faults.alternating(draw, BEGINNING, end, sound=20, wrong=20, kinds=faults.STORE_KINDS)


@contextmanager
def log_of(history: History) -> Iterator[None]:
    """Have the log's errors written down."""

    class Errors(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            call = CURRENT.get(None)
            history.errors.append((call.number if call is not None else -1, record.getMessage()))

    handler = Errors(logging.ERROR)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
