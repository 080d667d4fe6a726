"""What the tests share: a provider in front of the sandbox, and factories; the ways to ask are in the file above."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from understudy import Finish, LLMFactory, LLMResponse, Request, Settings
from understudy_claude import ClaudeProvider

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox

Ask = Callable[[ClaudeProvider, Request], LLMResponse]
Call = Callable[..., LLMResponse]


class Server:
    """Answers each request by a function of its JSON: with a body, or a status and a body; bytes are a stream."""

    def __init__(self) -> None:
        self.answer: Callable[[Any], Any] = lambda asked: (500, {})
        self.received: list[Any] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.received.append({**asked, "version": self.headers["anthropic-version"]})
                answer = outer.answer(asked)
                status, body = answer if isinstance(answer, tuple) else (200, answer)
                kind = "text/event-stream" if isinstance(body, bytes) else "application/json"
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self.environment = {
            "ANTHROPIC_API_KEY": "not-a-real-key",
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{self._http.server_port}",
            "CLAUDE_MODEL": "our-own-model",
        }

    def close(self) -> None:
        """Stop listening."""
        self._http.shutdown()
        self._http.server_close()

    @staticmethod
    def message(*content: Any, **fields: Any) -> dict[str, Any]:
        """Return a whole answer as the Messages API has it."""
        usage = {"input_tokens": 3, "output_tokens": 2}
        begun = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [*content]}
        return {**begun, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage, **fields}

    @staticmethod
    def streamed(*events: Any, named: bool = True) -> bytes:
        """Return events as the bytes of a stream; a text goes as it is."""
        written = (
            event
            if isinstance(event, str)
            else f"event: {event.get('type', '')}\n" * named + f"data: {json.dumps(event)}\n\n"
            for event in events
        )
        return "".join(written).encode()

    @staticmethod
    def events_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the events that tell an answer in a stream, each block at once."""
        start = {**answer, "content": [], "stop_reason": None}
        events: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
        for index, block in enumerate(answer["content"]):
            events.append({"type": "content_block_start", "index": index, "content_block": block})
            events.append({"type": "content_block_stop", "index": index})
        delta = {"stop_reason": answer["stop_reason"], "stop_sequence": None}
        return [*events, {"type": "message_delta", "delta": delta, "usage": answer["usage"]}, {"type": "message_stop"}]


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of the test's own."""
    made = Server()
    yield made
    made.close()


@pytest.fixture
def own(server: Server, lane: str) -> Iterator[ClaudeProvider]:
    """A provider in front of it, on each lane."""
    made = ClaudeProvider(Settings(environment={**server.environment, "CLAUDE_TRANSPORT": lane}))
    yield made
    made.close()


@pytest.fixture
def provider(sandbox: Sandbox, lane: str) -> Iterator[ClaudeProvider]:
    """A provider in front of the sandbox, on each lane."""
    made = ClaudeProvider(Settings(environment={**sandbox.environment(), "CLAUDE_TRANSPORT": lane}))
    yield made
    made.close()


@pytest.fixture
def factory(sandbox: Sandbox) -> Iterator[LLMFactory]:
    """A factory that knows Claude alone, in front of the sandbox."""
    with LLMFactory("claude", [], settings=sandbox.environment(), extensions=[]) as made:
        yield made


def _plain(factory: LLMFactory, prompt: Any, **arguments: Any) -> LLMResponse:
    return factory.generate_content(prompt, **arguments)


def _streamed(factory: LLMFactory, prompt: Any, **arguments: Any) -> LLMResponse:
    *_, last = factory.stream_content(prompt, **arguments)
    assert isinstance(last, Finish)
    return last.response


@pytest.fixture(params=[_plain, _streamed], ids=["plain", "streamed"])
def call(request: pytest.FixtureRequest) -> Call:
    """A call of a factory, plain or as a stream, as a function that returns the whole answer."""
    made: Call = request.param
    return made
