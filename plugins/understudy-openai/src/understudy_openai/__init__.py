"""OpenAI and its like for Understudy. Nothing here imports OpenAI's SDK: that happens with the first request."""

from __future__ import annotations

from understudy import Settings, hookimpl
from understudy_openai.provider import OpenAIProvider

__all__ = ["OpenAIProvider", "understudy_provider"]


@hookimpl
def understudy_provider(settings: Settings) -> OpenAIProvider:
    """Make the provider named openai, or one of its kind under another name."""
    return OpenAIProvider(settings)
