"""Settings come from Understudy alone: what the SDK would read by itself does not change where a key goes."""

from __future__ import annotations

import base64
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy import Failure, Message, Request, Settings
from understudy.errors import ProviderUnavailable
from understudy_ollama import OllamaProvider
from understudy_sandbox import faults
from understudy_toolkit.conformance.limits import within

if TYPE_CHECKING:
    from conftest import Ask

    from understudy_sandbox import Sandbox
    from understudy_toolkit.conformance import FaultServer

KEY = "not-a-real-key-1234"
REQUEST = Request(messages=(Message.user("Hello"),), timeout=5)


def _provider(url: str, **environment: str) -> OllamaProvider:
    return OllamaProvider(Settings(environment={"OLLAMA_BASE_URL": url, **environment}))


# ---- whether the server is there ----


def test_a_server_that_runs_is_available(sandbox: Sandbox, provider: OllamaProvider) -> None:
    assert provider.unavailable_reason() is None
    assert provider.is_available()
    provider.close()
    assert provider.is_available()


def test_one_that_does_not_run_or_is_something_else_is_not(elsewhere: FaultServer) -> None:
    for url in ("http://127.0.0.1:9", elsewhere.url, "http://no-such-host.invalid"):
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
        found: list[bool] = []
        within(60, lambda: found.append(provider.is_available()))  # seconds; it would wait for ever
        assert found == [False]
        provider.close()


# ---- keys and what else the environment holds ----


def test_no_key_is_needed_and_none_is_sent(
    ask: Ask, sandbox: Sandbox, elsewhere: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", "stolen-key")
    monkeypatch.setenv("OLLAMA_HOST", elsewhere.url)
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, elsewhere.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    provider = _provider(sandbox.ollama.url)
    assert ask(provider, REQUEST).success
    assert provider.is_available()
    provider.close()
    [received] = [request for request in sandbox.ollama.requests if request.method == "POST"]
    assert "authorization" not in received.headers
    assert "stolen" not in str(dict(received.headers))
    assert not elsewhere.requests


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
        f'[providers.kept]\nuses = "ollama"\nbase_url = "{url}"\napi_key_env = "KEPT_API_KEY"\n',
        "utf-8",
    )
    environment = {
        "OLLAMA_API_KEY": "of-another-host",
        "OLLAMA_HOST": "gpu.example",
        "LLM_TRUSTED_FOLDERS": str(tmp_path),
    }
    settings = Settings(environment=environment, directory=tmp_path)
    free = OllamaProvider(settings.for_provider("free"))
    assert (free.unavailable_reason(), free.default_model) == (None, "qwen3")
    assert ask(free, REQUEST).success
    free.close()
    assert "authorization" not in sandbox.ollama.requests[-1].headers
    lacking = OllamaProvider(settings.for_provider("kept"))
    assert "KEPT_API_KEY is not set" in (lacking.unavailable_reason() or "")
    assert not lacking.is_available()
    with pytest.raises(ProviderUnavailable, match="KEPT_API_KEY"):
        ask(lacking, REQUEST)
    lacking.close()
    own = Settings(environment={**environment, "KEPT_API_KEY": KEY}, directory=tmp_path).for_provider("kept")
    kept = OllamaProvider(own)
    assert ask(kept, REQUEST).success
    kept.close()
    assert sandbox.ollama.requests[-1].headers["authorization"] == f"Bearer {KEY}"
