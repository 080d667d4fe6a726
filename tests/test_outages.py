"""The patient policy and every fault, in all four ways of calling, through the real SDKs over sockets.

Gemini and Claude play both parts in turn. Requests are counted by the stand-ins: what the record says must be what
arrived, so no SDK retries behind our back.
"""

import asyncio

import pytest
from staging import (
    AWAITED,
    BEFORE_THE_FIRST_TOKEN,
    BENIGN,
    MID_STREAM,
    STREAMS,
    casts,
    expected,
    named,
    timeouts,
    ways,
)

from understudy import ConnectionFailed, StreamInterrupted
from understudy.testing import no_waiting
from understudy_sandbox import faults

ONE_RETRY = {"max_retries": 1, "timeout": 10}


@pytest.fixture(autouse=True)
def open_stage(stage, cast):
    stage.open(cast, "patient")


@casts
@ways
@named(BEFORE_THE_FIRST_TOKEN)
def test_fault_before_the_first_token(stage, cast, how, row):
    primary, fallback = cast
    for timeout in timeouts(row.fault):
        stage.begin(cast, "patient", row.fault)
        with no_waiting() as waits:
            response = stage.ask(how, max_retries=1, timeout=timeout)
        if response.attempts[-1].number == 1:  # the backup was not late
            break
    kinds, asked = expected(row, how)

    of_primary = [attempt for attempt in response.attempts if attempt.provider == primary]
    assert isinstance(of_primary[0].failure, kinds), of_primary[0].failure
    assert stage.primary.request_count == len(of_primary)
    if asked:
        assert len(of_primary) == asked
    assert len(waits) == len(of_primary) - 1
    failure = of_primary[0].failure
    assert failure.provider == primary
    assert failure.retry_after == row.retry_after
    assert "sandbox-key" not in repr(failure) + str(failure) + str(response.error)
    if row.answered:
        assert (response.success, response.provider_name) == (True, fallback)
        assert stage.fallback.request_count == 1
        assert how not in STREAMS or stage.text == response.content
    else:
        assert not response.success
        assert stage.fallback.request_count == 0


@casts
@ways
def test_nobody_listens(stage, cast, how):
    stage.primary.always(faults.refuse())
    with no_waiting() as waits:
        response = stage.ask(how, **ONE_RETRY)
    assert response.provider_name == cast[1]
    assert [type(a.failure) for a in response.attempts] == [ConnectionFailed, ConnectionFailed, type(None)]
    assert waits == [5]


@casts
@ways
@named(BENIGN)
def test_slow_and_large_answers_are_answers(stage, cast, how, row):
    stage.primary.always(row)
    response = stage.ask(how)
    assert (response.success, response.provider_name) == (True, cast[0])
    assert stage.counts == [1, 0]
    assert how not in STREAMS or stage.text == response.content


@casts
@pytest.mark.parametrize("how", STREAMS)
@named(MID_STREAM)
def test_break_after_the_first_token_is_told(stage, cast, how, row):
    for timeout in timeouts(row):
        stage.begin(cast, "patient", row)
        caught = stage.try_to_ask(how, timeout=timeout)
        if caught is not None:
            break
    assert isinstance(caught, StreamInterrupted)
    assert caught.partial == stage.text
    assert caught.partial
    assert caught.provider == cast[0]
    assert len(caught.attempts) == 1
    assert stage.counts == [1, 0]


@casts
@ways
def test_everybody_down(stage, cast, how):
    for timeout in timeouts(faults.black_hole()):
        stage.begin(cast, "patient", faults.quota_exhausted(), faults.black_hole())
        with no_waiting():
            response = stage.ask(how, max_retries=1, timeout=timeout)
        if stage.primary.request_count == 1:  # it was not late
            break
    assert response.error == f"All LLM providers failed: [{cast[0]}: quota exceeded, {cast[1]}: timeout]"
    assert stage.counts == [1, 2]


async def collect(factory, pieces):
    async for event in factory.astream_content("hello"):
        pieces.append(event)


@casts
@pytest.mark.parametrize("how", AWAITED)
def test_cancelled_call_closes_its_connection_and_starts_nothing(stage, cast, how):
    stage.primary.always(faults.stall(after=2))
    pieces = []

    async def leave():
        if how == "async":
            task = asyncio.create_task(stage.factory.agenerate_content("hello"))
        else:
            task = asyncio.create_task(collect(stage.factory, pieces))
        while not stage.primary.request_count or (how == "astream" and not pieces):
            await asyncio.sleep(0.01)
        before = stage.primary.open_connections
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(100):
            if stage.primary.open_connections < before:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the connection of a cancelled call stayed open")

    stage.loop.run_until_complete(leave())
    assert stage.counts == [1, 0]


@casts
@pytest.mark.parametrize("how", STREAMS)
def test_a_consumer_that_leaves_closes_the_connection(stage, cast, how):
    stage.primary.hang_up()
    stage.primary.always(faults.stall(after=2))

    async def leave():
        stream = stage.factory.astream_content("hello")
        await anext(stream)
        await stream.aclose()

    if how == "stream":
        stream = stage.factory.stream_content("hello")
        next(stream)
        stream.close()
    else:
        stage.loop.run_until_complete(leave())
    stage.loop.run_until_complete(asyncio.sleep(0.1))
    assert stage.primary.request_count == 1
    assert stage.primary.open_connections == 0
