"""Ollama for Understudy. Nothing here imports Ollama's SDK: that happens with the first request."""

from __future__ import annotations

from understudy import Settings, hookimpl
from understudy_ollama.provider import OllamaProvider

__all__ = ["OllamaProvider", "understudy_provider"]


@hookimpl
def understudy_provider(settings: Settings) -> OllamaProvider:
    """Make the provider named ollama."""
    return OllamaProvider(settings)
