"""Callers that leave, through the real SDKs over sockets: the connection is closed, and nobody else is asked.

The stand-ins would be silent for a minute: whoever did not hang up on them would still be connected.
"""

import asyncio

import pytest
from gates import PATIENCE, happens
from staging import AWAITED, casts, connections_end, streams

from understudy import Continuation, Policy, Restart, TextDelta
from understudy_sandbox import faults

PRESETS = ["patient", "eager"]
LONG_WAITS = Policy.eager(retry_delay=30, max_delay=30, jitter="none", quick_retries=0)

awaited = pytest.mark.parametrize("how", AWAITED)


def begin(stage, cast, policy, *faults):
    """Put them on the route, with no connection open."""
    stage.begin(cast, policy, *faults)
    for stand_in in stage.stand_ins:
        stand_in.hang_up()


async def collect(factory, events):
    async for event in factory.astream_content("hello"):
        events.append(event)


def leave(stage, how, arrived):
    """Make a call, and cancel it as soon as something is true; return the events that came before."""
    events = []

    async def cancel():
        call = stage.factory.agenerate_content("hello") if how == "async" else collect(stage.factory, events)
        task = asyncio.create_task(call)
        async with asyncio.timeout(PATIENCE):
            while not arrived(events):
                await asyncio.sleep(0.005)
            task.cancel()
            await asyncio.wait({task})
        assert task.cancelled()

    stage.loop.run_until_complete(cancel())
    return events


def check_nobody_else(stage, counts):
    assert all(connections_end(stand_in, PATIENCE) for stand_in in stage.stand_ins)
    assert stage.counts == counts


@casts
@awaited
@pytest.mark.parametrize("fault", [faults.black_hole(), faults.stall(0), faults.stall(2)], ids=str)
def test_a_cancelled_call(stage, cast, how, fault):
    some = how == "astream" and fault == faults.stall(2)
    for preset in PRESETS:
        begin(stage, cast, preset, fault)
        events = leave(stage, how, lambda events: events if some else stage.counts == [1, 0])
        assert bool(events) == some
        check_nobody_else(stage, [1, 0])
        check_no_evidence(stage)


def check_no_evidence(stage):
    """A caller that leaves says nothing of a target."""
    health = stage.factory.get_provider_status()["primary"]["health"]
    assert (health["state"], health["failures"]) == ("closed", 0)


@casts
@awaited
def test_a_call_that_times_out_by_the_callers_own_clock(stage, cast, how):
    stage.warm_up(how, cast[0])

    async def call(seconds):
        async with asyncio.timeout(seconds):
            if how == "async":
                await stage.factory.agenerate_content("hello")
            else:
                await collect(stage.factory, [])

    for preset in PRESETS:
        for seconds in (0.1, 1, 10):
            begin(stage, cast, preset, faults.black_hole())
            with pytest.raises(TimeoutError):
                stage.loop.run_until_complete(call(seconds))
            assert all(connections_end(stand_in, PATIENCE) for stand_in in stage.stand_ins)
            if stage.counts == [1, 0]:  # it was on its way, and none of the time before came late
                break
        check_nobody_else(stage, [1, 0])
        check_no_evidence(stage)


@casts
@awaited
def test_a_call_that_is_cancelled_while_it_waits(stage, cast, how):
    """The patient one waits for the primary, the eager one once both have failed."""
    for policy, counts in (("patient", [1, 0]), (LONG_WAITS, [1, 1])):
        begin(stage, cast, policy, faults.server_error(), faults.server_error())
        place = sum(counts) - 1
        leave(
            stage, how, lambda events, counts=counts, place=place: stage.counts == counts and has_failed(stage, place)
        )
        stage.loop.run_until_complete(asyncio.sleep(0.02))
        assert stage.counts == counts


@casts
@awaited
def test_a_call_that_is_cancelled_before_a_quick_retry(stage, cast, how):
    begin(stage, cast, "eager", faults.server_error())
    leave(stage, how, lambda events: has_failed(stage, 0))
    stage.loop.run_until_complete(asyncio.sleep(1))  # it would have come in three quarters of that
    assert stage.counts == [1, 0]


def has_failed(stage, place):
    """Whether a target's health tells of its failure already: the call is not asking it any more."""
    status = stage.factory.get_provider_status()
    return [status["primary"], *status["fallbacks"]][place]["health"]["failures"] == 1


@casts
@awaited
def test_a_call_that_is_cancelled_while_another_takes_the_part(stage, cast, how):
    for preset in PRESETS:
        begin(stage, cast, preset, faults.rate_limited(), faults.stall(after=2))
        leave(stage, how, lambda events: stage.counts == [1, 1] if how == "async" else events)
        assert connections_end(stage.fallback, PATIENCE)
        assert stage.counts == [1, 1]


@casts
@awaited
def test_a_call_that_is_cancelled_while_two_are_asked_hangs_up_on_both(stage, cast, how):
    """One of them is late, by what the caller says."""
    begin(stage, cast, Policy.eager(hedge_after=0.05, hedge_share=1), faults.black_hole(), faults.black_hole())
    leave(stage, how, lambda events: stage.counts == [1, 1])
    check_nobody_else(stage, [1, 1])


@casts
@pytest.mark.parametrize(("recovery", "told"), [("restart", Restart), ("continue", Continuation)])
def test_a_stream_that_is_cancelled_after_another_took_it_over(stage, cast, recovery, told):
    begin(stage, cast, Policy.eager(stream_recovery=recovery), faults.cut(after=2), faults.stall(after=2))
    events = leave(stage, "astream", lambda events: any(isinstance(event, told) for event in events))
    assert isinstance(events[0], TextDelta)
    assert connections_end(stage.fallback, PATIENCE)
    assert stage.counts == [1, 1]


@casts
@streams
@pytest.mark.parametrize("how_it_ends", ["closed", "dropped"])
def test_a_consumer_that_leaves(stage, cast, how, how_it_ends):
    async def leave():
        stream = stage.factory.astream_content("hello")
        await anext(stream)
        if how_it_ends == "closed":
            await stream.aclose()

    for preset in PRESETS:
        begin(stage, cast, preset, faults.stall(after=2))
        if how == "stream":
            stream = stage.factory.stream_content("hello")
            next(stream)
            if how_it_ends == "closed":
                stream.close()
            del stream
        else:
            stage.loop.run_until_complete(leave())
        assert happens(stage, lambda: not stage.primary.open_connections)
        check_nobody_else(stage, [1, 0])
