"""What the routing "fastest" makes of calls: who is dead, slow, unknown or forgotten is not asked first for long."""

import asyncio
import random

import pytest
from timed import NEVER, Player

from understudy import LLMFactory, Policy
from understudy.errors import AuthenticationFailed, QuotaExhausted, ServerError
from understudy.health.latency import STALE
from understudy.testing import VirtualClock


class World:
    """A factory that asks the fastest of its players."""

    def __init__(self, *players, policy="eager", **options):
        self.clock = VirtualClock()
        self.players = players
        for player in players:
            player.clock = self.clock
        draw = random.Random(7).random
        made = getattr(Policy, policy)(routing="fastest", **options)
        runtime = self.clock.runtime(draw)
        self.factory = LLMFactory(players[0], players[1:], policy=made, runtime=runtime, settings={}, extensions=[])

    def ask(self, calls, *, every=1.0, streaming=False):
        """Make calls, each so many seconds after the one before; return how often each player was asked."""
        before = [len(player.requests) for player in self.players]

        async def one():
            if streaming:
                return [event async for event in self.factory.astream_content("hello")]
            return await self.factory.agenerate_content("hello")

        async def all_of_them():
            tasks = []
            for _ in range(calls):
                tasks.append(asyncio.create_task(one()))
                await asyncio.sleep(every)
            await asyncio.gather(*tasks)

        self.clock.run(all_of_them())
        return [len(player.requests) - then for player, then in zip(self.players, before, strict=True)]


@pytest.mark.parametrize("policy", ["patient", "eager"])
@pytest.mark.parametrize("failure", [AuthenticationFailed("wrong key"), QuotaExhausted("no credit")])
@pytest.mark.parametrize("others", [1, 3])
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("every", [0.01, 1.0, 2 * STALE])
def test_a_dead_target_is_not_asked_first_again_and_again(policy, failure, others, streaming, every):
    good = [Player(f"good{number}", (0.2, "fine")) for number in range(others)]
    world = World(*good, Player("dead", failure), policy=policy)
    assert world.ask(100, every=every, streaming=streaming)[-1] <= 12


def test_a_target_that_died_is_left_and_comes_back_when_it_is_well():
    quick, slow = Player("quick", (0.1, "fine")), Player("slow", (1.0, "fine"))
    world = World(quick, slow)
    world.ask(60, every=1.5)
    assert world.ask(20, every=1.5) == [20, 0]
    quick.lines = (AuthenticationFailed("revoked"),)
    assert world.ask(100, every=1.5)[0] < 12
    quick.lines = ((0.1, "fine"),)
    world.ask(100, every=1.5)
    assert world.ask(20, every=1.5) == [20, 0]


def test_one_failure_among_many_answers_moves_nobody_for_long():
    quick, slow = Player("quick", (0.1, "fine")), Player("slow", (1.0, "fine"))
    world = World(quick, slow, quick_retries=0)
    world.ask(200, every=0.05)
    quick.lines = (*quick.lines * len(quick.requests), ServerError("once"), (0.1, "fine"))
    assert world.ask(2, every=0.05) == [1, 2]
    assert world.ask(10, every=0.05) == [0, 10]
    world.clock.advance(60)
    assert world.ask(20, every=0.05) == [20, 0]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_cold_start_spreads_and_what_was_forgotten_is_tried_by_few(streaming):
    quick, slow = Player("quick", (0.02, "fine")), Player("slow", (2.0, "fine"))
    world = World(slow, quick)
    asked = world.ask(100, every=0.02, streaming=streaming)
    assert 0 < asked[0] < 20
    world.ask(10, every=STALE / 8, streaming=streaming)  # the slow one is forgotten, the quick one is not
    asked = world.ask(100, every=0.02, streaming=streaming)
    assert 0 < asked[0] < 20
    assert world.ask(100, every=0.02, streaming=streaming) == [0, 100]


def test_streams_go_by_the_first_piece_and_answers_by_the_whole():
    early, short = Player("early", (0.1, "a ", 5.0, "b")), Player("short", (1.0, "a ", 1.0, "b"))
    world = World(early, short)
    for streaming in (True, False):
        world.ask(60, every=2.0, streaming=streaming)
    assert world.ask(20, every=1.0, streaming=True) == [20, 0]
    assert world.ask(20, every=1.0, streaming=False) == [0, 20]


def test_where_everybody_hangs_everybody_is_asked():
    world = World(Player("a", NEVER), Player("b", NEVER), attempt_timeout=5.0, max_retries=0)
    assert world.ask(3, every=30.0) == [3, 3]
