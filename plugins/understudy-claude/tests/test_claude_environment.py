"""Settings come from Understudy alone: what the SDK would read by itself does not change where a key goes."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from understudy import ConfigurationError, Failure, Message, Request, Settings
from understudy.errors import ProviderUnavailable
from understudy_claude import ClaudeProvider, understudy_provider
from understudy_claude.models import DEFAULT_MODEL
from understudy_sandbox import faults

if TYPE_CHECKING:
    from conftest import Ask

    from understudy_sandbox import Sandbox

KEY = "not-a-real-key-1234"
REQUEST = Request(messages=(Message.user("Hello"),), timeout=5)


class Listener:
    """Takes connections on 127.0.0.1, keeps what is said, and answers 503."""

    def __init__(self) -> None:
        self.heard = b""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(2)
                self.heard += connection.recv(65536)
                connection.sendall(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


@pytest.fixture
def listener() -> Iterator[Listener]:
    listening = Listener()
    yield listening
    listening.close()


def _provider(url: str, lane: str = "sdk", **environment: str) -> ClaudeProvider:
    asked = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": url, "CLAUDE_TRANSPORT": lane}
    return ClaudeProvider(Settings(environment={**asked, **environment}))


def test_a_missing_key_is_an_unavailable_provider(ask: Ask) -> None:
    for environment in ({}, {"ANTHROPIC_API_KEY": " "}):
        provider = understudy_provider(Settings(environment=environment))
        assert not provider.is_available()
        assert "ANTHROPIC_API_KEY is " in (provider.unavailable_reason() or "")
        with pytest.raises(ProviderUnavailable, match="ANTHROPIC_API_KEY is "):
            ask(provider, REQUEST)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ANTHROPIC_API_KEY", "not a key"),
        ("ANTHROPIC_API_KEY", "not-a-real-key\nX: y"),
        ("ANTHROPIC_BASE_URL", ""),
        ("ANTHROPIC_BASE_URL", "api.anthropic.com"),
        ("ANTHROPIC_BASE_URL", "ftp://x"),
        ("CLAUDE_TRANSPORT", "grpc"),
    ],
)
def test_a_malformed_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        understudy_provider(Settings(environment={"ANTHROPIC_API_KEY": KEY, name: value}))


def test_the_model_comes_from_the_request_then_the_setting_then_the_default(sandbox: Sandbox) -> None:
    provider = _provider(sandbox.claude.url, CLAUDE_MODEL="claude-haiku-4-5")
    provider.generate(REQUEST)
    provider.generate(Request(messages=REQUEST.messages, model="claude-opus-5-5"))
    provider.close()
    assert [request.json["model"] for request in sandbox.claude.requests] == ["claude-haiku-4-5", "claude-opus-5-5"]
    assert _provider(sandbox.claude.url).default_model == DEFAULT_MODEL


def test_nothing_in_the_environment_changes_the_key_or_the_host(
    ask: Ask, lane: str, sandbox: Sandbox, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    stolen = "Authorization: Bearer stolen\nauthorization: Bearer stolen\nX-Api-Key: stolen\nx-api-key: stolen"
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", stolen + "\nX-Team: blue")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "stolen")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "stolen")
    monkeypatch.setenv("ANTHROPIC_PROFILE", "no-such-profile")
    for name in ("ANTHROPIC_BASE_URL", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, listener.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    provider = _provider(sandbox.claude.url, lane)
    assert ask(provider, REQUEST).success
    provider.close()
    [received] = sandbox.claude.requests
    # both ways, since the sandbox's address is not Anthropic's own
    assert (received.headers["authorization"], received.headers["x-api-key"]) == (f"Bearer {KEY}", KEY)
    assert "stolen" not in str(dict(received.headers))
    # headers that are no credentials are the user's own wish, which is the SDK's alone to know
    assert received.headers.get("x-team") == ("blue" if lane == "sdk" else None)
    assert listener.heard == b""


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "[::1]", "a.localhost"])
def test_every_loopback_name_goes_past_the_proxy(
    host: str, lane: str, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, listener.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    provider = _provider(f"http://{host}:9", lane)  # the discard port: nobody listens
    with pytest.raises(Failure):
        provider.generate(REQUEST)
    provider.close()
    assert listener.heard == b""


def test_a_proxy_is_used_for_other_hosts(
    ask: Ask, lane: str, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", listener.url)
    monkeypatch.setenv("http_proxy", listener.url)
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    provider = _provider("http://claude.example", lane)
    with pytest.raises(Failure) as caught:
        ask(provider, REQUEST)
    provider.close()
    assert caught.value.status == 503
    assert listener.heard.startswith(b"POST http://claude.example/v1/messages HTTP/1.1")


def test_a_redirection_is_not_followed(ask: Ask, lane: str, sandbox: Sandbox, listener: Listener) -> None:
    sandbox.claude.always(faults.status(307, "", {"location": listener.url}))
    provider = _provider(sandbox.claude.url, lane)
    with pytest.raises(Failure, match="redirection") as caught:
        ask(provider, REQUEST)
    provider.close()
    assert (caught.value.status, sandbox.claude.request_count, listener.heard) == (307, 1, b"")


def test_the_key_is_in_no_log_and_no_representation(
    ask: Ask, lane: str, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider = _provider(sandbox.claude.url, lane)
    assert ask(provider, REQUEST).success
    provider.close()
    assert f"POST {sandbox.claude.url}/v1/messages" in caplog.text  # the lane did log
    assert KEY not in caplog.text
    assert KEY not in repr(provider) + str(vars(provider)) + str(vars(provider._lane))


def test_a_base_url_with_a_path_keeps_it(lane: str, listener: Listener) -> None:
    provider = _provider(f"{listener.url}/anthropic/", lane)
    with pytest.raises(Failure):
        provider.generate(REQUEST)
    provider.close()
    assert listener.heard.startswith(b"POST /anthropic/v1/messages ")
