"""The worlds are what they are said to be, whatever the factory makes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest

from simulation.healthy.box import KEPT, SLOTS, Box
from simulation.healthy.days import USUAL, Day, Weather, forecast
from simulation.healthy.kinds import CHAT, LOCAL, SILENT, THINKING, Kind
from simulation.healthy.measures import billed, measure, percentile
from simulation.healthy.records import CURRENT, NEVER, Call, Played, Visit
from simulation.healthy.vendors import INPUT_TOKENS, Bucket, Vendor
from simulation.healthy.worlds import EAGER, NAIVE, NAIVE_WITH_FALLBACK, PATIENT, WORLDS, play
from simulation.world import VirtualLoop, run
from understudy import Finish, Message, Policy, Request, Text, ThinkingDelta
from understudy.response import Heartbeat

FAIR = Weather(errors=0.0, burst_every=0.0, slow_every=0.0)
REQUEST = Request(messages=(Message("user", (Text("Why?"),)),))
DAY = Day(length=600.0)


def visit(**changes: object) -> Visit:
    sound = {"sound": True, "tokens": 100, "works_from": 10.0, "works_until": 20.0, "ended": 15.0, "outcome": "left"}
    return Visit(0, "primary", 9.0, True, **{**sound, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["chat", "thinking", "local"])
def test_every_client_meets_the_same_day(name: str) -> None:
    world = replace(WORLDS[name], length=3000.0 if name == "local" else 100.0)
    days = [play(world, world.day(), setup, seed=3) for setup in (NAIVE, PATIENT, EAGER)]
    arrivals = [[call.arrived for call in day.calls] for day in days]
    assert len(arrivals[0]) > 10
    assert arrivals[0] == arrivals[1] == arrivals[2]
    firsts = [{(one.vendor, one.call): one.tokens for one in reversed(day.visits)} for day in days]
    shared = set.intersection(*(set(first) for first in firsts))
    assert len(shared) > 10
    assert all(len({first[key] for first in firsts}) == 1 for key in shared)


def test_another_seed_is_another_day() -> None:
    world = replace(WORLDS["chat"], length=60.0)
    assert len({tuple(call.ended for call in play(world, world.day(), NAIVE, seed).calls) for seed in range(4)}) == 4


@pytest.mark.parametrize("kind", [CHAT, THINKING, SILENT, LOCAL], ids=lambda kind: kind.name)
def test_a_stream_is_the_answer_that_would_have_come_whole_and_as_late(kind: Kind) -> None:
    for number in range(20):
        whole, streamed = ask(kind, number, streaming=False), ask(kind, number, streaming=True)
        assert whole[-1][1] == streamed[-1][1]
        assert whole[-1][0] == pytest.approx(streamed[-1][0])


@pytest.mark.parametrize("kind", [CHAT, THINKING, SILENT, LOCAL], ids=lambda kind: kind.name)
def test_only_who_says_so_gives_signs_of_life_and_never_pauses_for_longer(kind: Kind) -> None:
    for number in range(40):
        events = ask(kind, number, streaming=True)
        beats = [event for _, event in events if isinstance(event, Heartbeat)]
        pauses = [later - earlier for (earlier, _), (later, _) in pairwise(events)]
        assert bool(beats) == (kind.heartbeat is not None)
        assert kind.heartbeat is None or max(pauses) <= kind.heartbeat + 1e-6
        assert kind.thinks or not any(isinstance(event, ThinkingDelta) for _, event in events)


def ask(kind: Kind, number: int, *, streaming: bool) -> list[tuple[float, object]]:
    """Ask one vendor once, and return what came and when."""
    came: list[tuple[float, object]] = []

    async def main(loop: VirtualLoop) -> None:
        vendor = Vendor("primary", kind, loop, 1, DAY, FAIR, None, [])
        CURRENT.set(Call(number, loop.now, False, f"1 prompt {number}"))
        if not streaming:
            response = await vendor.agenerate(REQUEST)
            came.append((loop.now, response.usage))
            return
        async for event in vendor.astream(REQUEST):
            came.append((loop.now, event.response.usage if isinstance(event, Finish) else event))

    run(main)
    return came


def test_the_weather_of_a_short_day_is_the_beginning_of_that_of_a_long_one() -> None:
    short, long = (forecast("7 primary", USUAL, length) for length in (1_800.0, 36_000.0))
    assert short.bursts
    assert short.bursts == long.bursts[: len(short.bursts)]
    assert short.slow == long.slow[: len(short.slow)]


def test_a_bucket_allows_its_rate_and_some_seconds_of_it_at_once() -> None:
    bucket = Bucket(10.0)
    taken = [bucket.take(0.0) for _ in range(101)]
    assert taken[:100] == [0.0] * 100
    assert taken[100] == pytest.approx(0.1)
    assert [bucket.take(1.0) for _ in range(11)].count(0.0) == 10


def test_a_machine_that_nobody_waits_for_gives_the_loading_up_and_keeps_a_model_for_a_while() -> None:
    async def main(loop: VirtualLoop) -> None:
        box = Box(loop, seed=1)
        began = loop.now
        lost = asyncio.create_task(use(box, 1, 1.0))
        await asyncio.sleep(1.0)
        lost.cancel()
        await asyncio.gather(lost, return_exceptions=True)
        assert not box.is_loaded
        await asyncio.gather(*(use(box, 2, 1.0) for _ in range(SLOTS + 1)))
        assert loop.now - began >= 1.0 + 5.0 + 2.0  # loaded anew, and then one more than there are slots
        await asyncio.sleep(KEPT - 1.0)
        assert box.is_loaded
        await asyncio.sleep(2.0)
        assert not box.is_loaded

    run(main)


async def use(box: Box, call: int, seconds: float) -> None:
    async with box.place(call):
        await asyncio.sleep(seconds)


def test_a_fault_fails_the_naive_client_only_while_it_lasts() -> None:
    world = WORLDS["chat"]
    played = play(world, Day(length=740.0, fault="outage", begin=100.0), NAIVE, seed=10)
    row = measure([played])
    assert row.fault is not None
    assert row.fault.answered < 0.02 * row.fault.calls
    assert row.answered - row.fault.answered >= 0.99 * (row.calls - row.fault.calls)
    assert row.fault.back < 10.0


def test_a_client_with_a_fallback_is_answered_in_every_fault() -> None:
    for fault in ("outage", "hang", "brown-out", "storm"):
        played = play(WORLDS["thinking"], Day(length=750.0, fault=fault, begin=50.0), NAIVE_WITH_FALLBACK, seed=10)
        row = measure([played])
        assert row.calls > 300
        assert row.answered >= row.calls - 2


def test_what_is_billed_is_what_was_written_or_all_of_a_whole_answer() -> None:
    assert billed(visit()) == INPUT_TOKENS + 50
    assert billed(visit(ended=25.0)) == INPUT_TOKENS + 100
    assert billed(visit(ended=9.5)) == INPUT_TOKENS
    assert billed(visit(whole=True)) == INPUT_TOKENS + 100
    assert billed(visit(sound=False)) == 0.0
    assert billed(visit(works_from=NEVER, works_until=NEVER)) == 0.0


def test_tokens_are_wasted_that_were_not_for_the_answer_which_the_caller_got() -> None:
    used = visit(outcome="answered", ended=20.0)
    call = Call(0, 0.0, False, "", ended=20.0, by="primary", visits=[visit(whole=True), used])
    row = measure([Played(DAY, [call], call.visits)])
    assert (row.paid, row.wasted, row.cuts) == (2 * (INPUT_TOKENS + 100), INPUT_TOKENS + 100, 1)


def test_only_what_befalls_a_vendor_that_is_well_counts_as_opened() -> None:
    day = Day(length=900.0, fault="outage", begin=100.0)
    breaker = [(1000.0 + at, who, "open") for at, who in ((50.0, "primary"), (200.0, "primary"), (200.0, "backup"))]
    call = Call(0, 1000.0, False, "", ended=1001.0, by="primary")
    assert measure([Played(day, [call], [], breaker)]).opened == 2


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([3.0, 1.0, 2.0], 0.5, 2.0), (range(1, 101), 0.95, 95.0), ([1.0, NEVER], 0.95, NEVER), ([], 0.5, NEVER)],
)
def test_a_percentile_is_not_exceeded_by_so_many(values: Sequence[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


def test_kinds_take_as_long_as_their_sources_say() -> None:
    answers = [THINKING.answer(Random(f"own {n}"), Random(f"prompt {n}")) for n in range(4000)]
    assert percentile([one.first for one in answers], 0.5) == pytest.approx(8.0, rel=0.1)
    assert percentile([one.seconds for one in answers], 0.5) == pytest.approx(25.0, rel=0.1)
    assert percentile([one.seconds for one in answers], 0.95) == pytest.approx(124.0, rel=0.15)
    answers = [CHAT.answer(Random(f"own {n}"), Random(f"prompt {n}")) for n in range(4000)]
    assert percentile([one.first for one in answers], 0.99) == pytest.approx(4.0, rel=0.2)
    assert percentile([one.seconds for one in answers], 0.5) == pytest.approx(4.3, rel=0.1)


def test_a_hard_prompt_is_hard_for_both_vendors() -> None:
    pairs = [[CHAT.answer(Random(f"{who} {n}"), Random(f"prompt {n}")).tokens for who in "ab"] for n in range(500)]
    shortest, longest = sorted(pairs)[:100], sorted(pairs)[-100:]
    assert sum(one[1] for one in longest) > 3 * sum(one[1] for one in shortest)


def test_the_policies_played_are_the_presets() -> None:
    assert PATIENT.policy == Policy.patient()
    assert EAGER.policy == Policy.eager()
