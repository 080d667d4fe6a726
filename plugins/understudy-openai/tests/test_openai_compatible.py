"""Servers that speak OpenAI's API in ways of their own, over a socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy import Failure, LLMFactory, Message, Request, Settings, StreamInterrupted
from understudy.errors import (
    ContentBlocked,
    ContextTooLong,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    ServerError,
)
from understudy_openai import OpenAIProvider
from understudy_sandbox import faults

if TYPE_CHECKING:
    from conftest import Ask

    from understudy_sandbox import Sandbox

REQUEST = Request(messages=(Message.user("Hello"),), timeout=5)
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
SAID = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\n'
SAID_ON = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}\n\n'
DONE = b"data: [DONE]\n\n"
Serve = Callable[[bytes], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Answers every request with these bytes, and then closes the connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    reply = b""

    def answer() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(2)
                connection.recv(65536)
                connection.sendall(reply)

    def start(answered: bytes) -> str:
        nonlocal reply
        reply = answered
        thread.start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v1"

    thread = threading.Thread(target=answer, daemon=True)
    yield start
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _ask(url: str, stream: Ask) -> str:
    provider = OpenAIProvider(Settings(environment={"OPENAI_API_KEY": "not-a-real-key", "OPENAI_BASE_URL": url}))
    try:
        return stream(provider, REQUEST).content
    finally:
        provider.close()


@pytest.mark.parametrize(
    "body",
    [
        _chunk(SAID) + _chunk(DONE) + _chunk(b""),
        _chunk(SAID) + _chunk(b""),
        _chunk(SAID) + _chunk(DONE),  # the connection breaks after the end
        _chunk(b": a comment\n\n" + SAID.replace(b"\n", b"\r\n")) + _chunk(DONE) + _chunk(b""),
    ],
)
def test_streams_that_are_complete(body: bytes, stream: Ask, serve: Serve) -> None:
    assert _ask(serve(CHUNKED + body), stream) == "Hi"


ERRORS = [
    (
        b'error: {"code":400,"message":"the request exceeds the available context size"}\n\n',
        ContextTooLong,
    ),  # llama.cpp
    (b'data: {"code":"InternalError","message":"boom","request_id":"r"}\n\n', ServerError),  # DashScope
    (
        b'data: {"error":{"message":"busy","code":503},"choices":[{"finish_reason":"error"}]}\n\n',
        Overloaded,
    ),  # OpenRouter
    (b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"error","error":{"code":429}}]}\n\n', RateLimited),
    (b'data: {"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}\n\n', QuotaExhausted),  # MiniMax
    (b'data: {"object":"error","message":"no","type":"BadRequestError","code":400}\n\n', RequestRefused),  # vLLM
    (b'data: {"error":"Model is overloaded","error_type":"overloaded"}\n\n', Overloaded),  # TGI
    (b'data: {"error":{"code":"1301","message":"no"}}\n\n', ContentBlocked),  # z.AI
    (b'event: error\ndata: {"message":"busy","type":"overloaded_error"}\n\n', Overloaded),  # LM Studio
    (b'{"error":{"code":400,"message":"no","type":"exceed_context_size_error"}}\n\n', ContextTooLong),  # Lemonade
]


@pytest.mark.parametrize(("error", "kind"), ERRORS)
def test_an_error_in_any_shape_ends_a_stream_although_its_end_marker_follows(
    error: bytes, kind: type[Failure], stream: Ask, serve: Serve
) -> None:
    with pytest.raises(Failure) as caught:
        _ask(serve(CHUNKED + _chunk(error) + _chunk(DONE) + _chunk(b"")), stream)
    assert type(caught.value) is kind


@pytest.mark.parametrize("end", [b"", _chunk(DONE)])
def test_a_stream_that_is_not_complete(end: bytes, stream: Ask, serve: Serve) -> None:
    with pytest.raises(StreamInterrupted) as caught:
        _ask(serve(CHUNKED + _chunk(SAID_ON) + end + _chunk(b"")), stream)
    assert caught.value.partial == "Hi"


def test_a_plain_answer_without_a_content_type(serve: Serve) -> None:
    body = b'{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}'
    provider = OpenAIProvider(
        Settings(
            environment={
                "OPENAI_API_KEY": "not-a-real-key",
                "OPENAI_BASE_URL": serve(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)),
            }
        )
    )
    response = provider.generate(REQUEST)
    provider.close()
    assert (response.content, response.usage) == ("Hi", None)


def test_streams_read_to_their_end_keep_the_connection(sandbox: Sandbox, provider: OpenAIProvider, api: str) -> None:
    for _ in range(3):
        list(provider.stream(Request(messages=REQUEST.messages, options={"openai": {"api": api}})))
    assert (sandbox.openai.request_count, sandbox.openai.connection_count) == (3, 1)


def test_several_servers_under_names_of_their_own_in_one_route(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = [
        f'[providers.{name}]\nuses = "openai"\nbase_url = "{sandbox.openai.url}/v1"\n'
        f'api_key_env = "{name.upper()}_API_KEY"\nmodel = "{name}-9"\n'
        for name in ("groq", "deepseek")
    ]
    (tmp_path / "understudy.toml").write_text("\n".join(tables), "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLM_TRUSTED_FOLDERS", str(tmp_path))
    for name in ("GROQ_API_KEY", "DEEPSEEK_API_KEY"):
        monkeypatch.setenv(name, f"key-of-{name.lower()}")
    sandbox.openai.next(faults.rate_limited(), None)
    factory = LLMFactory(primary_provider="groq", fallback_providers=["deepseek"])
    response = factory.generate_content("Hello")
    factory.close()
    assert (response.success, response.provider_name, response.model) == (True, "deepseek", "deepseek-9")
    failed, succeeded = response.attempts
    assert type(failed.failure) is RateLimited
    assert isinstance(failed.failure, Failure)
    assert (failed.provider, failed.failure.provider, succeeded.provider) == ("groq", "groq", "deepseek")
    keys = [request.headers["authorization"] for request in sandbox.openai.requests]
    assert keys == ["Bearer key-of-groq_api_key", "Bearer key-of-deepseek_api_key"]
    assert [request.json["max_tokens"] for request in sandbox.openai.requests] == [1024, 1024]
