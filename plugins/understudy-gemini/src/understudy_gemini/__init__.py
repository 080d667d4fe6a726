"""Gemini for Understudy. Nothing here imports Google's SDK: that happens with the first request."""

from __future__ import annotations

from understudy import Settings, hookimpl
from understudy_gemini.connection import Connection
from understudy_gemini.provider import GeminiProvider

__all__ = ["Connection", "GeminiProvider", "understudy_provider"]


@hookimpl
def understudy_provider(settings: Settings) -> GeminiProvider:
    """Make the provider named gemini."""
    return GeminiProvider(Connection.to_gemini(settings))
