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


LABELS = ("text/html", "text/plain", "application/octet-stream")
GOOGLE = {
    "GEMINI_API_KEY": "{stolen}",
    "GOOGLE_GENAI_USE_VERTEXAI": "true",
    "GOOGLE_GENAI_USE_ENTERPRISE": "true",
    "GOOGLE_GEMINI_BASE_URL": "{elsewhere}",
    "GOOGLE_VERTEX_BASE_URL": "{elsewhere}",
    "GOOGLE_GENAI_API_VERSION": "v9",
    "GOOGLE_GENAI_CLIENT_MODE": "replay",
    "GOOGLE_GENAI_REPLAY_ID": "none",
    "GOOGLE_GENAI_REPLAYS_DIRECTORY": "/nowhere",
    "GOOGLE_GENAI_HTTP_CLIENT": "httpx",
    "GOOGLE_GENAI_DEFAULT_HEADERS": "x-team: {stolen}",
    "GOOGLE_GENAI_ACCESS_TOKEN": "{stolen}",
    "GOOGLE_GENAI_API_KEY": "{stolen}",
    "GOOGLE_CLOUD_PROJECT": "another-project",
    "GOOGLE_CLOUD_UNIVERSE_DOMAIN": "elsewhere.example",
    "GOOGLE_API_USE_MTLS_ENDPOINT": "always",
    "GOOGLE_API_USE_CLIENT_CERTIFICATE": "true",
    "GOOGLE_APPLICATION_CREDENTIALS": "/nowhere.json",
}


class OurFaults(SandboxFaults):
    """What holds for all that have a stand-in."""

    uses_proxies = True
    keeps_connections = True


class TestEcho(ProviderContract):
    name = "echo"


class TestClaude(OurFaults, ProviderContract):
    name = "claude"
    stand_in = "claude"
    key = "ANTHROPIC_API_KEY"
    url_setting = "ANTHROPIC_BASE_URL"
    model_setting = "CLAUDE_MODEL"
    has_other_names = True
    read_by_sdk = {
        "ANTHROPIC_CUSTOM_HEADERS": "Authorization: Bearer {stolen}\nX-Api-Key: {stolen}\nx-api-key: {stolen}",
        "ANTHROPIC_AUTH_TOKEN": "{stolen}",
        "ANTHROPIC_PROFILE": "no-such-profile",
        "ANTHROPIC_CONFIG_DIR": "/nowhere",
        "ANTHROPIC_IDENTITY_TOKEN_FILE": "/nowhere/token",
        "ANTHROPIC_IDENTITY_TOKEN": "{stolen}",
        "ANTHROPIC_FEDERATION_RULE_ID": "{stolen}",
        "ANTHROPIC_ORGANIZATION_ID": "{stolen}",
        "ANTHROPIC_SERVICE_ACCOUNT_ID": "{stolen}",
        "ANTHROPIC_WORKSPACE_ID": "{stolen}",
        "ANTHROPIC_SCOPE": "{stolen}",
    }
    content_types = LABELS
    sdk = ("anthropic", "httpx2", "pydantic")
    thinking_options = {"thinking": {"type": "enabled", "budget_tokens": 1024}}


class TestClaudeOverHTTP(TestClaude):
    settings = {"CLAUDE_TRANSPORT": "http"}


class TestGemini(OurFaults, ProviderContract):
    name = "gemini"
    stand_in = "gemini"
    key = "GOOGLE_API_KEY"
    url_setting = "GEMINI_BASE_URL"
    model_setting = "GEMINI_MODEL"
    has_other_names = True
    read_by_sdk = GOOGLE
    content_types = LABELS
    sdk = ("google.auth", "google.genai", "httpx2", "pydantic")
    thinking_options = {"thinkingConfig": {"includeThoughts": True}}


class TestGeminiOverHTTP(TestGemini):
    settings = {"GEMINI_TRANSPORT": "http"}


class TestVertex(OurFaults, ProviderContract):
    """All but the token and the address is Gemini's, of which all four calls are asked: two are enough."""

    ask = calls("generate", "astream")
    name = "vertex"
    stand_in = "gemini"
    url_setting = "VERTEX_BASE_URL"
    model_setting = "VERTEX_MODEL"
    read_by_sdk = GOOGLE
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


class TestOpenAI(OurFaults, ProviderContract):
    name = "openai"
    stand_in = "openai"
    key = "OPENAI_API_KEY"
    url_setting = "OPENAI_BASE_URL"
    url_path = "/v1"
    model_setting = "OPENAI_MODEL"
    has_other_names = True
    read_by_sdk = {
        "OPENAI_CUSTOM_HEADERS": "Authorization: Bearer {stolen}\nauthorization: {stolen}\nOpenAI-Project: {stolen}",
        "OPENAI_API_TYPE": "azure",
        "AZURE_OPENAI_ENDPOINT": "{elsewhere}",
        **dict.fromkeys(("OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"), "{stolen}"),
        **dict.fromkeys(("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN", "OPENAI_API_VERSION"), "{stolen}"),
        "OPENAI_WEBHOOK_SECRET": "{stolen}",
    }
    content_types = LABELS
    sdk = ("openai", "httpx2", "pydantic")
    thinking_options = {"api": "responses", "reasoning": {"effort": "low", "summary": "auto"}}


class TestOpenAIOverHTTP(TestOpenAI):
    settings = {"OPENAI_TRANSPORT": "http"}


class TestCohere(OurFaults, ProviderContract):
    name = "cohere"
    stand_in = "cohere"
    settings = {"COHERE_MODEL": "command-a-plus-05-2026", "CO_API_KEY": None}  # the default takes no images
    key = "COHERE_API_KEY"
    url_setting = "COHERE_BASE_URL"
    model_setting = "COHERE_MODEL"
    has_other_names = True
    read_by_sdk = {"CO_API_KEY": "{stolen}", "CO_API_URL": "{elsewhere}"}
    content_types = LABELS
    sdk = ("cohere", "httpx", "pydantic")
    thinking_options = {"thinking": {"type": "enabled"}}


class TestCohereOverHTTP(TestCohere):
    settings = {**TestCohere.settings, "COHERE_TRANSPORT": "http"}


class TestOllama(OurFaults, ProviderContract):
    name = "ollama"
    stand_in = "ollama"
    url_setting = "OLLAMA_BASE_URL"
    model_setting = "OLLAMA_MODEL"
    has_other_names = True
    read_by_sdk = {"OLLAMA_API_KEY": "{stolen}", "OLLAMA_HOST": "{elsewhere}"}
    content_types = LABELS
    never = {"blocked": "a model that refuses says so in words"}
    sdk = ("ollama", "httpx", "pydantic")
    thinking_options = {"think": True}


class TestOllamaOverHTTP(TestOllama):
    settings = {"OLLAMA_TRANSPORT": "http"}


class TestGeminiLegacy(OurFaults, ProviderContract):
    """Its async calls are ChatProvider's own, which run the others in threads."""

    ask = calls("generate", "stream")
    name = "gemini-legacy"
    stand_in = "gemini"
    key = "GOOGLE_API_KEY"
    url_setting = "GEMINI_LEGACY_BASE_URL"
    model_setting = "GEMINI_LEGACY_MODEL"
    has_other_names = True
    read_by_sdk = GOOGLE
    content_types = LABELS
    sdk = ("google.ai", "google.auth", "google.generativeai", "google.protobuf", "grpc", "requests", "urllib3")
