"""Cohere for Understudy. Nothing here imports Cohere's SDK: that happens with the first request."""

from __future__ import annotations

from understudy import Settings, hookimpl
from understudy_cohere.provider import CohereProvider

__all__ = ["CohereProvider", "understudy_provider"]


@hookimpl
def understudy_provider(settings: Settings) -> CohereProvider:
    """Make the provider named cohere."""
    return CohereProvider(settings)
