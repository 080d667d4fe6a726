"""Settings, clients, event loops and threads: what is opened, by whom it is used, and that it is closed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points
from types import ModuleType

import pytest

from understudy import ConfigurationError, LLMResponse, Message, Request, Settings, TextDelta
from understudy.errors import MalformedResponse, ProviderUnavailable
from understudy_gemini import GeminiProvider, understudy_provider
from understudy_sandbox import Sandbox, faults

Ask = Callable[[GeminiProvider, Request], LLMResponse]
Connect = Callable[..., GeminiProvider]
ASKED = Request(messages=(Message.user("hello"),), timeout=5)
KEY = "key-0123456789"


def run_python(code: str, *options: str) -> str:
    """Run a program of its own, and return what it printed and complained."""
    command = [sys.executable, *options, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def test_both_names_are_entry_points_with_our_hook() -> None:
    found = {entry.name: entry.load() for entry in entry_points(group="understudy.providers")}
    assert isinstance(found["gemini"], ModuleType)
    for name in ("gemini", "vertex"):
        made = found[name].understudy_provider(settings=Settings(environment={}))
        assert made.get_provider_name() == name
        assert made.default_model == "gemini-3.5-flash-lite"


def test_the_first_name_that_is_set_counts() -> None:
    both = {"GOOGLE_API_KEY": "first-key", "GEMINI_API_KEY": "second-key", "GEMINI_MODEL": "gemini-3.5-flash"}
    provider = understudy_provider(Settings(environment=both))
    assert provider.default_model == "gemini-3.5-flash"
    assert provider.is_available()
    assert understudy_provider(Settings(environment={"GEMINI_API_KEY": "second-key"})).is_available()


def test_a_missing_key_is_named_and_nothing_is_sent(sandbox: Sandbox, ask: Ask) -> None:
    provider = understudy_provider(Settings(environment={"GEMINI_BASE_URL": sandbox.gemini.url}))
    assert provider.unavailable_reason() == (
        "GOOGLE_API_KEY is not set: expected it in the environment or a .env file (or GEMINI_API_KEY)"
    )
    with pytest.raises(ProviderUnavailable, match="GOOGLE_API_KEY is not set"):
        ask(provider, ASKED)
    empty = understudy_provider(Settings(environment={"GOOGLE_API_KEY": "  "}))
    assert "GOOGLE_API_KEY is empty" in str(empty.unavailable_reason())
    assert sandbox.gemini.request_count == 0


@pytest.mark.parametrize(
    "settings", [{"GOOGLE_API_KEY": "two words"}, {"GOOGLE_API_KEY": "k", "GEMINI_BASE_URL": "no-scheme.example"}]
)
def test_a_malformed_setting_is_refused_at_once(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=r"expected a (key|URL)"):
        understudy_provider(Settings(environment=settings))


def test_nothing_in_the_environment_changes_where_a_request_goes_or_with_what(
    sandbox: Sandbox, connect: Connect, ask: Ask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, "another-key")
    for name in ("GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_ENTERPRISE"):
        monkeypatch.setenv(name, "true")
    for name in ("GOOGLE_GEMINI_BASE_URL", "GOOGLE_VERTEX_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", "v9")
    monkeypatch.setenv("GOOGLE_GENAI_CLIENT_MODE", "replay")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "another-project")
    assert ask(connect(sandbox.gemini.url), ASKED).success
    (request,) = sandbox.gemini.requests
    assert request.path.startswith("/v1beta/models/gemini-3.5-flash-lite:")
    assert request.headers["x-goog-api-key"] == KEY
    assert "authorization" not in request.headers
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == []


def test_the_request_on_the_wire(sandbox: Sandbox, provider: GeminiProvider, ask: Ask, lane: str) -> None:
    ask(provider, Request(messages=ASKED.messages, model="gemini-3.5-flash-lite", timeout=7.5))
    (request,) = sandbox.gemini.requests
    assert request.path.startswith("/v1beta/models/gemini-3.5-flash-lite:")
    assert request.query == ({"alt": "sse"} if request.stream else {})
    assert request.headers["x-server-timeout"] == ("1800" if request.stream else "10")  # not 8: that is refused
    empty: dict[str, object] = {"generationConfig": {}} if lane == "sdk" else {}
    assert request.json == {"contents": [{"role": "user", "parts": [{"text": "hello"}]}], **empty}


def test_a_path_in_the_base_url_is_kept(sandbox: Sandbox, connect: Connect, ask: Ask) -> None:
    sandbox.gemini.next(faults.server_error())
    with pytest.raises(Exception, match="server error"):
        ask(connect(f"{sandbox.gemini.url}/proxy/"), ASKED)
    assert sandbox.gemini.requests[0].path.startswith("/proxy/v1beta/models/")


def test_a_redirect_does_not_take_the_key_elsewhere(sandbox: Sandbox, provider: GeminiProvider, ask: Ask) -> None:
    sandbox.gemini.next(faults.status(307, "", {"location": sandbox.claude.url}))
    with pytest.raises(MalformedResponse, match="redirection"):
        ask(provider, ASKED)
    assert sandbox.claude.request_count == 0


def test_a_proxy_is_used_for_hosts_that_are_not_this_machine(
    sandbox: Sandbox, connect: Connect, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", sandbox.gemini.url)
    sandbox.gemini.next(faults.server_error())
    with pytest.raises(Exception, match="server error"):
        ask(connect("http://vendor.example"), ASKED)
    assert sandbox.gemini.requests[0].headers["host"] == "vendor.example"


def test_async_calls_take_the_same_library_where_aiohttp_is_installed(
    sandbox: Sandbox, provider: GeminiProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("google.genai._api_client.has_aiohttp", True)  # its own sign that it found it
    sandbox.gemini.next(faults.reset())
    began = time.monotonic()
    with pytest.raises(Exception, match="connection failed"):
        asyncio.run(provider.agenerate(ASKED))
    assert sandbox.gemini.request_count == 1
    assert time.monotonic() - began < 1  # aiohttp's way sleeps a second or more and asks again


def test_one_provider_serves_many_threads_and_one_connection_serves_many_calls(
    sandbox: Sandbox, provider: GeminiProvider
) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: provider.generate(ASKED).content, range(16)))
    assert len(answers) == 16
    assert sandbox.gemini.request_count == 16
    assert sandbox.gemini.connection_count <= 8


def test_a_loop_and_a_thread_use_one_provider_at_once(sandbox: Sandbox, provider: GeminiProvider) -> None:
    async def both() -> None:
        await asyncio.gather(provider.agenerate(ASKED), asyncio.to_thread(provider.generate, ASKED))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: asyncio.run(both()), range(3)))
    assert sandbox.gemini.request_count == 6


def test_a_program_that_closes_nothing_ends_in_silence(sandbox: Sandbox) -> None:
    code = f"""
import asyncio, gc, os
os.environ |= {{"GOOGLE_API_KEY": "{KEY}", "GEMINI_API_KEY": "{KEY}", "GEMINI_BASE_URL": "{sandbox.gemini.url}"}}
from understudy import Message, Request, Settings
from understudy_gemini import understudy_provider
provider = understudy_provider(Settings())
request = Request(messages=(Message.user("hello"),))
async def use():
    await provider.agenerate(request)
    events = provider.astream(request)
    print(await anext(events))
print(provider.generate(request).finish_reason)
for _ in range(2):
    asyncio.run(use())
    gc.collect()
print(next(provider.stream(request)))
provider.generate(request)
other = understudy_provider(Settings())
other.generate(request)
del provider
gc.collect()
"""
    printed = run_python(code, "-W", "error")
    assert printed.split("\n")[:-1] == ["stop", *[str(TextDelta("This"))] * 3]
