"""The options of a request that only Gemini has: those that google-generativeai has a place for."""

from __future__ import annotations

from typing import Any

from understudy_gemini_wire import options as shared
from understudy_gemini_wire.options import MEMBERS, Options

PROVIDER = "gemini-legacy"  # the key of options: what the newer SDK takes there, this one may not know


def add_options(body: dict[str, Any], options: Options, provider: str) -> None:
    """Put a request's options into a body.

    Args:
        body: the body; it is changed.
        options: all options of the request, by provider.
        provider: the name that the provider goes by, whose options count besides those of gemini-legacy.
    """
    shared.add_options(body, options, (PROVIDER, provider), MEMBERS)


def own_config(options: Options, provider: str) -> dict[str, Any]:
    """Return the part of the generationConfig that a request's options make."""
    return shared.own_config(options, (PROVIDER, provider), MEMBERS)
