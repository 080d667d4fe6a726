"""Requests and replies: whole answers and streams, sync and async, with every failure typed and every timeout kept.

A provider passes in what only it knows: how its vendor says that something failed (`Replies`), and how a reply becomes
an answer (`Call`, `Reader`). Failures raised here keep no SDK exception: it, and the frames of its
traceback, hold the request with the key among its headers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from understudy.classify import classify_exception
from understudy.errors import Failure, UnsupportedRequest
from understudy.response import LLMResponse, StreamEvent
from understudy_toolkit.bodies import read_json
from understudy_toolkit.lanes import Ask, AsyncReply, Headers, Lane, Reply, SyncLane
from understudy_toolkit.wrappings import (
    ResponseOf,
    begins_document,
    events_of,
    is_stream,
    is_success,
    response_of_document,
    response_of_stream,
    says_nothing,
    unexpected,
    without_end_marker,
)

__all__ = [
    "Answer",
    "Call",
    "Reader",
    "Replies",
    "aanswer",
    "aevents",
    "agenerate",
    "answer",
    "astream",
    "events",
    "failures_of",
    "generate",
    "list_models",
    "stream",
]

_ENOUGH = 64 * 2**10  # bytes of a page that came in place of a stream
# Seconds for a connection to be closed after the end of an answer. Some gateways keep it open, for minutes, with
# heartbeats: https://github.com/earendil-works/pi/issues/5592, read 2026-12-01.
LINGER = 2.0


@dataclass(frozen=True, slots=True)
class Replies:
    """How a vendor says that something failed.

    Args:
        provider: the provider's name.
        failure_of_reply: returns what a status, headers and a body that is not an answer mean.
        failure_of_exception: returns what an exception of the lane means.
        streams: the content types of the vendor's streams.
    """

    provider: str
    failure_of_reply: Callable[[int, Mapping[str, str], bytes], Failure]
    failure_of_exception: Callable[[BaseException], Failure] = classify_exception
    streams: tuple[str, ...] = ("text/event-stream",)

    @property
    def json_streams(self) -> bool:
        """Whether a stream may be JSON itself."""
        return "application/json" in self.streams


class Answer(NamedTuple):
    """The JSON of a whole reply with status 200, and its headers."""

    document: Any
    headers: Headers


class Reader(Protocol):
    """Assembles a stream into an answer."""

    @property
    def ended(self) -> bool:
        """Whether the vendor's end marker has come: a break after it loses nothing."""
        ...

    def read(self, data: bytes, /) -> Iterable[StreamEvent]:
        """Take the next bytes."""
        ...

    def end(self) -> Iterable[StreamEvent]:
        """Handle the end of the stream; Finish is the last event."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """A request in the vendor's format, and how the reply becomes an answer.

    Args:
        model: the model that is asked.
        ask: what is sent.
        replies: how the vendor says that something failed.
        response_of: makes an answer of a reply's JSON and its headers.
        reader_of: returns what reads the stream of a reply with these headers.
    """

    model: str
    ask: Ask
    replies: Replies
    response_of: ResponseOf
    reader_of: Callable[[Mapping[str, str]], Reader]


def generate(lane: SyncLane, call: Call) -> LLMResponse:
    """Answer a request.

    Raises:
        Failure: there is no answer.
    """
    with failures_of(call.model, call.replies):
        return _response(call, *_fetch(lane, call.ask, call.replies))


async def agenerate(lane: Lane, call: Call) -> LLMResponse:
    """Answer a request on the running event loop, as `generate`."""
    with failures_of(call.model, call.replies):
        return _response(call, *await _afetch(lane, call.ask, call.replies))


def events(lane: SyncLane, prepare: Callable[[], Call]) -> Generator[StreamEvent, None, None]:
    """Answer a request piece by piece.

    Args:
        lane: what carries the request.
        prepare: makes the call, its `ask` with `stream` set, when the first piece is asked for.

    Raises:
        Failure: there is no answer, or no more of it.
    """
    call = prepare()
    with failures_of(call.model, call.replies):
        yield from stream(lane, call.ask, call.replies, call.reader_of, call.response_of)


async def aevents(lane: Lane, prepare: Callable[[], Call]) -> AsyncGenerator[StreamEvent, None]:
    """Answer a request piece by piece on the running event loop, as `events`."""
    call = prepare()
    with failures_of(call.model, call.replies):
        told = astream(lane, call.ask, call.replies, call.reader_of, call.response_of)
        async with aclosing(told):
            async for event in told:
                yield event


def list_models(
    lane: SyncLane, ask: Ask, replies: Replies, names_of: Callable[[Any, Mapping[str, str]], tuple[str, ...]]
) -> tuple[str, ...]:
    """Ask for a list of models.

    Args:
        lane: what carries the request.
        ask: the request.
        replies: how the vendor says that something failed.
        names_of: reads the names in a reply's JSON and its headers.

    Raises:
        UnsupportedRequest: the server has no list.
        Failure: it does not come.
    """
    try:
        with failures_of(None, replies):
            return names_of(*answer(lane, ask, replies))
    except Failure as failure:
        status = failure.status
        if status not in (404, 405):
            raise
    lack = f"does not list its models: GET {ask.path} is answered with status {status}"
    raise UnsupportedRequest(lack, provider=replies.provider, status=status)


@contextmanager
def failures_of(model: str | None, replies: Replies) -> Iterator[None]:
    """Turn whatever goes wrong inside the block into a failure that names provider and model.

    Args:
        model: the model that is asked, where one is.
        replies: how the vendor says that something failed.
    """
    try:
        yield
    except Exception as exception:
        failure = replies.failure_of_exception(exception)
        failure.provider = failure.provider or replies.provider
        failure.model = failure.model or model
        if failure is exception:
            raise
        raise failure from failure.__cause__


def answer(lane: SyncLane, ask: Ask, replies: Replies) -> Answer:
    """Ask for a whole answer.

    Raises:
        Failure: there is none.
    """
    return _answer(*_fetch(lane, ask, replies), replies)


async def aanswer(lane: Lane, ask: Ask, replies: Replies) -> Answer:
    """Ask for a whole answer on the running event loop, as `answer`."""
    return _answer(*await _afetch(lane, ask, replies), replies)


def _fetch(lane: SyncLane, ask: Ask, replies: Replies) -> tuple[Reply, bytes]:
    failed: list[Failure] = []
    try:
        reply = lane.send(ask)
        try:
            content = _read(reply)
        finally:
            reply.close()
    except Exception as exception:
        failed.append(_failure_of(exception, replies))
    if failed:
        raise failed.pop()  # not kept in a variable: that would be a reference cycle with this frame
    return reply, content


async def _afetch(lane: Lane, ask: Ask, replies: Replies) -> tuple[AsyncReply, bytes]:
    failed: list[Failure] = []
    try:
        reply = await lane.asend(ask)
        try:
            content = await _aread(reply)
        finally:
            await reply.close()
    except Exception as exception:
        failed.append(_failure_of(exception, replies))
    if failed:
        raise failed.pop()
    return reply, content


def stream(
    lane: SyncLane,
    ask: Ask,
    replies: Replies,
    reader_of: Callable[[Mapping[str, str]], Reader],
    response_of: ResponseOf | None = None,
) -> Iterator[StreamEvent]:
    """Ask for a stream, and yield its events.

    Args:
        lane: what carries the request.
        ask: the request, with `stream` set.
        replies: how the vendor says that something failed.
        reader_of: returns what reads the stream of a reply with these headers.
        response_of: makes an answer of JSON that comes in place of a stream; None to take none.

    Raises:
        Failure: there is no answer, or no more of it.
    """
    failed: list[Failure] = []
    reply: Reply | None = None
    data: bytes | None = b""
    until: float | None = None
    try:
        try:
            reply = lane.send(ask)
            pieces, content = reply.pieces(), None
            if not is_success(reply):
                content = _read(reply)
            else:
                data = first = next(pieces, b"")
                while says_nothing(first, replies.json_streams) and (more := next(pieces, b"")):
                    data = first = first + more
                if begins_document(first, reply.headers.get("content-type", ""), replies.streams):
                    content = first + b"".join(_beginning(first, pieces, ask))
        except Exception as exception:
            failed.append(_failure_of(exception, replies))
        if failed:
            raise failed.pop()
        assert reply is not None
        if content is not None:
            response = response_of_document(reply, content, replies, response_of)
            if response is not None:
                yield from events_of(response)
                return
            data = content  # an object of JSON, and then a stream
        reader = reader_of(reply.headers)
        while data is not None:
            yield from reader.read(data)
            if reader.ended:
                until = until or time.monotonic() + LINGER
                if time.monotonic() > until:
                    break
            try:
                data = next(pieces, None)
            except Exception as exception:
                if not reader.ended:
                    failed.append(_failure_of(exception, replies))
                break
        if failed:
            raise failed.pop()
        yield from reader.end()
    finally:
        if reply is not None:
            reply.close()


async def astream(
    lane: Lane,
    ask: Ask,
    replies: Replies,
    reader_of: Callable[[Mapping[str, str]], Reader],
    response_of: ResponseOf | None = None,
) -> AsyncGenerator[StreamEvent, None]:
    """Ask for a stream on the running event loop, as `stream`. Close it where it is left early: contextlib.aclosing."""
    failed: list[Failure] = []
    reply: AsyncReply | None = None
    pieces: AsyncGenerator[bytes, None] | None = None
    data: bytes | None = b""
    until: float | None = None
    try:
        try:
            reply = await lane.asend(ask)
            pieces, content = reply.pieces(), None
            if not is_success(reply):
                content = await _aread(reply)
            else:
                data = first = await anext(pieces, b"")
                while says_nothing(first, replies.json_streams) and (more := await anext(pieces, b"")):
                    data = first = first + more
                if begins_document(first, reply.headers.get("content-type", ""), replies.streams):
                    content = first + b"".join([piece async for piece in _abeginning(first, pieces, ask)])
        except Exception as exception:
            failed.append(_failure_of(exception, replies))
        if failed:
            raise failed.pop()
        assert reply is not None
        assert pieces is not None
        if content is not None:
            response = response_of_document(reply, content, replies, response_of)
            if response is not None:
                for event in events_of(response):
                    yield event
                return
            data = content
        reader = reader_of(reply.headers)
        while data is not None:
            for event in reader.read(data):
                yield event
            if reader.ended:
                until = until or asyncio.get_running_loop().time() + LINGER
            try:
                async with asyncio.timeout_at(until):
                    data = await anext(pieces, None)
            except Exception as exception:
                if not reader.ended:
                    failed.append(_failure_of(exception, replies))
                break
        if failed:
            raise failed.pop()
        for event in reader.end():
            yield event
    finally:
        if reply is not None:
            await reply.close()
        if pieces is not None:
            with suppress(Exception):  # what is left of the body no longer matters
                await pieces.aclose()


# ---- replies ----


def _read(reply: Reply) -> bytes:
    """Return the body; that of an error only if it comes whole and in time, since its status says enough."""
    try:
        return reply.read()
    except Exception:
        if is_success(reply):
            raise
    return b""


async def _aread(reply: AsyncReply) -> bytes:
    try:
        return await reply.read()
    except Exception:
        if is_success(reply):
            raise
    return b""


def _answer(reply: Reply | AsyncReply, content: bytes, replies: Replies) -> Answer:
    fault = ""
    if is_success(reply):
        try:
            return Answer(read_json(without_end_marker(content)), reply.headers)
        except ValueError as error:
            fault = str(error)
    raise unexpected(reply, content, replies, fault)


def _response(call: Call, reply: Reply | AsyncReply, content: bytes) -> LLMResponse:
    """Return the answer that a body is, whether it came as JSON or as a stream."""
    if is_success(reply) and is_stream(content):
        return response_of_stream(content, reply.headers, call.reader_of)
    return call.response_of(*_answer(reply, content, call.replies))


def _beginning(first: bytes, pieces: Iterator[bytes], ask: Ask) -> Iterator[bytes]:
    """Yield the rest of a document that comes in time: JSON as far as an answer may go, of a page what tells of it."""
    until, left = time.monotonic() + ask.seconds, _most(first, ask)
    for piece in pieces:
        yield piece
        left -= len(piece)
        if left < 0 or time.monotonic() > until:
            return


async def _abeginning(first: bytes, pieces: AsyncIterator[bytes], ask: Ask) -> AsyncIterator[bytes]:
    until, left = time.monotonic() + ask.seconds, _most(first, ask)
    async for piece in pieces:
        yield piece
        left -= len(piece)
        if left < 0 or time.monotonic() > until:
            return


def _most(first: bytes, ask: Ask) -> int:
    return ask.most_bytes if b"{" in first.lstrip()[:4] else _ENOUGH


def _failure_of(exception: Exception, replies: Replies) -> Failure:
    """Return the failure that an exception of the lane means, without any reference to the request."""
    failure = replies.failure_of_exception(exception)
    failure.__cause__ = failure.__context__ = None
    return failure.with_traceback(None)
