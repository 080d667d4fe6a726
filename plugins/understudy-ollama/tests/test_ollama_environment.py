"""Settings come from Understudy alone: what the SDK would read by itself does not change where a key goes."""

from __future__ import annotations

import base64
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy import Failure, Message, Request, Settings
from understudy.errors import AuthenticationFailed, ProviderUnavailable
from understudy_ollama import OllamaProvider
from understudy_ollama.models import DEFAULT_MODEL
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
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
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


def _provider(url: str, **environment: str) -> OllamaProvider:
    return OllamaProvider(Settings(environment={"OLLAMA_BASE_URL": url, **environment}))


def test_the_model_comes_from_the_request_then_the_setting_then_the_default(sandbox: Sandbox) -> None:
    provider = _provider(sandbox.ollama.url, OLLAMA_MODEL="llama3:8b")
    provider.generate(REQUEST)
    provider.generate(Request(messages=REQUEST.messages, model="qwen3"))
    provider.close()
    assert [request.json["model"] for request in sandbox.ollama.requests] == ["llama3:8b", "qwen3"]
    assert _provider(sandbox.ollama.url).default_model == DEFAULT_MODEL


# ---- whether the server is there ----


def test_a_server_that_runs_is_available(sandbox: Sandbox, provider: OllamaProvider) -> None:
    assert provider.unavailable_reason() is None
    assert provider.is_available()
    provider.close()
    assert provider.is_available()


def test_one_that_does_not_run_or_is_something_else_is_not(listener: Listener) -> None:
    for url in ("http://127.0.0.1:9", listener.url, "http://no-such-host.invalid"):
        provider = _provider(url)
        assert provider.unavailable_reason() is None
        assert not provider.is_available()
        provider.close()


def test_a_page_of_another_server_is_not_taken_for_one(sandbox: Sandbox, provider: OllamaProvider) -> None:
    for fault in (faults.status(500, {"version": "0.40.0"}), faults.null_object(), faults.html_page()):
        sandbox.ollama.always(fault)
        assert not provider.is_available(), fault


def test_one_that_says_nothing_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        provider = _provider(f"http://127.0.0.1:{silent.getsockname()[1]}")
        begun = time.monotonic()
        assert not provider.is_available()
        assert time.monotonic() - begun < 3
        provider.close()


# ---- keys and what else the environment holds ----


def test_no_key_is_needed_and_none_is_sent(
    ask: Ask, sandbox: Sandbox, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", "stolen-key")
    monkeypatch.setenv("OLLAMA_HOST", listener.url)
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, listener.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    provider = _provider(sandbox.ollama.url)
    assert ask(provider, REQUEST).success
    assert provider.is_available()
    provider.close()
    [received] = [request for request in sandbox.ollama.requests if request.method == "POST"]
    assert "authorization" not in received.headers
    assert "stolen" not in str(dict(received.headers))
    assert listener.heard == b""


def test_a_key_that_is_set_for_the_provider_is_sent(
    ask: Ask, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", "stolen-key")
    provider = _provider(sandbox.ollama.url, OLLAMA_API_KEY=KEY)
    assert ask(provider, REQUEST).success
    provider.close()
    [received] = sandbox.ollama.requests
    assert received.headers["authorization"] == f"Bearer {KEY}"


def test_an_address_with_a_name_and_a_password_signs_in_with_them(ask: Ask, sandbox: Sandbox) -> None:
    provider = _provider(sandbox.ollama.url.replace("//", "//ada:p%40ss-word@"))
    assert ask(provider, REQUEST).success
    sandbox.ollama.always(faults.refuse())
    with pytest.raises(Failure) as caught:
        ask(provider, REQUEST)
    provider.close()
    [received] = sandbox.ollama.requests
    assert received.headers["authorization"] == "Basic " + base64.b64encode(b"ada:p@ss-word").decode()
    assert "word" not in repr(provider) + str(caught.value)


def test_a_server_under_a_name_of_its_own_needs_a_key_only_where_one_is_named(
    ask: Ask, sandbox: Sandbox, tmp_path: Path
) -> None:
    url = sandbox.ollama.url
    (tmp_path / "understudy.toml").write_text(
        f'[providers.free]\nuses = "ollama"\nbase_url = "{url}"\nmodel = "qwen3"\n'
        f'[providers.kept]\nuses = "ollama"\nbase_url = "{url}"\napi_key_env = "KEPT_KEY"\n',
        "utf-8",
    )
    environment = {"OLLAMA_API_KEY": "of-another-host", "OLLAMA_HOST": "gpu.example"}
    settings = Settings(environment=environment, directory=tmp_path)
    free = OllamaProvider(settings.for_provider("free"))
    assert (free.unavailable_reason(), free.default_model) == (None, "qwen3")
    assert ask(free, REQUEST).success
    free.close()
    assert "authorization" not in sandbox.ollama.requests[-1].headers
    lacking = OllamaProvider(settings.for_provider("kept"))
    assert "KEPT_KEY is not set" in (lacking.unavailable_reason() or "")
    assert not lacking.is_available()
    with pytest.raises(ProviderUnavailable, match="KEPT_KEY"):
        ask(lacking, REQUEST)
    lacking.close()
    own = Settings(environment={**environment, "KEPT_KEY": KEY}, directory=tmp_path).for_provider("kept")
    kept = OllamaProvider(own)
    assert ask(kept, REQUEST).success
    kept.close()
    assert sandbox.ollama.requests[-1].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "[::1]", "a.localhost", "0.0.0.0"])
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
    provider = _provider("http://gpu.example")
    with pytest.raises(Failure) as caught:
        ask(provider, REQUEST)
    provider.close()
    assert caught.value.status == 503
    assert listener.heard.startswith(b"POST http://gpu.example/api/chat HTTP/1.1")


def test_a_redirection_is_not_followed(ask: Ask, sandbox: Sandbox, listener: Listener) -> None:
    sandbox.ollama.always(faults.status(307, "", {"location": listener.url}))
    provider = _provider(sandbox.ollama.url)
    with pytest.raises(Failure, match="redirection") as caught:
        ask(provider, REQUEST)
    provider.close()
    assert (caught.value.status, sandbox.ollama.request_count, listener.heard) == (307, 1, b"")


def test_the_key_is_in_no_log_and_no_representation(
    ask: Ask, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider = _provider(sandbox.ollama.url, OLLAMA_API_KEY=KEY)
    assert ask(provider, REQUEST).success
    sandbox.ollama.always(faults.status(401, {"error": f"no such key: {KEY}"}))
    with pytest.raises(AuthenticationFailed):
        ask(provider, REQUEST)
    provider.close()
    assert "HTTP Request" in caplog.text  # the SDK's library did log
    assert KEY not in caplog.text
    assert KEY not in repr(provider) + str(vars(provider))


def test_a_base_url_with_a_path_keeps_it(listener: Listener) -> None:
    provider = _provider(f"{listener.url}/ollama/")
    with pytest.raises(Failure):
        provider.generate(REQUEST)
    provider.close()
    assert listener.heard.startswith(b"POST /ollama/api/chat ")
