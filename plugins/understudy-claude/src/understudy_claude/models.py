"""Which model is asked by default, what a model refuses, and when models end."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from understudy import ResponseWarning

# Current, and on no list of endings: anthropic 2.12.0, types/model.py and DEPRECATED_MODELS, read 2026-11-23.
# Not claude-haiku-4-5, although it takes a temperature: claude-sonnet-4-5, of the same age, ends on 2026-11-30.
DEFAULT_MODEL = "claude-sonnet-5-5"

# The API wants a limit with every request. 4096 tokens are about 3000 words, and every model that ever was allows them.
DEFAULT_MAX_TOKENS = 4096

# The last version of each family that takes temperature, top_p and top_k; families that are not here take none.
# Later ones answer 400 "`temperature` is deprecated for this model" (Anthropic's model documentation, 2026-11-23).
_SAMPLING = ("temperature", "top_p", "top_k")
_LAST_WITH_SAMPLING: Mapping[str, tuple[int, int]] = {
    "haiku": (4, 5),
    "instant": (1, 2),
    "opus": (4, 6),
    "sonnet": (4, 6),
}

# The last version of each family that goes on from an assistant's message at the end; families not here never do.
# Later ones answer 400 "This model does not support assistant message prefill." (anthropic 2.12.0,
# types/message_create_params.py; from which version on: Anthropic's documentation of migrating to 4.6, 2026-11-23).
_LAST_WITH_PREFILL: Mapping[str, tuple[int, int]] = {**_LAST_WITH_SAMPLING, "opus": (4, 5), "sonnet": (4, 5)}

_NAME = re.compile(r"claude-([a-z]+)-(?:(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)|preview)")

# Model: the day it ends, and what to ask instead. The days are DEPRECATED_MODELS of anthropic 2.12.0, read 2026-11-23.
_ENDINGS: Mapping[str, tuple[date, str]] = {
    "claude-1.3": (date(2024, 11, 6), "claude-sonnet-5-5"),
    "claude-1.3-100k": (date(2024, 11, 6), "claude-sonnet-5-5"),
    "claude-instant-1.1": (date(2024, 11, 6), "claude-haiku-5-5"),
    "claude-instant-1.1-100k": (date(2024, 11, 6), "claude-haiku-5-5"),
    "claude-instant-1.2": (date(2024, 11, 6), "claude-haiku-5-5"),
    "claude-2.0": (date(2025, 7, 21), "claude-sonnet-5-5"),
    "claude-2.1": (date(2025, 7, 21), "claude-sonnet-5-5"),
    "claude-3-sonnet-20240229": (date(2025, 7, 21), "claude-sonnet-5-5"),
    "claude-3-opus-20240229": (date(2026, 1, 5), "claude-opus-5-5"),
    "claude-3-5-haiku-latest": (date(2026, 2, 19), "claude-haiku-5-5"),
    "claude-3-5-haiku-20241022": (date(2026, 2, 19), "claude-haiku-5-5"),
    "claude-3-7-sonnet-latest": (date(2026, 2, 19), "claude-sonnet-5-5"),
    "claude-3-7-sonnet-20250219": (date(2026, 2, 19), "claude-sonnet-5-5"),
    "claude-opus-4-0": (date(2026, 6, 15), "claude-opus-5-5"),
    "claude-opus-4-20250514": (date(2026, 6, 15), "claude-opus-5-5"),
    "claude-sonnet-4-0": (date(2026, 6, 15), "claude-sonnet-5-5"),
    "claude-sonnet-4-20250514": (date(2026, 6, 15), "claude-sonnet-5-5"),
    "claude-mythos-preview": (date(2026, 6, 30), "claude-mythos-5-2"),
    "claude-sonnet-4-5": (date(2026, 11, 30), "claude-sonnet-5-5"),
    "claude-sonnet-4-5-20250929": (date(2026, 11, 30), "claude-sonnet-5-5"),
}


def takes_sampling(model: str) -> bool:
    """Return whether a model takes temperature, top_p and top_k; names that are not Anthropic's own are let through."""
    return _within(model, _LAST_WITH_SAMPLING) is not False


def takes_prefill(model: str) -> bool | None:
    """Return whether a model goes on from an assistant's message at the end; None where the name does not tell."""
    return _within(model, _LAST_WITH_PREFILL)


def thinks(body: Mapping[str, Any]) -> bool:
    """Return whether a request's body lets the model think."""
    thinking = body.get("thinking")
    return isinstance(thinking, Mapping) and thinking.get("type") in ("enabled", "adaptive")


def leave_out_refused(body: dict[str, Any], model: str) -> tuple[ResponseWarning, ...]:
    """Take out of a request's body the sampling settings that it would be refused for, and return what was done."""
    warnings: list[ResponseWarning] = []
    if not takes_sampling(model):
        for name in _SAMPLING:
            if body.pop(name, None) is not None:
                warnings.append(ResponseWarning(name, f"{name} was left out: {model} takes none"))
    temperature = body.get("temperature")
    if temperature is None:
        return tuple(warnings)
    if thinks(body) and temperature != 1:
        del body["temperature"]
        warnings.append(ResponseWarning("temperature", "temperature was left out: Claude takes none while it thinks"))
    elif temperature > 1:
        body["temperature"] = 1.0
        warnings.append(ResponseWarning("temperature", f"temperature {temperature:g} became 1.0, Claude's highest"))
    return tuple(warnings)


def ending_warnings(model: str) -> tuple[ResponseWarning, ...]:
    """Return a warning that names the successor, for a model that has ended or has a day set for it."""
    if model not in _ENDINGS:
        return ()
    day, successor = _ENDINGS[model]
    return (ResponseWarning("model", f"{model} ends on {day}, or has ended: ask {successor} instead"),)


def _within(model: str, last: Mapping[str, tuple[int, int]]) -> bool | None:
    found = _NAME.search(model)
    if found is None:
        return None
    family, major, minor = found.groups()
    return (int(major or 99), int(minor or 0)) <= last.get(family, (0, 0))  # a preview is the newest
