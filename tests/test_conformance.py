"""The contract over every provider of this repository, each found by its entry point and in front of its stand-in."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from understudy.testing import ProviderContract
from understudy.testing.asking import WAYS, Way
from understudy_sandbox.conformance import SandboxFaults


class TestEcho(ProviderContract):
    name = "echo"


class TestClaude(SandboxFaults, ProviderContract):
    name = "claude"
    stand_in = "claude"
    key = "ANTHROPIC_API_KEY"
    sdk = ("anthropic", "httpx2", "pydantic")
    thinking_options = {"thinking": {"type": "enabled", "budget_tokens": 1024}}


class TestGemini(SandboxFaults, ProviderContract):
    name = "gemini"
    stand_in = "gemini"
    key = "GOOGLE_API_KEY"
    sdk = ("google.auth", "google.genai", "httpx2", "pydantic")
    thinking_options = {"thinkingConfig": {"includeThoughts": True}}


class TestVertex(SandboxFaults, ProviderContract):
    name = "vertex"
    stand_in = "gemini"
    sdk = ("google.genai", "google.auth", "httpx2", "pydantic")
    thinking_options = {"thinkingConfig": {"includeThoughts": True}}

    @pytest.fixture(params=[way for way in WAYS if way.streams == way.is_async], ids=lambda way: way.name)
    def ask(self, request: pytest.FixtureRequest) -> Way:
        """Two of the four calls: all but the token and the address is Gemini's, of which all are asked."""
        way: Way = request.param
        return way

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


class TestCohere(SandboxFaults, ProviderContract):
    name = "cohere"
    stand_in = "cohere"
    settings = {"COHERE_MODEL": "command-a-plus-05-2026", "CO_API_KEY": None}  # the default takes no images
    key = "COHERE_API_KEY"
    sdk = ("cohere", "httpx", "pydantic")
    thinking_options = {"thinking": {"type": "enabled"}}


class TestOllama(SandboxFaults, ProviderContract):
    name = "ollama"
    stand_in = "ollama"
    never = {"blocked": "a model that refuses says so in words"}
    sdk = ("ollama", "httpx", "pydantic")
    thinking_options = {"think": True}


class TestGeminiLegacy(SandboxFaults, ProviderContract):
    name = "gemini-legacy"
    stand_in = "gemini"
    key = "GOOGLE_API_KEY"
    sdk = ("google.ai", "google.auth", "google.generativeai", "google.protobuf", "grpc", "requests", "urllib3")
