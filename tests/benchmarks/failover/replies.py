"""What the upstream sends: whole answers and streams of OpenAI's chat completions, sound and broken."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

MODEL = "model-under-test"
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
PAUSE = 0.1  # seconds between two bytes of a dribble
KEEPALIVE = 0.25  # seconds between two comments in a stream that has nothing to say yet
BEFORE_FAULT = 5  # words that come before a stream breaks
SLOW = 20.0  # seconds until the first piece of an answer that is slow
STALLED = 30.0  # seconds of silence in the middle of an answer, before the connection ends
THINKING = 75.0  # seconds for which a model thinks
THOUGHT = 2.5  # seconds between two pieces of what it thinks, where it shows that
USAGE = {"prompt_tokens": 9, "completion_tokens": 13, "total_tokens": 22}
ERRORS: dict[int | str, tuple[str, str | None, str]] = {  # type, code, message
    400: ("invalid_request_error", "decimal_above_max_value", "Invalid 'temperature': decimal above maximum value."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests."),
    500: ("server_error", None, "The server had an error while processing your request."),
    503: ("server_error", None, "The engine is currently overloaded, please try again later."),
    "context_length_exceeded": (
        "invalid_request_error",
        None,
        "This model's maximum context length is 8192 tokens. Please reduce the length of the messages.",
    ),
    "content_policy_violation": (
        "invalid_request_error",
        None,
        "Your request was rejected as a result of our safety system.",
    ),
    "no_tool_parser": (
        "BadRequestError",
        None,
        '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
    ),
    "no_prefill": ("invalid_request_error", None, "This model does not support assistant message prefill."),
}
JSON = "application/json"
EVENTS = "text/event-stream; charset=utf-8"

Sleep = Callable[[float], Awaitable[None]]
Reply = AsyncIterator[bytes]


@dataclass(frozen=True)
class Asked:
    """What a reply depends on.

    Args:
        role: whether the primary or the backup is asked.
        model: that is to answer.
        streamed: whether the answer is to come in pieces.
        usage: whether a stream is to tell its tokens at the end.
        begun: whether the last message is the beginning of the answer, which is to be gone on with.
    """

    role: str
    model: str = MODEL
    streamed: bool = False
    usage: bool = False
    begun: bool = False


def words_of(role: str) -> list[str]:
    """Return the pieces of the answer that an upstream gives in a role."""
    return [f"{role}: ", *(f"{word} " for word in WORDS[:-1]), WORDS[-1]]


def text_of(role: str) -> str:
    """Return the whole answer that an upstream gives in a role."""
    return "".join(words_of(role))


def completion(text: str, model: str = MODEL) -> str:
    """Return the JSON of a whole answer."""
    message = {"role": "assistant", "content": text, "refusal": None}
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1787150000,
            "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
            "usage": USAGE,
        }
    )


def error(status: int, code: str | None = None) -> str:
    """Return the JSON with which OpenAI accompanies a status, or a code."""
    kind, usual, message = ERRORS[code or status]
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code or usual}})


def event(delta: dict[str, Any], finish: str | None = None, model: str = MODEL) -> str:
    """Return one event of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    return f"data: {json.dumps({**_chunk(model), 'choices': [choice]})}\n\n"


def _chunk(model: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1787150000, "model": model}


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


def sound(asked: Asked) -> bytes:
    """Return the answer that is given where no fault is asked for."""
    if not asked.streamed:
        return plain("200 OK", completion(text_of(asked.role), asked.model))
    return head("200 OK", EVENTS) + _chunks([_role(asked), *_words(asked), *_ending(asked)]) + chunk("")


def _chunks(events: list[str]) -> bytes:
    return b"".join(map(chunk, events))


def _role(asked: Asked) -> str:
    return event({"role": "assistant", "content": ""}, model=asked.model)


def _words(asked: Asked) -> list[str]:
    return [event({"content": word}, model=asked.model) for word in words_of(asked.role)]


def _ending(asked: Asked, *, done: bool = True) -> list[str]:
    usage = f"data: {json.dumps({**_chunk(asked.model), 'choices': [], 'usage': USAGE})}\n\n"
    told = [usage] if asked.usage else []
    return [event({}, "stop", model=asked.model), *told, *(["data: [DONE]\n\n"] if done else [])]


class Cut(Exception):
    """The connection ends here, in the middle of the reply."""


class Reset(Cut):
    """The connection is reset."""


Make = Callable[[Asked, Sleep], Reply]


async def faulty(fault: str, asked: Asked, sleep: Sleep) -> Reply:
    """Give the pieces of a reply with a fault; see FAULTS for the names."""
    async for piece in FAULTS[fault](asked, sleep):
        yield piece


def _status(number: int, reason: str, *lines: str, code: str | None = None) -> Make:
    async def reply(asked: Asked, sleep: Sleep) -> Reply:
        yield plain(f"{number} {reason}", error(number, code), *lines)

    return reply


def _body(body: str, kind: str = JSON) -> Make:
    async def reply(asked: Asked, sleep: Sleep) -> Reply:
        yield plain("200 OK", body, kind=kind)

    return reply


def _either(whole: Make, streamed: Make) -> Make:
    """Return what becomes of whole answers in one way and of streams in another."""
    return lambda asked, sleep: (streamed if asked.streamed else whole)(asked, sleep)


async def _sound(asked: Asked, sleep: Sleep) -> Reply:
    yield sound(asked)


async def _reset(asked: Asked, sleep: Sleep) -> Reply:
    raise Reset
    yield b""


async def _hang(asked: Asked, sleep: Sleep) -> Reply:
    await sleep(3600)
    yield b""


async def _slow(asked: Asked, sleep: Sleep) -> Reply:
    if not asked.streamed:
        await sleep(SLOW)
        yield sound(asked)
        return
    yield head("200 OK", EVENTS)
    await sleep(SLOW)
    yield _chunks([_role(asked), *_words(asked), *_ending(asked)]) + chunk("")


async def _thinks(asked: Asked, sleep: Sleep) -> Reply:
    if not asked.streamed:
        await sleep(THINKING)
        yield sound(asked)
        return
    yield head("200 OK", EVENTS) + chunk(_role(asked))
    for _ in range(round(THINKING / THOUGHT)):
        yield chunk(event({"reasoning_content": "Hm. "}, model=asked.model))
        await sleep(THOUGHT)
    yield _chunks([*_words(asked), *_ending(asked)]) + chunk("")


async def _silent_stream(asked: Asked, sleep: Sleep) -> Reply:
    yield head("200 OK", EVENTS) + chunk(_role(asked))
    await sleep(3600)


async def _keepalives(asked: Asked, sleep: Sleep) -> Reply:
    yield head("200 OK", EVENTS)
    while True:
        yield chunk(": keepalive\n\n")
        await sleep(KEEPALIVE)


async def _dribble(asked: Asked, sleep: Sleep) -> Reply:
    body = completion(text_of(asked.role), asked.model)
    yield head("200 OK", JSON, length=len(body))
    for letter in body:
        yield letter.encode()
        await sleep(PAUSE)


def _some_words(asked: Asked) -> bytes:
    return head("200 OK", EVENTS) + _chunks([_role(asked), *_words(asked)[:BEFORE_FAULT]])


async def _stream_ends(asked: Asked, sleep: Sleep) -> Reply:
    yield _some_words(asked)
    yield chunk("")


def _stream_cut(silence: float) -> Make:
    async def reply(asked: Asked, sleep: Sleep) -> Reply:
        yield _some_words(asked)
        await sleep(silence)
        raise Cut

    return reply


async def _error_first(asked: Asked, sleep: Sleep) -> Reply:
    yield head("200 OK", EVENTS) + chunk(f"data: {error(503)}\n\n") + chunk("")


async def _error_later(asked: Asked, sleep: Sleep) -> Reply:
    yield _some_words(asked)
    await sleep(KEEPALIVE)
    yield chunk(f"data: {error(500)}\n\n") + chunk("")


async def _foreign_error(asked: Asked, sleep: Sleep) -> Reply:
    yield _some_words(asked)
    await sleep(KEEPALIVE)
    yield _chunks([f"data: {FOREIGN}\n\n", "data: [DONE]\n\n"]) + chunk("")


async def _malformed_chunk(asked: Asked, sleep: Sleep) -> Reply:
    yield _some_words(asked) + chunk(f"data: {MALFORMED}\n\n")
    yield _chunks([*_words(asked)[BEFORE_FAULT:], *_ending(asked)]) + chunk("")


async def _no_done(asked: Asked, sleep: Sleep) -> Reply:
    yield head("200 OK", EVENTS) + _chunks([_role(asked), *_words(asked), *_ending(asked, done=False)]) + chunk("")


def _answer_cut(silence: float) -> Make:
    async def reply(asked: Asked, sleep: Sleep) -> Reply:
        body = completion(text_of(asked.role), asked.model)
        yield head("200 OK", JSON, length=len(body)) + body[: len(body) // 2].encode()
        await sleep(silence)
        raise Cut

    return reply


async def _refuse_prefill(asked: Asked, sleep: Sleep) -> Reply:
    yield plain("400 Bad Request", error(400, "no_prefill")) if asked.begun else sound(asked)


MALFORMED = '{"id": "chatcmpl-1", "object": "chat.completion", "choices": ['
# As DashScope has it: no field named error.
FOREIGN = '{"code": "InternalError.Algo", "message": "An internal error has occured.", "request_id": "1"}'
_CUT = _answer_cut(KEEPALIVE), _stream_cut(KEEPALIVE)  # the pause lets what came before be read first
FAULTS: dict[str, Make] = {
    "401": _status(401, "Unauthorized"),
    "429": _status(429, "Too Many Requests"),
    "429 retry-after 2": _status(429, "Too Many Requests", "Retry-After: 2"),
    "429 retry-after 30": _status(429, "Too Many Requests", "Retry-After: 30"),
    "500": _status(500, "Internal Server Error"),
    "503": _status(503, "Service Unavailable"),
    "400": _status(400, "Bad Request"),
    "400 own": _status(400, "Bad Request", code="no_tool_parser"),
    "foreign error": _either(_body(FOREIGN), _foreign_error),
    "context too long": _status(400, "Bad Request", code="context_length_exceeded"),
    "content filter": _status(400, "Bad Request", code="content_policy_violation"),
    "no prefill": _refuse_prefill,
    "reset": _reset,
    "hang": _hang,
    "slow": _slow,
    "thinks": _thinks,
    "silent stream": _silent_stream,
    "keepalives": _keepalives,
    "dribble": _dribble,
    "empty": _body(completion("")),
    "malformed": _body(MALFORMED),
    "html": _body("<!doctype html><html><body><h1>It works!</h1></body></html>", "text/html"),
    "answer cut": _CUT[0],
    "stream ends": _stream_ends,
    "stream cut": _CUT[1],
    "cut": _either(*_CUT),
    "stall": _either(_answer_cut(STALLED), _stream_cut(STALLED)),
    "malformed chunk": _either(_body(MALFORMED), _malformed_chunk),
    "no done": _either(_sound, _no_done),
    "error first": _error_first,
    "error later": _error_later,
}
