"""Which model is asked by default, what a model refuses, and when models end."""

from __future__ import annotations

import re
from collections.abc import Mapping

from understudy import ResponseWarning

# The model that google-genai 3.4.0 names in its own documentation; generally available since 2026-09-02.
# https://ai.google.dev/gemini-api/docs/latest-model, read 2026-11-23.
DEFAULT_MODEL = "gemini-3.8-flash"

_VERSION = re.compile(r"gemini-(\d+)(?:\.(\d+))?-")

# Since these versions temperature, topP and topK do nothing (and are announced to become an error), and a conversation
# that ends with the model's own words is answered 400 "Requests ending with a model turn are not supported."
# https://ai.google.dev/gemini-api/docs/whats-new-gemini-3.6, read 2026-11-23.
_FIXED_SAMPLING_SINCE = (3, 6)
_FIXED_SAMPLING_BESIDES = ("gemini-3.5-flash-lite", "gemini-flash-latest", "gemini-flash-lite-latest")

# From this version up to those above, a model goes on from its own words at the end: "Prefilling model turns is no
# longer supported" from those above on. https://ai.google.dev/gemini-api/docs/latest-model, read 2026-11-23.
_PREFILL_SINCE = (2, 0)

# Since this version the first tool call of a model's turn must carry its signature, or 400.
# https://ai.google.dev/gemini-api/docs/thought-signatures, read 2026-11-23.
_SIGNED_CALLS_SINCE = (3, 0)

# Beginning of the name: the day it ends or ended, and what to ask instead. The longest beginning that fits counts.
# https://ai.google.dev/gemini-api/docs/deprecations, read 2026-11-23.
_ENDINGS: Mapping[str, tuple[str, str]] = {
    "gemini-pro-vision": ("2025-02-15", "gemini-3.8-flash"),
    "gemini-1.0": ("2025-02-15", "gemini-3.8-flash"),
    "gemini-1.5": ("2025-09-24", "gemini-3.8-flash"),
    "gemini-2.0-flash-lite": ("2026-06-01", "gemini-3.5-flash-lite"),
    "gemini-2.0": ("2026-06-01", "gemini-3.8-flash"),
    "gemini-2.5-flash": ("2026-12-01", "gemini-3.5-flash-lite"),
    "gemini-2.5-pro": ("2026-12-01", "gemini-3.8-flash"),
    "gemini-3-pro-preview": ("2026-03-09", "gemini-3.1-pro-preview"),
}
_ENDINGS_EXACT: Mapping[str, tuple[str, str]] = {"gemini-pro": ("2025-02-15", "gemini-3.8-flash")}
_NO_ENDING = ("gemini-2.5-flash-lite",)  # "remains available through the API until further notice"


def takes_sampling(model: str) -> bool:
    """Return whether temperature has an effect on a model."""
    return not _since(model, _FIXED_SAMPLING_SINCE)


def takes_prefill(model: str) -> bool | None:
    """Return whether a model goes on from an assistant's message at the end; None where the name does not tell."""
    if _since(model, _FIXED_SAMPLING_SINCE):
        return False
    return _since(model, _PREFILL_SINCE) or None


def wants_signed_calls(model: str) -> bool:
    """Return whether a tool call in the conversation must carry a signature."""
    return _since(model, _SIGNED_CALLS_SINCE)


def ending_warnings(model: str) -> tuple[ResponseWarning, ...]:
    """Return a warning that names the successor, for a model that has ended or has a day set for it."""
    name = _bare(model)
    ending = _ENDINGS_EXACT.get(name)
    if ending is None and not name.startswith(_NO_ENDING):
        fitting = [start for start in _ENDINGS if name.startswith(start)]
        ending = _ENDINGS[max(fitting, key=len)] if fitting else None
    if ending is None:
        return ()
    day, successor = ending
    return (ResponseWarning("model", f"{model} ends on {day}, or has ended: ask {successor} instead"),)


def _since(model: str, version: tuple[int, int]) -> bool:
    name = _bare(model)
    found = _VERSION.match(name)
    if found is None:
        return name.startswith(_FIXED_SAMPLING_BESIDES)
    reached = (int(found[1]), int(found[2] or 0)) >= version
    return reached or name.startswith(_FIXED_SAMPLING_BESIDES)


def _bare(model: str) -> str:
    """Cut what may stand before a model's name: "models/", or a project and a publisher on Vertex AI."""
    return model.rpartition("/")[2]
