"""The worlds: who answers, who asks how often, and a day in them played by one client."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from simulation.healthy.clients import Client, Naive, Understudy
from simulation.healthy.days import AT_HOME, FAULT_SECONDS, FAULTS, USUAL, Day, Weather
from simulation.healthy.kinds import CHAT, LOCAL, SILENT, THINKING, Kind
from simulation.healthy.records import CURRENT, Call, Played
from simulation.healthy.vendors import Vendor
from simulation.world import BEGINNING, VirtualLoop, run
from understudy import Policy
from understudy.limits import Limits

PRIMARY, BACKUP = "primary", "backup"
HEADROOM = 1.3  # times the highest rate: what a vendor allows, an assumption
LEAST_ALLOWED = 1.0  # requests a second
logger = logging.getLogger("understudy")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Who answers, and how often callers come.

    Args:
        name: for arguments and tables.
        primary: how the primary answers.
        backup: how the other one does.
        night: calls a second when the fewest come.
        noon: calls a second when the most come; a day of 24 hours is compressed into one length.
        length: seconds of a healthy day.
        in_fault: calls a second, all the time, on a day with a fault.
        around: seconds before the fault, and after it.
        faults: of the primary, that are played.
        streaming: whether callers want streams.
        max_tokens: that they ask for.
        sittings: whether callers come in sittings, some calls within a minute and then none for a while.
        allowed: requests a second that a vendor allows; None for HEADROOM times the most that come.
        weather: the small things that go wrong.
    """

    name: str
    primary: Kind = CHAT
    backup: Kind = CHAT
    night: float = 1.0
    noon: float = 8.0
    length: float = 3600.0
    in_fault: float = 3.0
    around: float = 900.0
    faults: tuple[str, ...] = FAULTS
    streaming: bool = False
    max_tokens: int = 1500
    sittings: bool = False
    allowed: float | None = None
    weather: Weather = USUAL

    def day(self, fault: str = "") -> Day:
        """Return a healthy day, or one with a fault of ten minutes."""
        if not fault:
            return Day(length=self.length)
        return Day(length=FAULT_SECONDS + 2 * self.around, fault=fault, begin=self.around)


_CHAT = World(name="chat")
_THINKING = World(
    name="thinking",
    primary=THINKING,
    backup=THINKING,
    night=0.1,
    noon=1.0,
    length=7200.0,
    in_fault=0.6,
    max_tokens=32_000,
)
_SILENT = replace(_THINKING, name="thinking-silent", primary=SILENT, backup=SILENT)
# Sittings: eight of ten calls come 12 s after the one before, the others 8 minutes later; an assumption.
_LOCAL = World(
    name="local", primary=LOCAL, length=43_200.0, sittings=True, in_fault=0.08, faults=("outage", "hang", "brown-out")
)
SITTING, PAUSE, STAYING = 12.0, 480.0, 0.8
# What production was like in March 2026, outages included: 2 % of the requests failed, 30 % of them for a rate limit.
# Datadog's State of AI Engineering, told in
# https://reddit.sentinel-team.org/posts/1syq5is/snapshots/2026-05-01T22%3A04%3A17.338364Z,
# read 2026-11-30
_ROUGH = Weather(errors=0.02, limited=0.3)

WORLDS: Mapping[str, World] = {
    world.name: world
    for world in (
        _CHAT,
        replace(_CHAT, name="chat-stream", streaming=True, length=1800.0),
        replace(_CHAT, name="chat-rough", weather=_ROUGH, length=1800.0, faults=()),
        replace(_CHAT, name="busy", night=20.0, noon=50.0, length=600.0, in_fault=20.0, around=300.0),
        replace(_CHAT, name="trickle", night=0.05, noon=0.2, length=21_600.0, in_fault=0.15),
        _THINKING,
        replace(_THINKING, name="thinking-stream", streaming=True),
        _SILENT,
        replace(_SILENT, name="thinking-silent-stream", streaming=True),
        _LOCAL,
        replace(_LOCAL, name="local-stream", streaming=True),
    )
}
DAYS = ("healthy", *FAULTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A client, and how it is set up.

    Args:
        name: for arguments and tables.
        policy: of the factory; None for a client without one.
        fallback: whether it asks the backup, too.
        options: what each call is given; of a client without a factory, its deadline alone.
        limits: the factory's.
    """

    name: str
    policy: Policy | None = None
    fallback: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Limits] = field(default_factory=dict)


NAIVE = Setup(name="naive", fallback=False)
NAIVE_WITH_FALLBACK = Setup(name="naive+fallback")
PATIENT = Setup(name="patient", policy=Policy.patient())
EAGER = Setup(name="eager", policy=Policy.eager())
SETUPS: Mapping[str, Setup] = {setup.name: setup for setup in (NAIVE, NAIVE_WITH_FALLBACK, PATIENT, EAGER)}


def play(world: World, day: Day, setup: Setup, seed: int) -> Played:
    """Play a day to its end, as one client sees it."""
    played = Played(day)
    with _quiet_log():
        run(lambda loop: _play(loop, world, day, setup, seed, played))
    return played


async def _play(loop: VirtualLoop, world: World, day: Day, setup: Setup, seed: int, played: Played) -> None:
    vendors = _vendors(loop, world, day, seed, played)
    client = _client(loop, world, setup, Random(f"{seed} client"), vendors, played)
    tasks: set[asyncio.Task[None]] = set()

    async def live(call: Call) -> None:
        CURRENT.set(call)
        await client.ask(call, streaming=world.streaming)
        call.ended = loop.now

    async for now in _arrivals(loop, world, day, Random(f"{seed} arrivals")):
        number = len(played.calls)
        call = Call(number, loop.now, bool(day.fault_at(now)), f"{seed} prompt {number}")
        played.calls.append(call)
        task = loop.create_task(live(call))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    while tasks:
        await asyncio.wait(tasks)
        for task in tasks.copy():
            task.result()
    for vendor in vendors:
        vendor.is_over = True


def _vendors(loop: VirtualLoop, world: World, day: Day, seed: int, played: Played) -> list[Vendor]:
    most = world.in_fault if day.fault else world.noon
    allowed = world.allowed or max(HEADROOM * most, LEAST_ALLOWED)
    vendors = []
    for name, kind in ((PRIMARY, world.primary), (BACKUP, world.backup)):
        own = day if name == PRIMARY else replace(day, fault="")
        weather, rate = (AT_HOME, None) if kind.local else (world.weather, allowed)
        vendors.append(Vendor(name, kind, loop, seed, own, weather, rate, played.visits))
    return vendors


def _client(
    loop: VirtualLoop, world: World, setup: Setup, draw: Random, vendors: Sequence[Vendor], played: Played
) -> Client:
    route = vendors if setup.fallback else vendors[:1]
    if setup.policy is None:
        return Naive(route, loop, draw, setup.options.get("deadline"))
    options = {"max_tokens": world.max_tokens, **setup.options}
    return Understudy(route, loop, draw, setup.policy, setup.limits, options, played)


async def _arrivals(loop: VirtualLoop, world: World, day: Day, draw: Random) -> AsyncIterator[float]:
    """Yield when callers come, in seconds from the beginning, as soon as it is that time."""
    now = 0.0
    while True:
        now += _gap(world, day, draw, now)
        if now >= day.length:
            return
        await asyncio.sleep(BEGINNING + now - loop.now)
        yield now


def _gap(world: World, day: Day, draw: Random, now: float) -> float:
    if day.fault:
        return draw.expovariate(world.in_fault)
    if world.sittings:
        return draw.expovariate(1.0 / SITTING if draw.random() < STAYING else 1.0 / PAUSE)
    share = 0.5 - 0.5 * math.cos(2 * math.pi * now / day.length)
    return draw.expovariate(world.night + (world.noon - world.night) * share)


@contextmanager
def _quiet_log() -> Iterator[None]:
    """Have no lines written: there are many, and the events say the same."""
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
