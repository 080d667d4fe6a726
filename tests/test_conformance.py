"""The contract over every provider of this repository, each found by its entry point and in front of its stand-in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from understudy_sandbox.conformance import SandboxFaults
from understudy_toolkit.conformance import ContractSetup, ProviderContract
from understudy_toolkit.conformance.asking import WAYS


def calls(*names: str) -> Any:
    """Make the fixture `ask` with some of the four calls instead of all."""
    ways = [way for way in WAYS if way.name in names]

    @pytest.fixture(params=ways, ids=[way.name for way in ways])
    def ask(self: ContractSetup, request: pytest.FixtureRequest) -> Any:
        return request.param

    return ask


class TestEcho(ProviderContract):
    name = "echo"


class TestClaude(SandboxFaults, ProviderContract):
    name = "claude"
    stand_in = "claude"
    key = "ANTHROPIC_API_KEY"
    sdk = ("anthropic", "httpx2", "pydantic")
    thinking_options = {"thinking": {"type": "enabled", "budget_tokens": 1024}}


class TestClaudeOverHTTP(TestClaude):
    settings = {"CLAUDE_TRANSPORT": "http"}


class TestGemini(SandboxFaults, ProviderContract):
    name = "gemini"
    stand_in = "gemini"
    key = "GOOGLE_API_KEY"
    sdk = ("google.auth", "google.genai", "httpx2", "pydantic")
    thinking_options = {"thinkingConfig": {"includeThoughts": True}}


class TestGeminiOverHTTP(TestGemini):
    settings = {"GEMINI_TRANSPORT": "http"}


class TestVertex(SandboxFaults, ProviderContract):
    """All but the token and the address is Gemini's, of which all four calls are asked: two are enough."""

    ask = calls("generate", "astream")
    name = "vertex"
    stand_in = "gemini"
    sdk = ("google.genai", "google.auth", "httpx2", "pydantic")
    thinking_options = {"thinkingConfig": {"includeThoughts": True}}

    def environment(self) -> Mapping[str, str | None]:
        """Sign in as a user whose token is good for long, so that nobody is asked for another."""
        user = {
            "type": "authorized_user",
            "client_id": "nobody",
            "client_secret": "none",
            "refresh_token": "none",
            "token": "token-of-the-stand-in",
            "expiry": "2999-01-01T00:00:00Z",
        }
        file = self.folder / "user.json"
        file.write_text(json.dumps(user), "utf-8")
        project = {"GOOGLE_CLOUD_PROJECT": "p1", "GOOGLE_APPLICATION_CREDENTIALS": str(file)}
        return {**super().environment(), **project}


class TestOpenAI(SandboxFaults, ProviderContract):
    name = "openai"
    stand_in = "openai"
    key = "OPENAI_API_KEY"
    sdk = ("openai", "httpx2", "pydantic")
    thinking_options = {"api": "responses", "reasoning": {"effort": "low", "summary": "auto"}}


class TestOpenAIOverHTTP(TestOpenAI):
    settings = {"OPENAI_TRANSPORT": "http"}


class TestCohere(SandboxFaults, ProviderContract):
    name = "cohere"
    stand_in = "cohere"
    settings = {"COHERE_MODEL": "command-a-plus-05-2026", "CO_API_KEY": None}  # the default takes no images
    key = "COHERE_API_KEY"
    sdk = ("cohere", "httpx", "pydantic")
    thinking_options = {"thinking": {"type": "enabled"}}


class TestCohereOverHTTP(TestCohere):
    settings = {**TestCohere.settings, "COHERE_TRANSPORT": "http"}


class TestOllama(SandboxFaults, ProviderContract):
    name = "ollama"
    stand_in = "ollama"
    never = {"blocked": "a model that refuses says so in words"}
    sdk = ("ollama", "httpx", "pydantic")
    thinking_options = {"think": True}


class TestOllamaOverHTTP(TestOllama):
    settings = {"OLLAMA_TRANSPORT": "http"}


class TestGeminiLegacy(SandboxFaults, ProviderContract):
    """Its async calls are ChatProvider's own, which run the others in threads."""

    ask = calls("generate", "stream")
    name = "gemini-legacy"
    stand_in = "gemini"
    key = "GOOGLE_API_KEY"
    sdk = ("google.ai", "google.auth", "google.generativeai", "google.protobuf", "grpc", "requests", "urllib3")
