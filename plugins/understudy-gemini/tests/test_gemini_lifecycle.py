"""Names, settings and what is sent; the rest of its life is the contract's (tests/test_conformance.py at the root)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.metadata import entry_points
from types import ModuleType

import pytest

from understudy import LLMResponse, Message, Request, Settings
from understudy_gemini import GeminiProvider, understudy_provider
from understudy_sandbox import Sandbox, faults

Ask = Callable[[GeminiProvider, Request], LLMResponse]
ASKED = Request(messages=(Message.user("hello"),), timeout=5)


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


def test_the_request_on_the_wire(sandbox: Sandbox, provider: GeminiProvider, ask: Ask, lane: str) -> None:
    ask(provider, Request(messages=ASKED.messages, model="gemini-3.5-flash-lite", timeout=7.5))
    (request,) = sandbox.gemini.requests
    assert request.path.startswith("/v1beta/models/gemini-3.5-flash-lite:")
    assert request.query == ({"alt": "sse"} if request.stream else {})
    assert request.headers["x-server-timeout"] == ("1800" if request.stream else "10")  # not 8: that is refused
    empty: dict[str, object] = {"generationConfig": {}} if lane == "sdk" else {}
    assert request.json == {"contents": [{"role": "user", "parts": [{"text": "hello"}]}], **empty}


def test_async_calls_take_the_same_library_where_aiohttp_is_installed(
    sandbox: Sandbox, provider: GeminiProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("google.genai._api_client.has_aiohttp", True)  # its own sign that it found it
    sandbox.gemini.next(faults.reset())
    with pytest.raises(Exception, match="connection failed"):
        asyncio.run(provider.agenerate(ASKED))
    assert sandbox.gemini.request_count == 1  # aiohttp's way sleeps a second or more and asks again
