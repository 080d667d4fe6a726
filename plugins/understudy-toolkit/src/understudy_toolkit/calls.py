"""Asking and reading: whole answers and streams, sync and async, with every failure typed and every time kept.

A provider hands in what only it knows: how its vendor says that something failed (`Replies`), and how a reply becomes
an answer (`Call`, `Reader`). Failures raised here keep no SDK exception: it, and the frames of its
traceback, hold the request with the key among its headers.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from understudy.classify import classify_exception
from understudy.errors import Failure, MalformedResponse, UnsupportedRequest
from understudy.response import LLMResponse, StreamEvent
from understudy_toolkit.bodies import read_json
from understudy_toolkit.lanes import Ask, AsyncReply, Headers, Lane, Reply, SyncLane

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

# A reply of one of these types may be a page or an error instead of a stream: it is, where it begins like one. Some
# servers send their streams as text/html, which is Flask's default.
_DOCUMENTS = ("text/html", "application/xhtml+xml", "application/xml", "text/xml", "application/json")
_BEGINNINGS = (b"<", b"{", b"[", b"")
_BOM = b"\xef\xbb\xbf"
_ENOUGH = 64 * 2**10  # bytes of such a document


@dataclass(frozen=True, slots=True)
class Replies:
    """How a vendor says that something failed.

    Args:
        provider: the provider's name.
        failure_of_reply: returns what a status, headers and a body that is no answer mean.
        failure_of_exception: returns what an exception of the lane means.
        streams: the content types of the vendor's streams.
    """

    provider: str
    failure_of_reply: Callable[[int, Mapping[str, str], bytes], Failure]
    failure_of_exception: Callable[[BaseException], Failure] = classify_exception
    streams: tuple[str, ...] = ("text/event-stream",)


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
    response_of: Callable[[Any, Mapping[str, str]], LLMResponse]
    reader_of: Callable[[Mapping[str, str]], Reader]


def generate(lane: SyncLane, call: Call) -> LLMResponse:
    """Answer a request.

    Raises:
        Failure: there is no answer.
    """
    with failures_of(call.model, call.replies):
        return call.response_of(*answer(lane, call.ask, call.replies))


async def agenerate(lane: Lane, call: Call) -> LLMResponse:
    """Answer a request on the running event loop, as `generate`."""
    with failures_of(call.model, call.replies):
        return call.response_of(*await aanswer(lane, call.ask, call.replies))


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
        yield from stream(lane, call.ask, call.replies, call.reader_of)


async def aevents(lane: Lane, prepare: Callable[[], Call]) -> AsyncGenerator[StreamEvent, None]:
    """Answer a request piece by piece on the running event loop, as `events`."""
    call = prepare()
    with failures_of(call.model, call.replies):
        told = astream(lane, call.ask, call.replies, call.reader_of)
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
    return _answer(reply, content, replies)


async def aanswer(lane: Lane, ask: Ask, replies: Replies) -> Answer:
    """Ask for a whole answer on the running event loop, as `answer`."""
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
    return _answer(reply, content, replies)


def stream(
    lane: SyncLane, ask: Ask, replies: Replies, reader_of: Callable[[Mapping[str, str]], Reader]
) -> Iterator[StreamEvent]:
    """Ask for a stream, and yield its events.

    Args:
        lane: what carries the request.
        ask: the request, with `stream` set.
        replies: how the vendor says that something failed.
        reader_of: returns what reads the stream of a reply with these headers.

    Raises:
        Failure: there is no answer, or no more of it.
    """
    failed: list[Failure] = []
    reply: Reply | None = None
    data: bytes | None = b""
    try:
        try:
            reply = lane.send(ask)
            pieces, content = reply.pieces(), None
            if reply.status != 200:
                content = _read(reply)
            elif _may_be_a_document(reply, replies):
                data = first = next(pieces, b"")
                while first and _BOM.startswith(first) and (more := next(pieces, b"")):
                    data = first = first + more
                if _begins_a_document(first, replies):
                    content = first + b"".join(_beginning(pieces, ask))
        except Exception as exception:
            failed.append(_failure_of(exception, replies))
        if failed:
            raise failed.pop()
        assert reply is not None
        if content is not None:
            raise _unexpected(reply, content, replies)
        reader = reader_of(reply.headers)
        while data is not None:
            yield from reader.read(data)
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
    lane: Lane, ask: Ask, replies: Replies, reader_of: Callable[[Mapping[str, str]], Reader]
) -> AsyncGenerator[StreamEvent, None]:
    """Ask for a stream on the running event loop, as `stream`. Close it where it is left early: contextlib.aclosing."""
    failed: list[Failure] = []
    reply: AsyncReply | None = None
    pieces: AsyncGenerator[bytes, None] | None = None
    data: bytes | None = b""
    try:
        try:
            reply = await lane.asend(ask)
            pieces, content = reply.pieces(), None
            if reply.status != 200:
                content = await _aread(reply)
            elif _may_be_a_document(reply, replies):
                data = first = await anext(pieces, b"")
                while first and _BOM.startswith(first) and (more := await anext(pieces, b"")):
                    data = first = first + more
                if _begins_a_document(first, replies):
                    content = first + b"".join([piece async for piece in _abeginning(pieces, ask)])
        except Exception as exception:
            failed.append(_failure_of(exception, replies))
        if failed:
            raise failed.pop()
        assert reply is not None
        assert pieces is not None
        if content is not None:
            raise _unexpected(reply, content, replies)
        reader = reader_of(reply.headers)
        while data is not None:
            for event in reader.read(data):
                yield event
            try:
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


# ---- what came back ----


def _read(reply: Reply) -> bytes:
    """Return the body; that of an error only if it comes whole and in time, since its status says enough."""
    try:
        return reply.read()
    except Exception:
        if reply.status == 200:
            raise
    return b""


async def _aread(reply: AsyncReply) -> bytes:
    try:
        return await reply.read()
    except Exception:
        if reply.status == 200:
            raise
    return b""


def _answer(reply: Reply | AsyncReply, content: bytes, replies: Replies) -> Answer:
    if reply.status == 200:
        try:
            return Answer(read_json(content), reply.headers)
        except ValueError as error:
            fault = str(error)
    else:
        fault = ""
    raise _unexpected(reply, content, replies, fault)


def _may_be_a_document(reply: Reply | AsyncReply, replies: Replies) -> bool:
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind in _DOCUMENTS and kind not in replies.streams


def _begins_a_document(first: bytes, replies: Replies) -> bool:
    """Tell a page or an error from a stream by its first piece; a stream that is JSON itself begins like an error."""
    start = first.removeprefix(_BOM).lstrip()[:1]
    return start in _BEGINNINGS and not (start and start in b"{[" and "application/json" in replies.streams)


def _beginning(pieces: Iterator[bytes], ask: Ask) -> Iterator[bytes]:
    """Yield as much of a document as tells what it is, and comes in time."""
    until, left = time.monotonic() + ask.seconds, _ENOUGH
    for piece in pieces:
        yield piece
        left -= len(piece)
        if left < 0 or time.monotonic() > until:
            return


async def _abeginning(pieces: AsyncIterator[bytes], ask: Ask) -> AsyncIterator[bytes]:
    until, left = time.monotonic() + ask.seconds, _ENOUGH
    async for piece in pieces:
        yield piece
        left -= len(piece)
        if left < 0 or time.monotonic() > until:
            return


def _unexpected(reply: Reply | AsyncReply, content: bytes, replies: Replies, fault: str = "") -> Failure:
    failure = replies.failure_of_reply(reply.status, reply.headers, content)
    if type(failure) is not MalformedResponse:
        return failure
    told = "; ".join(filter(None, (reply.headers.get("content-type", "no content type"), fault[:100])))
    return MalformedResponse(
        f"{failure.message} ({told})",
        provider=replies.provider,
        status=failure.status,
        code=failure.code,
        request_id=failure.request_id,
    )


def _failure_of(exception: Exception, replies: Replies) -> Failure:
    """Return the failure that an exception of the lane means, with nothing of the request hanging on it."""
    failure = replies.failure_of_exception(exception)
    failure.__cause__ = failure.__context__ = None
    return failure.with_traceback(None)
