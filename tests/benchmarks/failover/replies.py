"""What the upstream sends: whole answers and streams of OpenAI's chat completions, sound and broken."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

MODEL = "model-under-test"
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
PAUSE = 0.1  # seconds between two bytes of a dribble
KEEPALIVE = 0.25  # seconds between two comments in a stream that has nothing to say yet
BEFORE_FAULT = 5  # words that come before a stream breaks
JSON = "application/json"
EVENTS = "text/event-stream; charset=utf-8"

Sleep = Callable[[float], Awaitable[None]]
Reply = AsyncIterator[bytes]


def words_of(role: str) -> list[str]:
    """Return the pieces of the answer that an upstream gives in a role."""
    return [f"{role}: ", *(f"{word} " for word in WORDS[:-1]), WORDS[-1]]


def text_of(role: str) -> str:
    """Return the whole answer that an upstream gives in a role."""
    return "".join(words_of(role))


def completion(text: str) -> str:
    """Return the JSON of a whole answer."""
    message = {"role": "assistant", "content": text, "refusal": None}
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1787150000,
            "model": MODEL,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 13, "total_tokens": 22},
        }
    )


def error(status: int) -> str:
    """Return the JSON with which OpenAI accompanies a status."""
    kinds = {400: "invalid_request_error", 429: "requests", 500: "server_error", 503: "server_error"}
    codes = {400: "unsupported_value", 429: "rate_limit_exceeded"}
    messages = {
        400: "Invalid 'temperature': decimal above maximum value.",
        429: "Rate limit reached for requests.",
        500: "The server had an error while processing your request.",
        503: "The engine is currently overloaded, please try again later.",
    }
    return json.dumps(
        {"error": {"message": messages[status], "type": kinds[status], "param": None, "code": codes.get(status)}}
    )


def event(delta: dict[str, Any], finish: str | None = None) -> str:
    """Return one event of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1787150000, "model": MODEL}
    return f"data: {json.dumps({**chunk, 'choices': [choice]})}\n\n"


def head(status: str, kind: str, *lines: str, length: int | None = None) -> bytes:
    """Return status line and headers, for a chunked body where no length is given."""
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Type: {kind}", size, *lines, "", ""]).encode()


def chunk(text: str) -> bytes:
    """Return a piece of a chunked body; that of nothing ends it."""
    return f"{len(text.encode()):x}\r\n{text}\r\n".encode()


def plain(status: str, body: str, *lines: str, kind: str = JSON) -> bytes:
    """Return a whole reply."""
    return head(status, kind, *lines, length=len(body.encode())) + body.encode()


def sound(role: str, streamed: bool) -> bytes:
    """Return the answer that is given where no fault is asked for."""
    if not streamed:
        return plain("200 OK", completion(text_of(role)))
    events = [event({"role": "assistant", "content": ""}), *(event({"content": word}) for word in words_of(role))]
    events += [event({}, "stop"), "data: [DONE]\n\n", ""]
    return head("200 OK", EVENTS) + b"".join(map(chunk, events))


class Cut(Exception):
    """The connection ends here, in the middle of the reply."""


async def faulty(fault: str, role: str, sleep: Sleep) -> Reply:
    """Give the pieces of a reply with a fault; see FAULTS for the names."""
    async for piece in FAULTS[fault](role, sleep):
        yield piece


def _status(number: int, reason: str, *lines: str) -> Callable[[str, Sleep], Reply]:
    async def reply(role: str, sleep: Sleep) -> Reply:
        yield plain(f"{number} {reason}", error(number), *lines)

    return reply


def _body(body: str, kind: str = JSON) -> Callable[[str, Sleep], Reply]:
    async def reply(role: str, sleep: Sleep) -> Reply:
        yield plain("200 OK", body, kind=kind)

    return reply


async def _hang(role: str, sleep: Sleep) -> Reply:
    await sleep(3600)
    yield b""


async def _silent_stream(role: str, sleep: Sleep) -> Reply:
    yield head("200 OK", EVENTS) + chunk(event({"role": "assistant", "content": ""}))
    await sleep(3600)


async def _keepalives(role: str, sleep: Sleep) -> Reply:
    yield head("200 OK", EVENTS)
    while True:
        yield chunk(": keepalive\n\n")
        await sleep(KEEPALIVE)


async def _dribble(role: str, sleep: Sleep) -> Reply:
    body = completion(text_of(role))
    yield head("200 OK", JSON, length=len(body))
    for letter in body:
        yield letter.encode()
        await sleep(PAUSE)


def _some_words(role: str) -> bytes:
    some = words_of(role)[:BEFORE_FAULT]
    events = [event({"role": "assistant", "content": ""}), *(event({"content": word}) for word in some)]
    return head("200 OK", EVENTS) + b"".join(map(chunk, events))


async def _stream_ends(role: str, sleep: Sleep) -> Reply:
    yield _some_words(role)
    yield chunk("")


async def _stream_cut(role: str, sleep: Sleep) -> Reply:
    yield _some_words(role)
    await sleep(KEEPALIVE)  # so that the words are read before the end of the connection is
    raise Cut


async def _error_first(role: str, sleep: Sleep) -> Reply:
    yield head("200 OK", EVENTS) + chunk(f"data: {error(503)}\n\n") + chunk("")


async def _error_later(role: str, sleep: Sleep) -> Reply:
    yield _some_words(role)
    await sleep(KEEPALIVE)
    yield chunk(f"data: {error(500)}\n\n") + chunk("")


async def _answer_cut(role: str, sleep: Sleep) -> Reply:
    body = completion(text_of(role))
    yield head("200 OK", JSON, length=len(body)) + body[: len(body) // 2].encode()
    await sleep(KEEPALIVE)
    raise Cut


FAULTS: dict[str, Callable[[str, Sleep], Reply]] = {
    "429": _status(429, "Too Many Requests"),
    "429 retry-after 30": _status(429, "Too Many Requests", "Retry-After: 30"),
    "500": _status(500, "Internal Server Error"),
    "503": _status(503, "Service Unavailable"),
    "400": _status(400, "Bad Request"),
    "hang": _hang,
    "silent stream": _silent_stream,
    "keepalives": _keepalives,
    "dribble": _dribble,
    "empty": _body(completion("")),
    "malformed": _body('{"id": "chatcmpl-1", "object": "chat.completion", "choices": ['),
    "html": _body("<!doctype html><html><body><h1>It works!</h1></body></html>", "text/html"),
    "answer cut": _answer_cut,
    "stream ends": _stream_ends,
    "stream cut": _stream_cut,
    "error first": _error_first,
    "error later": _error_later,
}
