"""The options of a request that only Gemini has: into which member of its JSON each goes, above everything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FAMILY = "gemini"  # the key of provider_data and of options, on Vertex AI too

# The members of a request; any other option belongs into its generationConfig.
_MEMBERS = frozenset(
    (
        *("contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings"),
        *("cachedContent", "continuationToken", "labels", "serviceTier", "store"),
    )
)


def add_options(body: dict[str, Any], options: Mapping[str, Mapping[str, Any]], provider: str) -> None:
    """Put a request's options into a body.

    Args:
        body: the body; it is changed.
        options: all options of the request, by provider.
        provider: whose options count besides those of the family, and above them.
    """
    for name, value in [pair for key in dict.fromkeys((FAMILY, provider)) for pair in options.get(key, {}).items()]:
        if name == "tools":
            body["tools"] = [*body.get("tools", ()), *plain(value)]
        elif name in _MEMBERS:
            _merge(body, name, plain(value))
        else:
            _merge(body.setdefault("generationConfig", {}), name, plain(value))


def own_config(options: Mapping[str, Mapping[str, Any]], provider: str) -> dict[str, Any]:
    """Return the part of the generationConfig that a request's options make."""
    if FAMILY not in options and provider not in options:
        return {}
    body: dict[str, Any] = {}
    add_options(body, options, provider)
    config = body.get("generationConfig")
    return config if isinstance(config, dict) else {}


def plain(value: Any) -> Any:
    """Copy a value so that it is of dicts and lists, which JSON can be written of."""
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def _merge(target: dict[str, Any], name: str, value: Any) -> None:
    if isinstance(value, dict) and isinstance(target.get(name), dict):
        for inner, inner_value in value.items():
            _merge(target[name], inner, inner_value)
    else:
        target[name] = value
