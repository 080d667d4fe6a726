"""The options of a request that only Gemini has, as both providers take them: those of the family, and one's own."""

from __future__ import annotations

from typing import Any

from understudy_gemini_wire import options as shared
from understudy_gemini_wire.options import FAMILY, MEMBERS, Options

# What google-genai's API has besides, on Vertex AI or not.
_MEMBERS = MEMBERS | {"continuationToken", "labels", "serviceTier", "store"}


def add_options(body: dict[str, Any], options: Options, provider: str) -> None:
    """Put a request's options into a body.

    Args:
        body: the body; it is changed.
        options: all options of the request, by provider.
        provider: whose options count besides those of the family, and above them.
    """
    shared.add_options(body, options, (FAMILY, provider), _MEMBERS)


def own_config(options: Options, provider: str) -> dict[str, Any]:
    """Return the part of the generationConfig that a request's options make."""
    return shared.own_config(options, (FAMILY, provider), _MEMBERS)
