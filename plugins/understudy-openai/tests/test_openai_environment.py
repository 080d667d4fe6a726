"""Settings come from Understudy alone: what the SDK would read by itself does not change where a key goes."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy import ConfigurationError, Failure, Message, Request, Settings
from understudy.errors import ProviderUnavailable
from understudy_openai import OpenAIProvider, understudy_provider
from understudy_openai.models import DEFAULT_MODEL
from understudy_sandbox import faults

if TYPE_CHECKING:
    from conftest import Ask

    from understudy_sandbox import Sandbox

KEY = "not-a-real-key-1234"
REQUEST = Request(messages=(Message.user("Hello"),), timeout=5)


class Listener:
    """Takes connections on 127.0.0.1, keeps what is said, and answers 503 or what it is told to."""

    def __init__(self) -> None:
        self.heard = b""
        self.answer = b"HTTP/1.1 503 Busy"
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
                connection.sendall(self.answer + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


@pytest.fixture
def listener() -> Iterator[Listener]:
    listening = Listener()
    yield listening
    listening.close()


def _provider(url: str, **environment: str) -> OpenAIProvider:
    return OpenAIProvider(Settings(environment={"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": url, **environment}))


def _named(folder: Path, url: str, key: str, **environment: str) -> OpenAIProvider:
    """Make a provider as `[providers.groq]` in an understudy.toml describes it."""
    table = f'[providers.groq]\nuses = "openai"\nbase_url = "{url}"\napi_key_env = "{key}"\nmodel = "llama-9"\n'
    (folder / "understudy.toml").write_text(table, "utf-8")
    known = {"OPENAI_API_KEY": KEY, "GROQ_API_KEY": "groq-key", "OPENAI_ORG_ID": "stolen", **environment}
    return OpenAIProvider(Settings(environment=known, directory=folder).for_provider("groq"))


def _steal(monkeypatch: pytest.MonkeyPatch, listener: Listener) -> None:
    """Set everything that the SDK would take from the environment by itself."""
    headers = ("Authorization: Bearer stolen", "authorization: Bearer stolen", "OpenAI-Organization: stolen")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "\n".join([*headers, "X-Team: blue"]))
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "stolen")
    for name in ("OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, listener.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def test_a_missing_key_is_an_unavailable_provider(ask: Ask) -> None:
    for environment in ({}, {"OPENAI_API_KEY": " "}):
        provider = understudy_provider(Settings(environment=environment))
        assert not provider.is_available()
        assert "OPENAI_API_KEY is " in (provider.unavailable_reason() or "")
        with pytest.raises(ProviderUnavailable, match="OPENAI_API_KEY is "):
            ask(provider, REQUEST)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENAI_API_KEY", "not a key"),
        ("OPENAI_API_KEY", "not-a-real-key\nX: y"),
        ("OPENAI_BASE_URL", ""),
        ("OPENAI_BASE_URL", "api.openai.com"),
        ("OPENAI_BASE_URL", "ftp://x"),
    ],
)
def test_a_malformed_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        understudy_provider(Settings(environment={"OPENAI_API_KEY": KEY, name: value}))


def test_the_model_comes_from_the_request_then_the_setting_then_the_default(sandbox: Sandbox) -> None:
    provider = _provider(f"{sandbox.openai.url}/v1", OPENAI_MODEL="gpt-4.1-mini")
    provider.generate(REQUEST)
    provider.generate(Request(messages=REQUEST.messages, model="gpt-5-mini"))
    provider.close()
    assert [request.json["model"] for request in sandbox.openai.requests] == ["gpt-4.1-mini", "gpt-5-mini"]
    assert _provider(sandbox.openai.url).default_model == DEFAULT_MODEL


def test_nothing_in_the_environment_changes_the_key_or_the_host(
    ask: Ask, sandbox: Sandbox, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    _steal(monkeypatch, listener)
    provider = _provider(f"{sandbox.openai.url}/v1")
    assert ask(provider, REQUEST).success
    provider.close()
    [received] = sandbox.openai.requests
    assert received.headers["authorization"] == f"Bearer {KEY}"
    assert "stolen" not in str(dict(received.headers))
    assert received.headers["x-team"] == "blue"  # headers that are no credentials are the user's own wish
    assert listener.heard == b""


def test_organization_and_project_come_from_the_settings(
    ask: Ask, sandbox: Sandbox, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    _steal(monkeypatch, listener)
    provider = _provider(f"{sandbox.openai.url}/v1", OPENAI_ORG_ID="org-blue", OPENAI_PROJECT_ID="proj-blue")
    assert ask(provider, REQUEST).success
    provider.close()
    [received] = sandbox.openai.requests
    assert received.headers["openai-organization"] == "org-blue"
    assert received.headers["openai-project"] == "proj-blue"


@pytest.mark.parametrize("key", ["", "GROQ_API_KEY"])
def test_a_provider_under_another_name_sends_nothing_that_is_openais(
    key: str, ask: Ask, sandbox: Sandbox, listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _steal(monkeypatch, listener)
    provider = _named(tmp_path, listener.url, key)
    assert (provider.get_provider_name(), provider.default_model) == ("groq", "llama-9")
    assert provider.is_available()
    with pytest.raises(Failure) as caught:
        ask(provider, REQUEST)
    provider.close()
    assert (caught.value.provider, caught.value.model) == ("groq", "llama-9")
    sent = listener.heard.decode().lower()
    assert ("authorization: bearer groq-key" in sent) is bool(key)
    assert "stolen" not in sent
    assert "x-team" not in sent
    assert KEY not in sent
    assert "openai-" not in sent.partition("\r\n\r\n")[0]
    assert sandbox.openai.request_count == 0


def test_a_provider_under_another_name_says_which_key_it_wants(tmp_path: Path) -> None:
    provider = _named(tmp_path, "https://api.groq.example/v1", "GROQ_API_KEY", GROQ_API_KEY="")
    assert "GROQ_API_KEY" in (provider.unavailable_reason() or "")
    assert "name='groq'" in repr(provider)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "[::1]", "a.localhost"])
def test_every_loopback_name_goes_past_the_proxy(
    host: str, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, listener.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    provider = _provider(f"http://{host}:9")  # the discard port: nobody listens
    with pytest.raises(Failure):
        provider.generate(REQUEST)
    provider.close()
    assert listener.heard == b""


def test_a_proxy_is_used_for_other_hosts(ask: Ask, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", listener.url)
    monkeypatch.setenv("http_proxy", listener.url)
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    provider = _provider("http://openai.example/v1")
    with pytest.raises(Failure) as caught:
        ask(provider, REQUEST)
    provider.close()
    assert caught.value.status == 503
    assert listener.heard.startswith(b"POST http://openai.example/v1/chat/completions HTTP/1.1")


def test_a_redirection_is_not_followed(ask: Ask, sandbox: Sandbox, listener: Listener) -> None:
    sandbox.openai.always(faults.status(307, "", {"location": listener.url}))
    provider = _provider(f"{sandbox.openai.url}/v1")
    with pytest.raises(Failure, match="redirection") as caught:
        ask(provider, REQUEST)
    provider.close()
    assert (caught.value.status, sandbox.openai.request_count, listener.heard) == (307, 1, b"")


def test_a_redirection_of_another_host_is_not_followed_either(
    ask: Ask, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, listener.url)
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    listener.answer = b"HTTP/1.1 307 Elsewhere\r\nlocation: http://elsewhere.example/"
    provider = _provider("http://openai.example/v1")
    with pytest.raises(Failure, match="redirection"):
        ask(provider, REQUEST)
    provider.close()
    assert listener.heard.count(b"POST ") == 1


def test_the_key_is_in_no_log_and_no_representation(
    ask: Ask, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider = _provider(f"{sandbox.openai.url}/v1")
    assert ask(provider, REQUEST).success
    provider.close()
    assert "HTTP Request" in caplog.text  # the SDK did log
    assert KEY not in caplog.text
    assert KEY not in repr(provider) + str(vars(provider))


def test_a_base_url_with_a_path_keeps_it(listener: Listener) -> None:
    provider = _provider(f"{listener.url}/openai/v1/")
    with pytest.raises(Failure):
        provider.generate(REQUEST)
    provider.close()
    assert listener.heard.startswith(b"POST /openai/v1/chat/completions ")
