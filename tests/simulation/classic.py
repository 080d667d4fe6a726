"""One outage as everybody knows it: the primary fails for a while, a backup is healthy, and callers keep coming."""

from __future__ import annotations

import asyncio
from random import Random

from simulation.clients import Manners
from simulation.faults import Episode
from simulation.scenarios import World, log_of
from simulation.world import BEGINNING, History, VirtualLoop, run
from understudy import Policy
from understudy.provider import PLAIN_PACE

QUIET = Manners(streaming=0.0, leaving=0.0, stopping=0.0, dying=0.0, overriding=0.0, long=0.0, prompts=("plain",))
BEFORE = 60.0  # seconds in which all is well
AFTER = 600.0  # seconds after the outage in which callers still come
PEAK = 10.0  # seconds over which a peak is taken


def outage(policy: Policy, *, seed: int, kind: str = "outage", seconds: float = 300.0, rate: float = 5.0) -> History:
    """Play it.

    Args:
        policy: the program's numbers.
        seed: of the random numbers.
        kind: what is wrong with the primary.
        seconds: for how long.
        rate: callers a second, in the mean.
    """
    history = History(seed)
    draw = Random(seed)

    async def main(loop: VirtualLoop) -> None:
        begin = BEGINNING + BEFORE
        episodes = {"primary": [Episode(kind, begin, begin + seconds, 0.9, True)], "backup": []}
        world = World(loop, history, draw, episodes)
        for vendor in world.vendors:
            vendor.own_pace = PLAIN_PACE  # a chat model without signs of life
        client = world.add_client(world.vendors, policy, manners=QUIET)
        history.healed = begin + seconds
        with world.network.in_place():
            await client.arrivals(rate, history.healed + AFTER)
            await asyncio.gather(*client.tasks)
        history.ended = loop.now

    with log_of(history):
        run(main)
    return history


def load(history: History) -> float:
    """Requests to the primary for each call during the outage."""
    begin = BEGINNING + BEFORE
    calls = sum(begin <= call.arrived < history.healed for call in history.calls)
    visits = sum(v.vendor == "primary" and begin <= v.began < history.healed for v in history.visits)
    return visits / calls


def waits(history: History) -> list[float]:
    """Seconds that the calls of the outage took, the quickest first."""
    during = [call for call in history.calls if BEGINNING + BEFORE <= call.arrived < history.healed]
    return sorted(call.ended - call.arrived for call in during)


def lost(history: History) -> float:
    """Share of the calls of the outage that got no answer."""
    during = [call for call in history.calls if BEGINNING + BEFORE <= call.arrived < history.healed]
    return sum(call.response is None or not call.response.success for call in during) / len(during)


def peak(history: History) -> float:
    """Requests to the primary in its busiest 10 seconds after the outage, for each that comes in the mean."""
    begun = [visit.began for visit in history.visits if visit.vendor == "primary" and visit.began >= history.healed]
    steady = len(history.calls) / (history.calls[-1].arrived - BEGINNING)
    busiest, oldest = 0, 0
    for newest, at in enumerate(begun):
        while begun[oldest] <= at - PEAK:
            oldest += 1
        busiest = max(busiest, newest - oldest + 1)
    return busiest / (steady * PEAK)


def back_within(history: History) -> float:
    """Seconds from the end of the outage to the primary's next answer."""
    ends = [
        v.ended
        for v in history.visits
        if v.vendor == "primary" and v.outcome == "answered" and v.began >= history.healed
    ]
    return min(ends, default=float("inf")) - history.healed
