"""Claude for Understudy. Nothing here imports Anthropic's SDK: that happens with the first request."""

from __future__ import annotations

from understudy import Settings, hookimpl
from understudy_claude.provider import ClaudeProvider

__all__ = ["ClaudeProvider", "understudy_provider"]


@hookimpl
def understudy_provider(settings: Settings) -> ClaudeProvider:
    """Make the provider named claude."""
    return ClaudeProvider(settings)
