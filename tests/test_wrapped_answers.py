"""Good answers in another wrapping than was asked for, and errors whose body cannot be read, with every plugin."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from test_odd_replies import VENDORS, claude, cohere, gemini, ollama, openai

from understudy import Finish, LLMFactory, LLMResponse
from understudy.errors import AuthenticationFailed, ModelNotFound, Overloaded, RateLimited
from understudy.response import TextDelta
from understudy_toolkit import calls
from understudy_toolkit.conformance import FaultServer, Reply

LANES = [(name, lane) for name in VENDORS for lane in ("sdk", "http") if (name, lane) != ("gemini-legacy", "http")]


def _of_claude() -> Reply:
    whole = claude(3)
    return Reply.events(
        {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "fine"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}},
        {"type": "message_stop"},
    )


def _of_cohere() -> Reply:
    end = {"finish_reason": "COMPLETE", "usage": cohere(3)["usage"]}
    return Reply.events(
        {"type": "message-start", "id": "x", "delta": {"message": {"role": "assistant"}}},
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "fine"}}}},
        {"type": "message-end", "delta": end},
    )


def _of_openai() -> Reply:
    told = {"id": "x", "object": "chat.completion.chunk", "model": "m"}
    said = {"index": 0, "delta": {"role": "assistant", "content": "fine"}, "finish_reason": None}
    ended = {"index": 0, "delta": {}, "finish_reason": "stop"}
    usage = openai(3)["usage"]
    return Reply.events(
        {**told, "choices": [said]}, {**told, "choices": [ended]}, {**told, "choices": [], "usage": usage}, "[DONE]"
    )


def _of_ollama() -> Reply:
    begun = {"model": "m", "done": False, "message": {"role": "assistant", "content": "fine"}}
    return Reply.lines(begun, ollama(3, ""))


STREAMS: dict[str, Callable[[], Reply]] = {
    "claude": _of_claude,
    "cohere": _of_cohere,
    "gemini": lambda: Reply.events(gemini(3)),
    "gemini-legacy": lambda: Reply.events(gemini(3)),
    "ollama": _of_ollama,
    "openai": _of_openai,
}


async def _aplain(factory: LLMFactory) -> LLMResponse:
    return await factory.agenerate_content("Hello", max_retries=0)


async def _astreamed(factory: LLMFactory) -> list[Any]:
    return [event async for event in factory.astream_content("Hello", max_retries=0)]


def ask(factory: LLMFactory, *, stream: bool, on_loop: bool) -> tuple[LLMResponse, str]:
    """Return the whole answer, and the text that came piece by piece; without a stream the answer's own."""
    if not stream:
        response = asyncio.run(_aplain(factory)) if on_loop else factory.generate_content("Hello", max_retries=0)
        return response, response.content
    events = asyncio.run(_astreamed(factory)) if on_loop else [*factory.stream_content("Hello", max_retries=0)]
    assert isinstance(events[-1], Finish)
    return events[-1].response, "".join(event.text for event in events if isinstance(event, TextDelta))


def factory_of(name: str, lane: str, url: str) -> LLMFactory:
    told = {variable: value.format(url) for variable, value in VENDORS[name][1].items()}
    told[f"{name.upper()}_TRANSPORT"] = lane
    return LLMFactory(name, [], settings=told, extensions=[])


# The content type, the status, and whether the answer is wrapped otherwise than it was asked for. NestJS answers each
# POST with 201 (https://github.com/RainManGO/axios-mapper/pull/1); a server that only streams:
# https://github.com/Alishahryar1/free-claude-code/pull/486. Read 2026-12-01.
WRAPPINGS = (
    ("application/json", 200, True),
    ("text/event-stream", 200, True),
    ("text/plain", 200, True),
    ("application/octet-stream", 200, False),
    ("text/plain", 201, False),
    ("application/json", 202, True),
)


@pytest.mark.parametrize("on_loop", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(("name", "lane"), LANES)
def test_a_whole_answer_counts_however_it_is_wrapped(name: str, lane: str, on_loop: bool) -> None:
    whole, streamed = json.dumps(VENDORS[name][0](3)).encode(), STREAMS[name]().content
    reply = Reply()
    with FaultServer(lambda request: reply) as server, factory_of(name, lane, server.url) as factory:
        for kind, status, swapped in WRAPPINGS:
            for stream in (False, True):
                body = streamed if stream is not swapped else whole
                reply = Reply(b"\xef\xbb\xbf" + body, status, content_type=kind)
                response, pieces = ask(factory, stream=stream, on_loop=on_loop)
                assert (response.content, pieces) == ("fine", "fine"), (kind, status, stream, response.failure)
                assert response.usage is not None, (kind, status, stream)
                assert (response.usage.input_tokens, response.usage.output_tokens) == (3, 4), (kind, status, stream)
    assert len(server.requests) == 2 * len(WRAPPINGS)


@pytest.mark.parametrize("on_loop", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(("name", "lane"), LANES)
def test_blank_lines_may_come_before_an_answer(name: str, lane: str, on_loop: bool) -> None:
    whole, streamed = json.dumps(VENDORS[name][0](3)).encode(), STREAMS[name]().content
    pieces: tuple[bytes, ...] = ()
    with (
        FaultServer(lambda request: Reply(pieces=pieces, content_type="text/event-stream")) as server,
        factory_of(name, lane, server.url) as factory,
    ):
        for body in (whole, streamed):
            pieces = (b"\n", b"\n\n", body)
            for stream in (False, True):
                response, text = ask(factory, stream=stream, on_loop=on_loop)
                assert (response.content, text) == ("fine", "fine"), (body, stream, response.failure)


# Errors that say enough by their status, in encodings that nobody asked for or that are broken: what stands between
# compresses as it likes.
UNREADABLE = (
    (429, {"content-encoding": "br", "retry-after": "7"}, RateLimited),
    (429, {"content-encoding": "gzip", "retry-after": "7"}, RateLimited),
    (401, {"content-encoding": "zstd"}, AuthenticationFailed),
    (529, {"content-encoding": "br, gzip"}, Overloaded),
)


@pytest.mark.parametrize("on_loop", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(("name", "lane"), LANES)
def test_an_error_in_an_encoding_that_cannot_be_undone_is_told_by_its_status(
    name: str, lane: str, on_loop: bool
) -> None:
    reply = Reply()
    with FaultServer(lambda request: reply) as server, factory_of(name, lane, server.url) as factory:
        for status, headers, kind in UNREADABLE:
            reply = Reply(b"\x1f\x8b no such thing", status, headers=headers)
            response, _ = ask(factory, stream=False, on_loop=on_loop)
            failure = response.failure.failures[0]  # type: ignore[union-attr]  # there is one
            assert (type(failure), failure.status) == (kind, status), failure
            assert failure.retry_after == (7.0 if "retry-after" in headers else None)


@pytest.mark.parametrize(("name", "lane"), LANES)
def test_an_error_in_json_where_a_stream_was_asked_for_is_the_same_failure(name: str, lane: str) -> None:
    reply = Reply()
    with FaultServer(lambda request: reply) as server, factory_of(name, lane, server.url) as factory:
        for kind in ("application/json", "text/event-stream", "text/html"):
            reply = Reply(json.dumps({"error": {"code": 404, "message": "no such model"}}), 404, content_type=kind)
            response, _ = ask(factory, stream=True, on_loop=False)
            failure = response.failure.failures[0]  # type: ignore[union-attr]  # there is one
            assert type(failure) is ModelNotFound, kind
            assert failure.message.startswith("no such model")


class Lingering:
    """Answers with a stream, and sends comments after its end for as long as somebody listens."""

    def __init__(self, body: bytes, comment: bytes) -> None:
        self.left, self.gone_on = threading.Event(), threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                try:
                    self._send(body)
                    while not outer.left.wait(0.02):
                        self._send(comment)
                        outer.gone_on.set()
                except OSError:
                    outer.left.set()

            def _send(self, data: bytes) -> None:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def close(self) -> None:
        """Stop listening."""
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def lingering() -> Iterator[Callable[[bytes, bytes], Lingering]]:
    """Makes servers that do not close their connections."""
    made: list[Lingering] = []

    def make(body: bytes, comment: bytes) -> Lingering:
        made.append(Lingering(body, comment))
        return made[-1]

    yield make
    for server in made:
        server.left.set()
        server.close()


@pytest.mark.parametrize("on_loop", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(("name", "lane"), LANES)
def test_an_answer_that_has_ended_does_not_wait_for_the_end_of_its_connection(
    name: str, lane: str, on_loop: bool, lingering: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gateways keep it open, with heartbeats: https://github.com/earendil-works/pi/issues/5592, read 2026-12-01."""
    monkeypatch.setattr(calls, "LINGER", 0.0)
    server = lingering(STREAMS[name]().content, b"\n" if name == "ollama" else b": ping\n\n")
    with factory_of(name, lane, server.url) as factory:
        response, pieces = ask(factory, stream=True, on_loop=on_loop)
        assert (response.content, pieces, len(response.attempts)) == ("fine", "fine", 1)
        assert server.left.wait(30), "the connection is still open"  # it was the client that left
