"""The clocks of a stream, in all four ways to ask, on each lane and in both presets: heartbeats alone are no progress.

The vendors are servers of the tests' own that send nothing but their vendor's own heartbeats, each of them ten seconds
after the one before by the clock of the factory, which they move; or that say nothing at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from understudy import Finish, LLMFactory, LLMResponse, Policy
from understudy.errors import StreamInterrupted, Timeout
from understudy.testing import VirtualClock

MOST_BEATS = 2000  # after which a server gives up: its client would listen for ever
SECONDS = 10.0  # from beat to beat


def _event(data: Any, name: str = "") -> bytes:
    return (f"event: {name}\n" if name else "").encode() + f"data: {json.dumps(data)}\n\n".encode()


def _chunk(**delta: str) -> dict[str, Any]:
    return {"id": "c1", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def _part(*parts: dict[str, str]) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": [*parts]}}]}


def _response(kind: str, **more: Any) -> bytes:
    return _event({"type": kind, "sequence_number": 0, **more}, kind)


def _line(content: str) -> bytes:
    return (
        json.dumps({"model": "m", "message": {"role": "assistant", "content": content}, "done": False}).encode() + b"\n"
    )


def _delta(text: str) -> bytes:
    return _event(
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": text}}}}, "content-delta"
    )


STARTED = _event(
    {"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "content": []}},
    "message_start",
)
OPENED = _event(
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}, "content_block_start"
)
SAID = _event(
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}, "content_block_delta"
)
PING = _event({"type": "ping"}, "ping")
RESPONSE = {"id": "r1", "object": "response", "status": "in_progress", "model": "gpt-4.1", "output": []}

# A vendor, with its settings: how its stream begins, its heartbeats, and a piece of an answer.
VENDORS: dict[str, tuple[str, str, dict[str, Any], bytes, list[bytes], bytes]] = {
    "claude": ("claude", "ANTHROPIC_BASE_URL", {}, STARTED + OPENED, [PING, b"event: ping\n\n", b": x\n\n"], SAID),
    "openai-chat": (
        *("openai", "OPENAI_BASE_URL", {"api": "chat"}, b""),
        [b": OPENROUTER PROCESSING\n\n", _event(_chunk(content="")), b"data: \n\n", b"event: keepalive\ndata: {}\n\n"],
        _event(_chunk(content="Hi")),
    ),
    "openai-responses": (
        *("openai", "OPENAI_BASE_URL", {"api": "responses"}, _response("response.created", response=RESPONSE)),
        [_response("response.in_progress", response=RESPONSE), _response("keepalive"), b": keepalive\n\n"],
        _response("response.output_text.delta", item_id="i", output_index=0, content_index=0, delta="Hi"),
    ),
    "gemini": (
        *("gemini", "GEMINI_BASE_URL", {}, b""),
        [b": keepalive\n\n", _event(_part()), _event(_part({"text": ""})), b"data: \n\n"],
        _event(_part({"text": "Hi"})),
    ),
    "cohere": (
        *("cohere", "COHERE_BASE_URL", {}, _event({"type": "message-start", "id": "m"}, "message-start")),
        [_delta(""), b": x\n\n"],
        _delta("Hi"),
    ),
    "ollama": ("ollama", "OLLAMA_BASE_URL", {}, b"", [_line(""), b"\n"], _line("Hi")),
    "gemini-legacy": (
        *("gemini-legacy", "GEMINI_LEGACY_BASE_URL", {}, b"["),
        [json.dumps(_part({"text": ""})).encode() + b",\r\n", b"\r\n"],
        json.dumps(_part({"text": "Hi"})).encode() + b",\r\n",
    ),
}
LANES = [
    (vendor, lane) for vendor in VENDORS for lane in ("sdk", "http") if (vendor, lane) != ("gemini-legacy", "http")
]
KEYS = {
    "ANTHROPIC_API_KEY": "sk-ant-x",
    "OPENAI_API_KEY": "sk-x",
    "GOOGLE_API_KEY": "AIza" + "x" * 35,
    "COHERE_API_KEY": "not-a-real-key-of-coheres-0123456789abcd",
    # models that think little, so that the times are those of a chat
    "CLAUDE_MODEL": "claude-haiku-4-5",
    "OPENAI_MODEL": "gpt-4.1",
    "GEMINI_MODEL": "gemini-2.5-flash-lite",
    "COHERE_MODEL": "command-a-03-2025",
}
KINDS = {"openai": "text/event-stream", "ollama": "application/x-ndjson", "gemini-legacy": "application/json"}


def _read_request(connection: socket.socket) -> None:
    with connection.makefile("rb") as reading:
        head = http.client.parse_headers(reading) if reading.readline() else {}
        reading.read(int(head.get("content-length") or 0))


@contextlib.contextmanager
def _server(play: Callable[[socket.socket], None]) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            _read_request(connection)
            play(connection)

    def accept() -> None:
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def _head(name: str) -> bytes:
    kind = KINDS.get(name, "text/event-stream")
    return f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n".encode()


def _ask(factory: LLMFactory, way: str, options: dict[str, Any]) -> LLMResponse:
    asked: dict[str, Any] = {"temperature": None, "options": options, "max_retries": 0}

    async def on_loop() -> LLMResponse:
        async with factory:
            if way == "async":
                return await factory.agenerate_content("Hello", **asked)
            return _last([event async for event in factory.astream_content("Hello", **asked)])

    if way.startswith("async"):
        return asyncio.run(on_loop())
    with factory:
        if way == "sync":
            return factory.generate_content("Hello", **asked)
        return _last([*factory.stream_content("Hello", **asked)])


def _last(events: list[Any]) -> LLMResponse:
    assert isinstance(events[-1], Finish)
    return events[-1].response


def _factory(vendor: str, lane: str, url: str, policy: Policy, **more: Any) -> tuple[LLMFactory, dict[str, Any]]:
    name, variable, options, *_ = VENDORS[vendor]
    url += "/v1" if name == "openai" else ""
    settings = {**KEYS, variable: url, f"{name.upper()}_TRANSPORT": lane}
    return LLMFactory(name, ["echo"], policy=policy, settings=settings, extensions=[], **more), {name: options}


@pytest.mark.parametrize(("vendor", "lane"), LANES)
@pytest.mark.parametrize("way", ["sync", "sync stream", "async", "async stream"])
@pytest.mark.parametrize("preset", ["patient", "eager"])
def test_heartbeats_alone_do_not_keep_a_stream(vendor: str, lane: str, way: str, preset: str) -> None:
    name, _, _, beginning, beats, _ = VENDORS[vendor]
    clock, over = VirtualClock(), threading.Event()

    def play(connection: socket.socket) -> None:
        connection.sendall(_head(name) + beginning)
        for number in range(MOST_BEATS):
            clock.advance(SECONDS)
            connection.sendall(beats[number % len(beats)])
            if over.wait(0.002):
                return

    policy = Policy(whole_answers="stream") if preset == "patient" else Policy.eager(whole_answers="stream")
    with _server(play) as url:
        factory, options = _factory(vendor, lane, url, policy, runtime=clock.runtime())
        response = _ask(factory, way, options)
        over.set()
    failure = response.attempts[0].failure
    assert isinstance(failure, Timeout), failure
    assert "no answer within" in failure.message
    assert response.provider_name == "echo"


@pytest.mark.parametrize(("vendor", "lane"), LANES)
@pytest.mark.parametrize("way", ["sync stream", "async stream"])
@pytest.mark.parametrize("said", [False, True], ids=["nothing", "a piece"])
def test_a_silent_line_is_given_up_by_the_clock_that_is_over(vendor: str, lane: str, way: str, said: bool) -> None:
    name, _, _, beginning, _, piece = VENDORS[vendor]
    left = threading.Event()

    def play(connection: socket.socket) -> None:
        connection.settimeout(60)
        connection.sendall(_head(name) + (beginning + piece if said else b""))
        if not connection.recv(1):  # until the client goes
            left.set()

    times = (
        {"first_token_timeout": 60.0, "idle_timeout": 0.2}
        if said
        else {"first_token_timeout": 0.2, "idle_timeout": 60.0}
    )
    with _server(play) as url:
        factory, options = _factory(vendor, lane, url, Policy.patient(**times, stream_recovery="raise"))
        if said:
            with pytest.raises(StreamInterrupted, match=r"no further piece within 0\.2 s"):
                _ask(factory, way, options)
        else:
            failure = _ask(factory, way, options).attempts[0].failure
            assert isinstance(failure, Timeout)
            assert failure.message == "no answer within 0.2 s"
        if name != "gemini-legacy":  # its blocking call is left to itself, in its thread
            assert left.wait(30)
