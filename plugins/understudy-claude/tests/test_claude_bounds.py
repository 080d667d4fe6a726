"""What a broken or hostile server can send: read within bounds of size and time, on both lanes."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from understudy import Message, Request, Settings, StreamInterrupted
from understudy.errors import MalformedResponse, ServerError
from understudy_claude import ClaudeProvider
from understudy_toolkit.conformance import FaultServer, Reply

if TYPE_CHECKING:
    from conftest import Ask

REQUEST = Request(messages=(Message.user("Hello"),), timeout=20)
ERROR = {"type": "error", "error": {"type": "api_error", "message": "Oops"}}


def provider(url: str, lane: str) -> ClaudeProvider:
    asked = {"ANTHROPIC_API_KEY": "not-a-real-key", "ANTHROPIC_BASE_URL": url, "CLAUDE_TRANSPORT": lane}
    return ClaudeProvider(Settings(environment=asked))


@pytest.mark.parametrize("ask", ["generate", "agenerate"], indirect=True)
def test_an_answer_that_inflates_without_end_is_malformed(ask: Ask, lane: str) -> None:
    reply = Reply(gzip.compress(bytes(100 * 2**20)), headers={"content-encoding": "gzip"})
    with FaultServer(lambda _: reply) as server:
        claude = provider(server.url, lane)
        with pytest.raises(MalformedResponse, match="at most 67,108,864 bytes"):
            ask(claude, REQUEST)
        claude.close()


@pytest.mark.parametrize("ask", ["stream", "astream"], indirect=True)
def test_a_line_that_never_ends_is_malformed(ask: Ask, lane: str) -> None:
    reply = Reply(pieces=tuple([b"data: " + b"x" * 2**20] * 20), content_type="text/event-stream")
    with FaultServer(lambda _: reply) as server:
        claude = provider(server.url, lane)
        with pytest.raises(MalformedResponse, match="at most 16,777,216 bytes"):
            ask(claude, REQUEST)
        claude.close()


def test_an_error_in_gzip_is_read(ask: Ask, lane: str) -> None:
    body = gzip.compress(json.dumps(ERROR).encode())
    reply = Reply(body, 500, "application/json", {"content-encoding": "gzip"})
    with FaultServer(lambda _: reply) as server:
        claude = provider(server.url, lane)
        with pytest.raises(ServerError, match="Oops"):
            ask(claude, REQUEST)
        claude.close()


def test_an_error_that_is_endless_is_known_by_its_status(ask: Ask, lane: str) -> None:
    reply = Reply(b"x" * 2**22, 500, "text/html")
    with FaultServer(lambda _: reply) as server:
        claude = provider(server.url, lane)
        with pytest.raises(ServerError):
            ask(claude, REQUEST)
        claude.close()


def test_a_stream_in_gzip_is_read(lane: str) -> None:
    started = b'event: message_start\ndata: {"type": "message_start", "message": {}}\n\n'
    reply = Reply(
        pieces=(gzip.compress(started),), content_type="text/event-stream", headers={"content-encoding": "gzip"}
    )
    with FaultServer(lambda _: reply) as server:
        claude = provider(server.url, lane)
        with pytest.raises(StreamInterrupted, match="without message_stop"):
            list(claude.stream(REQUEST))
        claude.close()
