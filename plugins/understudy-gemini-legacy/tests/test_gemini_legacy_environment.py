"""Settings come from Understudy alone: what the SDK would read by itself does not change where a key goes."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from understudy import ConfigurationError, LLMResponse, Message, Request, Settings
from understudy_gemini_legacy import GeminiLegacyProvider, understudy_provider
from understudy_sandbox import Sandbox, faults

Ask = Callable[[GeminiLegacyProvider, Request], LLMResponse]
Connect = Callable[..., GeminiLegacyProvider]
ASKED = Request(messages=(Message.user("hello"),), timeout=5)
KEY = "key-0123456789"
PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy")


@pytest.fixture
def no_exceptions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in the environment says which hosts go past a proxy."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def test_the_first_name_that_is_set_counts(sandbox: Sandbox, connect: Connect) -> None:
    elsewhere = "http://127.0.0.1:9"
    both = {"GEMINI_API_KEY": "second-key", "GEMINI_LEGACY_BASE_URL": sandbox.gemini.url}
    models = {"GEMINI_MODEL": "gemini-3.5-flash", "GEMINI_LEGACY_MODEL": "gemini-3.8-flash"}
    provider = connect(elsewhere, **both, **models)
    assert provider.generate(ASKED).model == "gemini-3.8-flash"
    assert sandbox.gemini.requests[0].headers["x-goog-api-key"] == KEY
    assert connect(elsewhere, GEMINI_MODEL="gemini-3.5-flash").default_model == "gemini-3.5-flash"
    other = connect(sandbox.gemini.url, GOOGLE_API_KEY="", GEMINI_API_KEY="second-key")
    assert other.generate(ASKED).model == "gemini-2.5-flash-lite"
    assert sandbox.gemini.requests[1].headers["x-goog-api-key"] == "second-key"


@pytest.mark.parametrize(
    "settings",
    [
        {"GOOGLE_API_KEY": "two words"},
        {"GEMINI_API_KEY": "k", "GEMINI_LEGACY_BASE_URL": "no-scheme.example"},
        {"GEMINI_API_KEY": "k", "GEMINI_BASE_URL": ""},
    ],
)
def test_a_malformed_setting_is_refused_at_once(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{list(settings)[-1]} in the environment: expected a (key|URL)"):
        understudy_provider(Settings(environment=settings))


@pytest.mark.usefixtures("no_exceptions")
def test_nothing_in_the_environment_changes_where_a_request_goes_or_with_what(
    sandbox: Sandbox, connect: Connect, ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, "another-key")
    for name in PROXIES:
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login another password another", "utf-8")
    monkeypatch.setenv("NETRC", os.fspath(netrc))
    monkeypatch.setenv("GOOGLE_CLOUD_UNIVERSE_DOMAIN", "elsewhere.example")
    monkeypatch.setenv("GOOGLE_API_USE_MTLS_ENDPOINT", "always")
    monkeypatch.setenv("GOOGLE_API_USE_CLIENT_CERTIFICATE", "true")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json")
    assert ask(connect(sandbox.gemini.url), ASKED).success
    (request,) = sandbox.gemini.requests
    assert request.path.startswith("/v1beta/models/gemini-2.5-flash-lite:")
    assert request.headers["x-goog-api-key"] == KEY
    assert "authorization" not in request.headers


@pytest.mark.usefixtures("no_exceptions")
def test_a_proxy_is_used_for_hosts_that_are_not_this_machine_and_netrc_for_none(
    sandbox: Sandbox, connect: Connect, ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, sandbox.gemini.url)
    netrc = tmp_path / "netrc"
    netrc.write_text("default login another password another", "utf-8")
    monkeypatch.setenv("NETRC", os.fspath(netrc))
    sandbox.gemini.next(faults.server_error())
    with pytest.raises(Exception, match="server error"):
        ask(connect("http://vendor.example"), ASKED)
    (request,) = sandbox.gemini.requests
    assert request.headers["host"] == "vendor.example"
    assert "authorization" not in request.headers


def test_a_path_and_a_user_in_the_base_url_are_kept(sandbox: Sandbox, connect: Connect, ask: Ask) -> None:
    sandbox.gemini.next(faults.server_error())
    url = sandbox.gemini.url.replace("http://", "http://somebody:a-password@")
    with pytest.raises(Exception, match="server error"):
        ask(connect(f"{url}/proxy/"), ASKED)
    (request,) = sandbox.gemini.requests
    assert request.path.startswith("/proxy/v1beta/models/")
    assert request.headers["authorization"] == "Basic c29tZWJvZHk6YS1wYXNzd29yZA=="
    assert request.headers["x-goog-api-key"] == KEY


def test_cookies_do_not_go_from_one_call_to_the_next(sandbox: Sandbox, connect: Connect, ask: Ask) -> None:
    provider = connect(sandbox.gemini.url)
    sandbox.gemini.next(faults.status(503, "", {"set-cookie": "a=b"}))
    with pytest.raises(Exception, match="overloaded"):
        ask(provider, ASKED)
    assert ask(provider, ASKED).success
    assert "cookie" not in sandbox.gemini.requests[1].headers


def test_two_providers_with_two_keys_do_not_mix(sandbox: Sandbox, connect: Connect) -> None:
    keys = [f"key-number-{number}" for number in range(4)]
    providers = [connect(sandbox.gemini.url, GOOGLE_API_KEY=key) for key in keys]

    def ask(number: int) -> None:
        question = Request(messages=(Message.user(keys[number % 4]),), timeout=5)
        assert providers[number % 4].generate(question).success

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(40)))
    said = [(request.headers["x-goog-api-key"], request.json["contents"]) for request in sandbox.gemini.requests]
    assert len(said) == 40
    assert all(contents[0]["parts"][0]["text"] == key for key, contents in said)


def test_configuring_the_sdk_changes_nothing_here(sandbox: Sandbox, connect: Connect) -> None:
    from google.ai.generativelanguage_v1beta import GenerativeServiceClient

    provider = connect(sandbox.gemini.url)
    assert provider.generate(ASKED).success
    options = {"api_key": "another-key", "api_endpoint": "http://127.0.0.1:9"}
    with GenerativeServiceClient(client_options=options, transport="rest"):  # what genai.configure() leads to
        assert provider.generate(ASKED).success
    assert [request.headers["x-goog-api-key"] for request in sandbox.gemini.requests] == [KEY, KEY]


def test_a_name_and_a_server_of_ones_own(sandbox: Sandbox, tmp_path: Path, ask: Ask) -> None:
    table = f'uses = "gemini-legacy"\nbase_url = "{sandbox.gemini.url}/v"\napi_key_env = ""\nmodel = "mine-1"\n'
    (tmp_path / "understudy.toml").write_text(f"[providers.mine]\n{table}", "utf-8")
    settings = Settings(environment={"GOOGLE_API_KEY": KEY}, directory=tmp_path).for_provider("mine")
    provider = understudy_provider(settings)
    assert provider.is_available()
    sandbox.gemini.next(faults.server_error())
    with pytest.raises(Exception, match=r"^mine \(mine-1\): server error"):
        ask(provider, ASKED)
    provider.close()
    (request,) = sandbox.gemini.requests
    assert request.path.startswith("/v/v1beta/models/mine-1:")
    assert "x-goog-api-key" not in request.headers
