"""The options of a request that only Gemini has: into which member of its JSON each goes, above everything else."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

__all__ = ["FAMILY", "MEMBERS", "Options", "add_options", "own_config", "plain"]

FAMILY = "gemini"  # the key of provider_data, whoever asked: one vendor, one form

# The members of a request; any other option belongs in its generationConfig.
MEMBERS = frozenset(
    ("contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings", "cachedContent")
)

Options = Mapping[str, Mapping[str, Any]]  # all options of a request, by provider


def add_options(body: dict[str, Any], options: Options, names: Sequence[str], members: Collection[str]) -> None:
    """Put a request's options into a body.

    Args:
        body: the body; it is changed.
        options: all options of the request.
        names: whose options count, those of the last above the others.
        members: the members of a body; any other option belongs in its generationConfig.
    """
    for name, value in [pair for key in dict.fromkeys(names) for pair in options.get(key, {}).items()]:
        if name == "tools":
            body["tools"] = [*body.get("tools", ()), *plain(value)]
        elif name in members:
            _merge(body, name, plain(value))
        else:
            _merge(body.setdefault("generationConfig", {}), name, plain(value))


def own_config(options: Options, names: Sequence[str], members: Collection[str]) -> dict[str, Any]:
    """Return the part of the generationConfig that a request's options make."""
    if not any(name in options for name in names):
        return {}
    body: dict[str, Any] = {}
    add_options(body, options, names, members)
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
