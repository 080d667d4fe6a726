"""Every fault, in all four ways of calling, through the real SDKs over sockets, found by entry point.

Gemini and Claude play both parts in turn. Requests are counted by the stand-ins: what the record says must be what
arrived, so no SDK retries behind our back.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from understudy import (
    AuthenticationFailed,
    ConnectionFailed,
    ContentBlocked,
    ContextTooLong,
    EmptyResponse,
    Failure,
    InvalidRequest,
    LLMFactory,
    MalformedResponse,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    ServerError,
    StreamInterrupted,
    TextDelta,
    Timeout,
)
from understudy.testing import no_waiting
from understudy_sandbox import faults

SILENT = {"stall", "black_hole"}  # only these are ended by a timeout, so only these are given a short one
SHORT = 0.25
WAYS = ["sync", "async", "stream", "astream"]
BROKEN = (ConnectionFailed, StreamInterrupted)
UNREADABLE = (MalformedResponse,)


@dataclass(frozen=True)
class Row:
    """What one fault leads to: the failure, how often the primary is asked (with one retry), who answers."""

    fault: Any
    failure: tuple[type[Failure], ...]
    asked: int
    answered: bool = True  # by the fallback; False where the call ends with the primary
    plain: tuple[tuple[type[Failure], ...], int] | None = None  # for whole answers, where they differ from streams
    retry_after: float | None = None


ROWS = [
    Row(faults.rate_limited(), (RateLimited,), 1),
    Row(faults.rate_limited(retry_after=30), (RateLimited,), 1, retry_after=30),
    Row(faults.quota_exhausted(), (QuotaExhausted,), 1),
    Row(faults.billing(), (QuotaExhausted,), 1),
    Row(faults.overloaded(), (Overloaded,), 2),
    Row(faults.server_error(), (ServerError,), 2),
    Row(faults.timeout(), (Timeout,), 2),
    Row(faults.timeout(408), (Timeout,), 2),
    Row(faults.authentication_failed(), (AuthenticationFailed,), 1),
    Row(faults.permission_denied(), (PermissionDenied,), 1),
    Row(faults.model_not_found(), (ModelNotFound,), 1),
    Row(faults.context_too_long(), (ContextTooLong,), 1),
    Row(faults.invalid_request(), (InvalidRequest,), 1, answered=False),
    Row(faults.blocked(), (ContentBlocked,), 1, answered=False),
    Row(faults.blocked("prompt"), (ContentBlocked,), 1, answered=False),
    Row(faults.empty(), (EmptyResponse,), 1),
    Row(faults.out_of_tokens(), (EmptyResponse,), 1),
    Row(faults.stream_error(), (Overloaded,), 2, plain=((Overloaded, MalformedResponse), 0)),
    Row(faults.stream_end(0), BROKEN, 2, plain=((MalformedResponse, *BROKEN), 0)),
    Row(faults.cut(0), BROKEN, 2),
    Row(faults.reset(), (ConnectionFailed,), 2),
    Row(faults.black_hole(), (Timeout,), 2),
    Row(faults.stall(0), (Timeout,), 2),
    Row(faults.malformed_json(), UNREADABLE, 1),
    Row(faults.html_page(), UNREADABLE, 1),
    Row(faults.html_page(502), (ServerError,), 2),
    Row(faults.empty_body(), (*UNREADABLE, StreamInterrupted), 0),
    Row(faults.null_object(), (*UNREADABLE, StreamInterrupted), 0),
]
BENIGN = [faults.slow_first_token(0.05), faults.dribble(0.005), faults.huge(1)]
MID_STREAM = [
    faults.stream_error(after=2),
    faults.stream_end(after=2),
    faults.cut(after=2),
    faults.cut_character(after=2),
    faults.stall(after=2),
    faults.reset(after=2),
    faults.malformed_json(after=2),
]


def named(rows):
    return pytest.mark.parametrize("row", rows, ids=lambda row: str(getattr(row, "fault", row)))


ways = pytest.mark.parametrize("how", WAYS)
casts = pytest.mark.parametrize("cast", [("gemini", "claude"), ("claude", "gemini")], ids=" then ".join)


@pytest.fixture(scope="module")
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


@pytest.fixture(scope="module")
def factories(_understudy_sandbox, loop):
    settings = _understudy_sandbox.environment()
    made = {
        cast: LLMFactory(*cast, settings=settings, extensions=[])
        for cast in [("gemini", "claude"), ("claude", "gemini")]
    }
    yield made
    for factory in made.values():
        loop.run_until_complete(factory.aclose())


class Stage:
    """Runs one call in one of the four ways, and remembers the pieces that a stream gave."""

    def __init__(self, sandbox, factory, loop, cast):
        self.factory, self.loop = factory, loop
        self.primary, self.fallback = (sandbox[name] for name in cast)
        self.pieces: list[str] = []

    def ask(self, how, **arguments):
        arguments = {"max_retries": 1, "timeout": 10, "temperature": None, **arguments}
        if how == "sync":
            return self.factory.generate_content("hello", **arguments)
        if how == "async":
            return self.loop.run_until_complete(self.factory.agenerate_content("hello", **arguments))
        if how == "stream":
            for event in self.factory.stream_content("hello", **arguments):
                last = self.keep(event)
            return last.response
        return self.loop.run_until_complete(self.collect(arguments))

    async def collect(self, arguments):
        async for event in self.factory.astream_content("hello", **arguments):
            last = self.keep(event)
        return last.response

    def keep(self, event):
        if isinstance(event, TextDelta):
            self.pieces.append(event.text)
        return event


@pytest.fixture
def stage(sandbox, factories, loop, cast):
    return Stage(sandbox, factories[cast], loop, cast)


@casts
@ways
@named(ROWS)
def test_fault_before_the_first_token(stage, cast, how, row):
    primary, fallback = cast
    stage.primary.always(row.fault)
    with no_waiting() as waits:
        response = stage.ask(how, timeout=SHORT if row.fault.name in SILENT else 10)
    kinds, asked = row.failure, row.asked
    if row.plain is not None and how in ("sync", "async"):
        kinds, asked = row.plain

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
        assert how in ("sync", "async") or "".join(stage.pieces) == response.content
    else:
        assert not response.success
        assert stage.fallback.request_count == 0


@casts
@ways
def test_nobody_listens(stage, cast, how):
    stage.primary.always(faults.refuse())
    with no_waiting() as waits:
        response = stage.ask(how)
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
    assert (stage.primary.request_count, stage.fallback.request_count) == (1, 0)
    assert how in ("sync", "async") or "".join(stage.pieces) == response.content


@casts
@pytest.mark.parametrize("how", ["stream", "astream"])
@named(MID_STREAM)
def test_break_after_the_first_token_is_told(stage, cast, how, row):
    stage.primary.always(row)
    with pytest.raises(StreamInterrupted) as caught:
        stage.ask(how, timeout=SHORT if row.name in SILENT else 10)
    assert caught.value.partial == "".join(stage.pieces)
    assert caught.value.partial
    assert caught.value.provider == cast[0]
    assert len(caught.value.attempts) == 1
    assert (stage.primary.request_count, stage.fallback.request_count) == (1, 0)


@casts
@ways
def test_everybody_down(stage, cast, how):
    stage.primary.always(faults.quota_exhausted())
    stage.fallback.always(faults.black_hole())
    with no_waiting():
        response = stage.ask(how, timeout=SHORT)
    assert response.error == f"All LLM providers failed: [{cast[0]}: quota exceeded, {cast[1]}: timeout]"
    assert (stage.primary.request_count, stage.fallback.request_count) == (1, 2)


@casts
@pytest.mark.parametrize("how", ["async", "astream"])
def test_cancelled_call_closes_its_connection_and_starts_nothing(stage, cast, how, sandbox):
    stage.primary.always(faults.stall(after=2))

    async def leave():
        if how == "async":
            task = asyncio.create_task(stage.factory.agenerate_content("hello", timeout=20))
        else:
            task = asyncio.create_task(stage.collect({"timeout": 20}))
        while not stage.primary.request_count or (how == "astream" and not stage.pieces):
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
    assert (stage.primary.request_count, stage.fallback.request_count) == (1, 0)


@casts
@pytest.mark.parametrize("how", ["stream", "astream"])
def test_a_consumer_that_leaves_closes_the_connection(stage, cast, how):
    stage.primary.always(faults.stall(after=2))

    async def leave():
        stream = stage.factory.astream_content("hello", timeout=20)
        await anext(stream)
        await stream.aclose()

    if how == "stream":
        stream = stage.factory.stream_content("hello", timeout=20)
        next(stream)
        stream.close()
    else:
        stage.loop.run_until_complete(leave())
    stage.loop.run_until_complete(asyncio.sleep(0.1))
    assert stage.primary.request_count == 1
    assert stage.primary.open_connections == 0
