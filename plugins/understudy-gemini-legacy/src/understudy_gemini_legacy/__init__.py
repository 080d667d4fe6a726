"""Gemini for Understudy, on google-generativeai. Nothing here imports that SDK: it happens with the first request."""

from __future__ import annotations

from understudy import Settings, hookimpl
from understudy_gemini_legacy.provider import GeminiLegacyProvider

__all__ = ["GeminiLegacyProvider", "understudy_provider"]


@hookimpl
def understudy_provider(settings: Settings) -> GeminiLegacyProvider:
    """Make the provider named gemini-legacy."""
    return GeminiLegacyProvider(settings)
