"""Fixtures for pytest, found by it on its own (entry point ``pytest11``). Loads nothing of the sandbox until used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from understudy_sandbox.sandbox import Sandbox

#: What the vendors' SDKs read from the environment on their own, and what sends a request elsewhere.
SCRUBBED = (
    *("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "ANTHROPIC_CUSTOM_HEADERS"),
    *("GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL", "GEMINI_BASE_URL", "GOOGLE_GENAI_API_VERSION"),
    *("GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_ENTERPRISE", "GOOGLE_GENAI_HTTP_CLIENT"),
    *("GOOGLE_GENAI_CLIENT_MODE", "GOOGLE_APPLICATION_CREDENTIALS", "VERTEX_BASE_URL", "GOOGLE_VERTEX_BASE_URL"),
    *("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION", "GOOGLE_CLOUD_UNIVERSE_DOMAIN"),
    *("GOOGLE_API_USE_MTLS_ENDPOINT", "ANTHROPIC_PROFILE"),
    *("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"),
    *("OPENAI_CUSTOM_HEADERS", "CO_API_KEY", "COHERE_API_KEY", "CO_API_URL", "COHERE_BASE_URL"),
    *("OLLAMA_API_KEY", "OLLAMA_HOST", "OLLAMA_BASE_URL"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"),
    *("GEMINI_MODEL", "VERTEX_MODEL", "CLAUDE_MODEL", "OPENAI_MODEL", "COHERE_MODEL", "OLLAMA_MODEL"),
)


@pytest.fixture(scope="session")
def _understudy_sandbox() -> Iterator[Sandbox]:
    from understudy_sandbox.sandbox import Sandbox

    with Sandbox() as running:
        yield running


@pytest.fixture(scope="module")
def _no_old_connections(_understudy_sandbox: Sandbox) -> None:
    """End what the clients of another module's tests have left open, or it would be counted here."""
    for stand_in in _understudy_sandbox.vendors.values():
        stand_in.hang_up()


@pytest.fixture
def sandbox(_understudy_sandbox: Sandbox, _no_old_connections: None) -> Iterator[Sandbox]:
    """The running sandbox, with nothing scheduled and nothing counted; the servers are shared by the session."""
    _understudy_sandbox.reset()
    yield _understudy_sandbox
    _understudy_sandbox.reset()


@pytest.fixture
def sandbox_environment(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment points every provider's plugin at the sandbox, and no real key or proxy is in it."""
    for name in (*SCRUBBED, *(name for name in os.environ if name.startswith("LLM_"))):
        monkeypatch.delenv(name, raising=False)
    variables = sandbox.environment()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables
