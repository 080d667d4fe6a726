"""Gemini on Vertex AI for Understudy: another address and another way to sign in, all else the same."""

from __future__ import annotations

from understudy import Settings, hookimpl
from understudy_gemini.connection import Connection
from understudy_gemini.provider import GeminiProvider


@hookimpl
def understudy_provider(settings: Settings) -> GeminiProvider:
    """Make the provider named vertex."""
    return GeminiProvider(Connection.to_vertex(settings))
