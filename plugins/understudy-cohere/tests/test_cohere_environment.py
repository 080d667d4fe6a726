"""Settings come from Understudy alone: what the SDK would read by itself does not change where a key goes."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy import ConfigurationError, Failure, Message, Request, Settings
from understudy.errors import ProviderUnavailable
from understudy_cohere import CohereProvider, understudy_provider
from understudy_cohere.models import DEFAULT_MODEL
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


def _provider(url: str, **environment: str) -> CohereProvider:
    return CohereProvider(Settings(environment={"COHERE_API_KEY": KEY, "COHERE_BASE_URL": url, **environment}))


def test_a_missing_key_is_an_unavailable_provider(ask: Ask) -> None:
    for environment in ({}, {"COHERE_API_KEY": " "}):
        provider = understudy_provider(Settings(environment=environment))
        assert not provider.is_available()
        assert "COHERE_API_KEY is " in (provider.unavailable_reason() or "")
        with pytest.raises(ProviderUnavailable, match="COHERE_API_KEY is "):
            ask(provider, REQUEST)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COHERE_API_KEY", "not a key"),
        ("COHERE_API_KEY", "not-a-real-key\nX: y"),
        ("COHERE_BASE_URL", ""),
        ("COHERE_BASE_URL", "api.cohere.com"),
        ("CO_API_KEY", "not a key"),
        ("CO_API_URL", "api.cohere.com"),
        ("COHERE_BASE_URL", "ftp://x"),
    ],
)
def test_a_malformed_setting_is_named(name: str, value: str) -> None:
    given = {} if name == "CO_API_KEY" else {"COHERE_API_KEY": KEY}
    with pytest.raises(ConfigurationError, match=name):
        understudy_provider(Settings(environment={**given, name: value}))


def test_the_model_comes_from_the_request_then_the_setting_then_the_default(sandbox: Sandbox) -> None:
    provider = _provider(sandbox.cohere.url, COHERE_MODEL="command-r7b-12-2024")
    provider.generate(REQUEST)
    provider.generate(Request(messages=REQUEST.messages, model="command-a-plus-05-2026"))
    provider.close()
    assert [request.json["model"] for request in sandbox.cohere.requests] == [
        "command-r7b-12-2024",
        "command-a-plus-05-2026",
    ]
    assert _provider(sandbox.cohere.url).default_model == DEFAULT_MODEL


def test_the_sdks_own_names_are_read_after_ours(sandbox: Sandbox) -> None:
    theirs = {"CO_API_KEY": "not-a-real-key-of-theirs", "CO_API_URL": sandbox.cohere.url}
    for environment in (theirs, {**theirs, "COHERE_API_KEY": KEY, "COHERE_BASE_URL": f"{sandbox.cohere.url}/"}):
        provider = understudy_provider(Settings(environment=environment))
        assert provider.generate(REQUEST).success
        provider.close()
    sent = [request.headers["authorization"] for request in sandbox.cohere.requests]
    assert sent == ["Bearer not-a-real-key-of-theirs", f"Bearer {KEY}"]


def test_a_table_gives_the_provider_another_name_address_and_model(sandbox: Sandbox, tmp_path: Path) -> None:
    table = f'[providers.house]\nuses = "cohere"\nbase_url = "{sandbox.cohere.url}"\napi_key_env = ""\nmodel = "own"\n'
    (tmp_path / "understudy.toml").write_text(table, "utf-8")
    settings = Settings(environment={"COHERE_API_KEY": KEY, "COHERE_MODEL": "x"}, directory=tmp_path)
    provider = understudy_provider(settings.for_provider("house"))
    assert provider.is_available()
    with pytest.raises(Failure, match="no api key supplied"):  # the stand-in wants one
        provider.generate(REQUEST)
    provider.close()
    [received] = sandbox.cohere.requests
    assert received.json["model"] == "own"
    assert "authorization" not in received.headers


def test_what_the_sdk_reads_when_it_is_loaded_changes_nothing(sandbox: Sandbox, listener: Listener) -> None:
    program = f"""
import os
os.environ.update(CO_API_URL={listener.url!r}, CO_API_KEY="stolen", COHERE_API_KEY="stolen")
from understudy import Message, Request, Settings
from understudy_cohere import CohereProvider
provider = CohereProvider(Settings(environment={sandbox.environment()!r}))
assert provider.generate(Request(messages=(Message.user("Hello"),), timeout=5)).success
provider.close()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert sandbox.cohere.requests[0].headers["authorization"] == "Bearer sandbox-key"
    assert listener.heard == b""


def test_nothing_in_the_environment_changes_the_key_or_the_host(
    ask: Ask, sandbox: Sandbox, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CO_API_KEY", "COHERE_API_KEY"):
        monkeypatch.setenv(name, "stolen")
    for name in ("CO_API_URL", "COHERE_BASE_URL", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, listener.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    provider = _provider(sandbox.cohere.url)
    assert ask(provider, REQUEST).success
    provider.close()
    [received] = sandbox.cohere.requests
    assert received.headers["authorization"] == f"Bearer {KEY}"
    assert "stolen" not in str(dict(received.headers))
    assert listener.heard == b""


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
    provider = _provider("http://cohere.example")
    with pytest.raises(Failure) as caught:
        ask(provider, REQUEST)
    provider.close()
    assert caught.value.status == 503
    assert listener.heard.startswith(b"POST http://cohere.example/v2/chat HTTP/1.1")


def test_a_redirection_is_not_followed(ask: Ask, sandbox: Sandbox, listener: Listener) -> None:
    sandbox.cohere.always(faults.status(307, "", {"location": listener.url}))
    provider = _provider(sandbox.cohere.url)
    with pytest.raises(Failure, match="redirection") as caught:
        ask(provider, REQUEST)
    provider.close()
    assert (caught.value.status, sandbox.cohere.request_count, listener.heard) == (307, 1, b"")


def test_the_key_is_in_no_log_and_no_representation(
    ask: Ask, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider = _provider(sandbox.cohere.url)
    assert ask(provider, REQUEST).success
    provider.close()
    assert "HTTP Request" in caplog.text  # the SDK did log
    assert KEY not in caplog.text
    assert KEY not in repr(provider) + str(vars(provider))


def test_a_base_url_with_a_path_keeps_it(listener: Listener) -> None:
    provider = _provider(f"{listener.url}/cohere/")
    with pytest.raises(Failure):
        provider.generate(REQUEST)
    provider.close()
    assert listener.heard.startswith(b"POST /cohere/v2/chat ")
