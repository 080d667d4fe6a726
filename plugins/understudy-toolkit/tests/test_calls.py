"""Asking and reading, over a lane that plays what it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from typing import Any

import pytest

from understudy.classify import classify_exception, classify_status
from understudy.errors import ConnectionFailed, Failure, MalformedResponse, RateLimited, StreamInterrupted
from understudy.response import Finish, LLMResponse, StreamEvent, TextDelta
from understudy_toolkit import calls
from understudy_toolkit.lanes import Ask, Headers

WHOLE = Ask(path="/", seconds=1.0)
STREAM = Ask(path="/", seconds=1.0, stream=True)


class Played:
    """A lane and its reply in one, for sync calls and event loops."""

    keeps_deadline = True

    def __init__(self, *pieces: bytes | Exception, status: int = 200, **headers: str) -> None:
        self.played, self.status = pieces, status
        self.headers = Headers((name.replace("_", "-"), value) for name, value in headers.items())
        self.closed = 0

    def prepare(self) -> None: ...

    def send(self, ask: Ask) -> Any:
        if self.played and isinstance(self.played[0], Exception) and self.status == 0:
            raise self.played[0]
        return _Reply(self)

    async def asend(self, ask: Ask) -> Any:
        self.send(ask)
        return _AsyncReply(self)

    def close(self) -> None: ...

    async def aclose(self) -> None: ...


class _Reply:
    def __init__(self, lane: Played) -> None:
        self.lane, self.status, self.headers = lane, lane.status, lane.headers

    def pieces(self) -> Iterator[bytes]:
        for piece in self.lane.played:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def read(self) -> bytes:
        return b"".join(self.pieces())

    def close(self) -> None:
        self.lane.closed += 1


class _AsyncReply:
    def __init__(self, lane: Played) -> None:
        self.reply, self.status, self.headers = _Reply(lane), lane.status, lane.headers

    async def pieces(self) -> AsyncIterator[bytes]:
        for piece in self.reply.pieces():
            yield piece

    async def read(self) -> bytes:
        return self.reply.read()

    async def close(self) -> None:
        self.reply.close()


class Reader:
    """Takes each piece for a text; "END" is the end marker."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.texts: list[str] = []
        self.ended = False

    def read(self, data: bytes) -> Iterator[StreamEvent]:
        for text in filter(None, data.decode().split(" ")):
            if text == "END":
                self.ended = True
            else:
                self.texts.append(text)
                yield TextDelta(text)

    def end(self) -> Iterator[StreamEvent]:
        if not self.ended:
            raise StreamInterrupted("no end")
        yield Finish(LLMResponse(True, "".join(self.texts), "parrot"))


def failure_of_reply(status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    return classify_status(status)(f"found: {body[:50]!r}", status=status, request_id=headers.get("request-id"))


REPLIES = calls.Replies("parrot", failure_of_reply, classify_exception)


class Broken(Exception):
    """Of an SDK: it holds the request."""

    request = "with the key"


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def is_async(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def answer(lane: Any, is_async: bool) -> calls.Answer:
    with calls.failures_of("parrot-1", REPLIES):
        return asyncio.run(calls.aanswer(lane, WHOLE, REPLIES)) if is_async else calls.answer(lane, WHOLE, REPLIES)


def stream(lane: Any, is_async: bool, most: int | None = None, replies: calls.Replies = REPLIES) -> list[StreamEvent]:
    async def gather() -> None:
        async with aclosing(calls.astream(lane, STREAM, replies, Reader)) as events:
            async for event in events:
                told.append(event)
                if len(told) == most:
                    return

    told: list[StreamEvent] = []
    with calls.failures_of("parrot-1", replies):
        if is_async:
            asyncio.run(gather())
            return told
        events = calls.stream(lane, STREAM, replies, Reader)
        for event in events:
            told.append(event)
            if len(told) == most:
                events.close()  # type: ignore[attr-defined]  # it is a generator
        return told


def test_an_answer_is_its_json_and_its_headers(is_async: bool) -> None:
    for body in (b'{"a": 1}', b'\xef\xbb\xbf {"a": 1}\n'):
        lane = Played(body, content_type="text/html", request_id="r")
        document, headers = answer(lane, is_async)
        assert (document, headers["Request-Id"], lane.closed) == ({"a": 1}, "r", 1)


@pytest.mark.parametrize(
    ("body", "words"), [(b"<html>", "Expecting value"), (b"[" * 100_000, "too deep"), (b'{"a": "\xff"}', "utf-8")]
)
def test_what_is_no_json_is_malformed_and_says_why(body: bytes, words: str, is_async: bool) -> None:
    lane = Played(body, content_type="text/html", request_id="r")
    with pytest.raises(MalformedResponse, match=rf"text/html; .*{words}") as caught:
        answer(lane, is_async)
    found = caught.value
    assert (found.provider, found.model, found.request_id, lane.closed) == ("parrot", "parrot-1", "r", 1)


def test_a_status_is_its_failure_in_answers_and_streams(is_async: bool) -> None:
    for ask in (answer, stream):
        lane = Played(b'{"a": 1}', status=429, content_type="text/event-stream")
        with pytest.raises(RateLimited) as caught:
            ask(lane, is_async)
        assert (caught.value.status, caught.value.model, lane.closed) == (429, "parrot-1", 1)


@pytest.mark.parametrize("status", [0, 200], ids=["before the reply", "in it"])
def test_a_failure_drags_nothing_of_the_request_along(status: int, is_async: bool) -> None:
    for ask in (answer, stream):
        error = Broken("connection broke")
        error.__cause__ = ConnectionResetError()
        with pytest.raises(ConnectionFailed, match="Broken: connection broke") as caught:
            ask(Played(error, status=status), is_async)
        failure: BaseException | None = caught.value
        assert failure is not None
        assert (failure.__cause__, failure.__context__) == (None, None)
        frames = []
        traceback = failure.__traceback__
        while traceback is not None:
            frames.append(traceback.tb_frame)
            traceback = traceback.tb_next
        assert not any(isinstance(value, Broken) for frame in frames[2:] for value in frame.f_locals.values())


def test_a_stream_is_read_piece_by_piece(is_async: bool) -> None:
    lane = Played(b"one ", b"two END")
    *texts, finish = stream(lane, is_async)
    assert texts == [TextDelta("one"), TextDelta("two")]
    assert isinstance(finish, Finish)
    assert (finish.response.content, lane.closed) == ("onetwo", 1)


def test_a_stream_that_breaks_is_interrupted_by_what_broke_it(is_async: bool) -> None:
    lane = Played(b"one ", Broken("connection broke"))
    with pytest.raises(ConnectionFailed, match="connection broke"):
        stream(lane, is_async)
    assert lane.closed == 1


def test_what_breaks_after_the_end_marker_takes_nothing_away(is_async: bool) -> None:
    *_, finish = stream(Played(b"one END", Broken("connection broke")), is_async)
    assert isinstance(finish, Finish)


def test_a_stream_without_its_end_marker_is_interrupted(is_async: bool) -> None:
    with pytest.raises(StreamInterrupted):
        stream(Played(b"one "), is_async)


def test_a_stream_that_is_left_closes_its_reply(is_async: bool) -> None:
    lane = Played(b"one ", b"two END")
    assert stream(lane, is_async, most=1) == [TextDelta("one")]
    assert lane.closed == 1


@pytest.mark.parametrize("kind", ["text/html", "text/event-stream", "application/json", "text/plain", ""])
def test_a_stream_is_read_whatever_its_content_type_says(kind: str, is_async: bool) -> None:
    *_, finish = stream(Played(b"one ", b"END", content_type=kind), is_async)
    assert isinstance(finish, Finish)


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/json", "Text/XML"])
@pytest.mark.parametrize("body", [b" <html>", b'{"error": 1}', b"[]", b""], ids=str)
def test_a_page_or_a_document_is_no_stream(kind: str, body: bytes, is_async: bool) -> None:
    lane = Played(body[:3], body[3:], content_type=kind) if body else Played(content_type=kind)
    with pytest.raises(MalformedResponse, match=r"found: b'.*' \(") as caught:
        stream(lane, is_async)
    assert repr(body) in str(caught.value)
    assert lane.closed == 1


@pytest.mark.parametrize("kind", ["text/html", "application/json"])
def test_a_stream_that_is_json_itself_is_read_although_it_begins_like_an_error(kind: str, is_async: bool) -> None:
    replies = calls.Replies("parrot", failure_of_reply, streams=("application/x-ndjson", "application/json"))
    *_, finish = stream(Played(b"{one ", b"END", content_type=kind), is_async, replies=replies)
    assert isinstance(finish, Finish)
    with pytest.raises(MalformedResponse):
        stream(Played(b"<html>", content_type="text/html"), is_async, replies=replies)


def test_an_error_is_known_by_its_status_where_its_body_breaks_off(is_async: bool) -> None:
    for whole in (True, False):
        lane = Played(b"Oo", Broken("cut"), status=429)
        with pytest.raises(RateLimited):
            answer(lane, is_async) if whole else stream(lane, is_async)
        assert lane.closed == 1


def test_a_call_is_answered_whole_or_piece_by_piece(is_async: bool) -> None:
    def response_of(document: Any, headers: Mapping[str, str]) -> LLMResponse:
        return LLMResponse(True, document["said"], "parrot")

    async def gather() -> list[StreamEvent]:
        return [event async for event in calls.aevents(lane, lambda: streamed)]

    lane, call = Played(b'{"said": "Hi"}'), calls.Call("parrot-1", WHOLE, REPLIES, response_of, Reader)
    response = asyncio.run(calls.agenerate(lane, call)) if is_async else calls.generate(lane, call)
    assert response.content == "Hi"
    lane, streamed = Played(b"one ", b"two END"), calls.Call("parrot-1", STREAM, REPLIES, response_of, Reader)
    told = asyncio.run(gather()) if is_async else list(calls.events(lane, lambda: streamed))
    assert told[0] == TextDelta("one")
    assert isinstance(told[-1], Finish)


@pytest.mark.parametrize("status", [200, 404, 405, 500])
def test_a_server_without_a_list_of_models_says_so(status: int) -> None:
    lane = Played(b'["a", "b"]', status=status)
    ask = Ask(path="/models", seconds=1.0, method="GET")
    if status == 200:
        assert calls.list_models(lane, ask, REPLIES, lambda document, _: tuple(document)) == ("a", "b")
        return
    with pytest.raises(Failure) as caught:
        calls.list_models(lane, ask, REPLIES, lambda document, _: tuple(document))
    lacks = "does not list its models: GET /models" in caught.value.message
    assert (lacks, caught.value.provider) == (status != 500, "parrot")


def test_a_document_instead_of_a_stream_is_read_no_further_than_it_must_be(is_async: bool) -> None:
    lane = Played(b"<html>", *[b"x" * 50_000] * 3, Broken("never read"), content_type="text/html")
    with pytest.raises(MalformedResponse):
        stream(lane, is_async)


def test_a_failure_of_our_own_keeps_its_class_and_gets_its_names(is_async: bool) -> None:
    with pytest.raises(RateLimited) as caught:
        answer(Played(RateLimited("slowly", retry_after=3.0)), is_async)
    assert (caught.value.provider, caught.value.model, caught.value.retry_after) == ("parrot", "parrot-1", 3.0)
