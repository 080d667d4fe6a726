"""Answers in another wrapping than was asked for: JSON or a page in place of a stream, a stream in place of JSON.

Gateways answer with whole JSON where they cannot stream, and some stream whatever they are asked for:
https://github.com/Alishahryar1/free-claude-code/pull/486, https://github.com/BYK/loreai/pull/605, read 2026-12-01.
Nothing is sent or read here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from understudy.errors import Failure, MalformedResponse, StreamInterrupted
from understudy.messages import Text, Thinking, ToolCall
from understudy.response import (
    Finish,
    LLMResponse,
    ResponseWarning,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)
from understudy_toolkit.bodies import read_json

if TYPE_CHECKING:
    from understudy_toolkit.calls import Reader, Replies
    from understudy_toolkit.lanes import AsyncReply, Reply

__all__ = [
    "ResponseOf",
    "begins_document",
    "events_of",
    "is_stream",
    "is_success",
    "response_of_document",
    "response_of_stream",
    "says_nothing",
    "unexpected",
    "without_end_marker",
]

ResponseOf: TypeAlias = Callable[[Any, Mapping[str, str]], LLMResponse]

WHOLE = ResponseWarning("stream", "a whole answer came instead of a stream: it was taken as it is")
STREAMED = ResponseWarning("stream", "a stream came instead of a whole answer: it was put together")

# A reply of one of these types may be a page or an error instead of a stream: it is, where it begins like one. Some
# servers send their streams as text/html, which is Flask's default.
_DOCUMENTS = ("text/html", "application/xhtml+xml", "application/xml", "text/xml", "application/json")
_WITHOUT_BODY = (204, 205)
_BOM = b"\xef\xbb\xbf"
_FIELD = re.compile(rb"(?:event|data|id|retry)?:")  # with which server-sent events begin, or with a comment


def is_success(reply: Reply | AsyncReply) -> bool:
    """Return whether a reply is an answer by its status: servers that are made with NestJS answer a POST with 201."""
    return 200 <= reply.status < 300 and reply.status not in _WITHOUT_BODY


def begins_document(first: bytes, content_type: str, streams: tuple[str, ...]) -> bool:
    """Tell a whole document, which is to be read to its end, from a stream.

    Args:
        first: the first piece of the reply.
        content_type: the reply's content type.
        streams: the content types of the vendor's streams; where JSON is one of them, what begins like JSON is a
            stream.
    """
    kind = content_type.partition(";")[0].strip().lower()
    start = first.removeprefix(_BOM).lstrip()[:1]
    if start in (b"{", b"["):
        return "application/json" not in streams
    return start in (b"<", b"") and kind in _DOCUMENTS and kind not in streams


def says_nothing(first: bytes, json_streams: bool) -> bool:
    """Return whether the first bytes of a reply do not show yet what it is: part of a byte order mark, or blank lines.

    Args:
        first: the first bytes; none is the end of the reply.
        json_streams: whether the vendor's streams are JSON themselves.
    """
    return bool(first) and (_BOM.startswith(first) or (first.isspace() and not json_streams))


def without_end_marker(content: bytes) -> bytes:
    """Return a body without a stream's end marker, which some gateways put after JSON (decolua/9router#3492)."""
    return content.rstrip().removesuffix(b"[DONE]").rstrip().removesuffix(b"data:")


def is_stream(content: bytes) -> bool:
    """Return whether a body begins like a stream: of events, or of JSON in a line that is followed by another."""
    start = content.removeprefix(_BOM).lstrip()
    if not start.startswith(b"{"):
        return _FIELD.match(start) is not None
    line, _, rest = start.partition(b"\n")
    return line.rstrip().endswith(b"}") and rest.lstrip()[:1] == b"{"


def response_of_stream(
    content: bytes, headers: Mapping[str, str], reader_of: Callable[[Mapping[str, str]], Reader]
) -> LLMResponse:
    """Put a whole answer together of a stream that came in its place.

    Raises:
        MalformedResponse: the stream is not whole.
        Failure: as the reader says.
    """
    reader = reader_of(headers)
    try:
        *_, last = [*reader.read(content), *reader.end()]
    except StreamInterrupted as interrupted:
        broken = f"expected JSON, found a stream that broke off: {interrupted.message}"
    else:
        assert isinstance(last, Finish)
        return replace(last.response, warnings=(*last.response.warnings, STREAMED))
    raise MalformedResponse(broken, status=200)


def response_of_document(
    reply: Reply | AsyncReply, content: bytes, replies: Replies, response_of: ResponseOf | None
) -> LLMResponse | None:
    """Return the answer that came as a document in place of a stream; None where it is a stream after all.

    Raises:
        Failure: it is something else.
    """
    try:
        document = read_json(content)
    except ValueError:
        if is_success(reply) and b"\ndata:" in content:
            return None
    else:
        if is_success(reply) and response_of is not None:
            return response_of(document, reply.headers)
    raise unexpected(reply, content, replies)


def unexpected(reply: Reply | AsyncReply, content: bytes, replies: Replies, fault: str = "") -> Failure:
    """Return the failure that a reply is which is no answer.

    Args:
        reply: the reply.
        content: its body.
        replies: how the vendor says that something failed.
        fault: why the body cannot be read, where it cannot.
    """
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


def events_of(response: LLMResponse) -> Iterator[StreamEvent]:
    """Yield a whole answer as the events of a stream."""
    called = 0
    for part in response.parts:
        if isinstance(part, Text) and part.text:
            yield TextDelta(part.text)
        elif isinstance(part, Thinking) and part.text:
            yield ThinkingDelta(part.text)
        elif isinstance(part, ToolCall):
            arguments = json.dumps(part.arguments, default=dict, ensure_ascii=False)
            yield ToolCallDelta(called, part.id, part.name, arguments)
            called += 1
    yield Finish(replace(response, warnings=(*response.warnings, WHOLE)))
