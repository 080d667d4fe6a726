"""The vendor's side of the benchmark: OpenAI's chat completions with canned replies, in a process of its own.

It prints its URL, and ends when its input does. A path is /WHO/MANNER/v1/chat/completions: WHO, "primary" or "backup",
answers with a text of its own. MANNER says how: "well" sends a whole answer, or a stream of PIECES pieces in one go;
"paced-5" the same stream, a piece every 5 milliseconds; "limited" a 429. GET /counts tells how many requests came to
each path and sets the counts to 0. A reply is one write of bytes that were made before, so that this process is not
what is measured.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from contextlib import suppress
from typing import Any

PIECES = 200
PATH = "/v1/chat/completions"
_WORDS = "The sky is blue because air scatters short waves of light more than long ones. "

# What OpenAI's own API sends with an answer; the values are made up.
_HEADERS = """\
Date: Tue, 01 Dec 2026 02:00:00 GMT
Connection: keep-alive
access-control-expose-headers: X-Request-ID
openai-organization: organization
openai-processing-ms: 412
openai-project: proj_JmUnqTd5x1PZbGcLr0V4
openai-version: 2020-10-01
x-ratelimit-limit-requests: 10000
x-ratelimit-limit-tokens: 2000000
x-ratelimit-remaining-requests: 9999
x-ratelimit-remaining-tokens: 1999989
x-ratelimit-reset-requests: 6ms
x-ratelimit-reset-tokens: 0s
x-request-id: req_6d1b0c2f4e8a4b7e9f5d3a1c0b2e4f68
strict-transport-security: max-age=31536000; includeSubDomains; preload
cf-cache-status: DYNAMIC
X-Content-Type-Options: nosniff
Server: cloudflare
CF-RAY: 9a0c1d2e3f405162-FRA
alt-svc: h3=":443"; ma=86400"""
_IDENTITY: dict[str, Any] = {
    "id": "chatcmpl-DdLkSiZDsS0RcBvDbTtD5bV5Lx9Cq",
    "created": 1796090400,
    "model": "gpt-4.1-2025-04-14",
    "service_tier": "default",
    "system_fingerprint": "fp_3502f4eb73",
}
_USAGE = {
    "prompt_tokens": 15,
    "completion_tokens": 80,
    "total_tokens": 95,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}
_LIMITED = {
    "error": {
        "message": "Rate limit reached for gpt-4.1 in organization org-x on requests per min (RPM): Limit 500.",
        "type": "requests",
        "param": None,
        "code": "rate_limit_exceeded",
    }
}


def whole_text(who: str) -> str:
    """Return the text of a whole answer."""
    return f"This is the {who}. {_WORDS * 4}"


def piece_texts(who: str) -> list[str]:
    """Return the texts of the pieces of a stream."""
    return [f"{who} ", *(f"word {number} " for number in range(PIECES - 1))]


def _chunk(text: str) -> bytes:
    data = text.encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


def _head(status: str, kind: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", "Transfer-Encoding: chunked", *_HEADERS.splitlines()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _whole(who: str) -> bytes:
    message = {"role": "assistant", "content": whole_text(who), "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    document = {**_IDENTITY, "object": "chat.completion", "choices": [choice], "usage": _USAGE}
    return _head("200 OK", "application/json") + _chunk(json.dumps(document)) + _chunk("")


def _pieces(who: str, *, usage: bool) -> list[bytes]:
    """Return a stream's parts: the head goes with the first, the end with the last."""

    def event(delta: dict[str, Any] | None, finish: str | None = None, used: object = None) -> str:
        choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}] if delta is not None else []
        told = {"usage": used} if usage else {}
        document = {**_IDENTITY, "object": "chat.completion.chunk", "choices": choices, **told, "obfuscation": "a1b2c3"}
        return f"data: {json.dumps(document)}\n\n"

    role = _head("200 OK", "text/event-stream; charset=utf-8")
    role += _chunk(event({"role": "assistant", "content": "", "refusal": None}))
    parts = [role, *(_chunk(event({"content": text})) for text in piece_texts(who))]
    last = [event({}, "stop"), *([event(None, used=_USAGE)] if usage else []), "data: [DONE]\n\n", ""]
    return [*parts, b"".join(map(_chunk, last))]


REPLIES = {who: _whole(who) for who in ("primary", "backup")}
STREAMS = {(who, usage): _pieces(who, usage=usage) for who in ("primary", "backup") for usage in (False, True)}
JOINED = {key: b"".join(parts) for key, parts in STREAMS.items()}
LIMITED = _head("429 Too Many Requests", "application/json") + _chunk(json.dumps(_LIMITED)) + _chunk("")

counts: Counter[str] = Counter()


class Pace:
    """Writes the parts of all streams that have the same pace: one timer for all of them."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.streams: dict[asyncio.Transport, tuple[list[bytes], int]] = {}
        self.timer: asyncio.TimerHandle | None = None

    def begin(self, transport: asyncio.Transport, parts: list[bytes]) -> None:
        """Write the first part now, and one with each tick from now on."""
        transport.write(parts[0])
        self.streams[transport] = (parts, 1)
        if self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(self.seconds, self.tick)

    def tick(self) -> None:
        """Write the next part of each stream."""
        for transport, (parts, place) in list(self.streams.items()):
            transport.write(parts[place])
            if place + 1 < len(parts) and not transport.is_closing():
                self.streams[transport] = (parts, place + 1)
            else:
                del self.streams[transport]
        loop = asyncio.get_running_loop()
        self.timer = loop.call_later(self.seconds, self.tick) if self.streams else None


PACES: dict[str, Pace] = {}


class Connection(asyncio.Protocol):
    """One connection: requests with a Content-Length, one after the other."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = bytearray()
        self.head, self.wanted = "", -1  # of the request that is being read: its head, and how long it will be

    def data_received(self, data: bytes) -> None:
        """Take bytes, and reply where they make a request whole."""
        self.received += data
        if self.wanted < 0:
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                return
            self.head = self.received[:end].decode("latin-1")
            lines = self.head.lower().split("\r\n")
            length = next((line[15:] for line in lines if line.startswith("content-length:")), "0")
            self.wanted = end + 4 + int(length)
        if len(self.received) >= self.wanted:
            body = bytes(self.received)
            self.received, self.wanted = bytearray(), -1
            self.reply(self.head.split(" ", 2)[1], body)

    def reply(self, path: str, body: bytes) -> None:
        """Reply to a request."""
        if path == "/counts":
            told = _head("200 OK", "application/json") + _chunk(json.dumps(counts)) + _chunk("")
            counts.clear()
            self.transport.write(told)
            return
        counts[path] += 1
        _, who, manner, *_ = path.split("/", 3)
        if manner == "limited":
            self.transport.write(LIMITED)
        elif b'"stream":true' not in body and b'"stream": true' not in body:
            self.transport.write(REPLIES[who])
        elif manner.startswith("paced-"):
            pace = PACES.setdefault(manner, Pace(float(manner[6:]) / 1000))
            pace.begin(self.transport, STREAMS[who, b'"include_usage"' in body])
        else:
            self.transport.write(JOINED[who, b'"include_usage"' in body])


async def serve() -> None:
    """Run until the input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=1000)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    os._exit(0)  # whoever is still connected does not matter


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):  # the benchmark says it
        asyncio.run(serve())
