"""What is known of Gemini's models: which is asked by default, who answers for whom, what each takes, when it ends."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any, NamedTuple

from understudy import Request, ResponseWarning
from understudy_toolkit.model_rules import ModelRule
from understudy_toolkit.thinking import MORE_ROOM, ROOM, room_to_think

_READ = "2026-11-30"

# The one model that google-generativeai can give all of a conversation to, results of tools included, and for which no
# end is set: "remains available through the API until further notice".
# https://ai.google.dev/gemini-api/docs/deprecations, read 2026-11-23. It does not think unless it is asked to.
# Projects that did not use it before are answered 404 (failures.py says what to set then). Those that are held to this
# SDK are older ones, and NEWER_MODEL would take results of tools from them, at three to six times the price.
DEFAULT_MODEL = "gemini-2.5-flash-lite"
NEWER_MODEL = "gemini-3.5-flash-lite"  # which every project may ask
_DEFAULT_PAGE = "https://ai.google.dev/gemini-api/docs/deprecations"

# US dollars for a million tokens in and out. https://ai.google.dev/gemini-api/docs/pricing as in genai-prices 0.2.3.
_PRICE = (0.10, 0.40)
_PRICE_PAGE = "https://ai.google.dev/gemini-api/docs/pricing"

# Seconds until the first token of an answer, and until the last of one of 159 tokens. Measured on 2026-05-24.
_FIRST_ANSWER = (2.0, 2.4)
_FIRST_ANSWER_PAGE = (
    "https://dev.to/jangwook_kim_e31e7291ad98/"
    "gemini-api-model-selection-guide-2026-speed-cost-and-quality-trade-offs-measured-directly-from-36ap"
)

_VERSION = re.compile(r"gemini-(\d+)(?:\.(\d+))?-")
# Models of the same names that speak, draw or listen: what is said here of thinking does not hold for them.
_OTHER_KIND = re.compile(r"-(?:image|tts|live|native-audio|transcribe|computer-use|embedding)\b")

# Names that Google lets mean its latest model. genai-prices 0.2.3, data.py, and which model was seen to answer:
# https://github.com/theJayTea/WritingTools/issues/282, both read 2026-11-30.
_ALIASES: Mapping[str, str] = {
    "gemini-flash-latest": "gemini-3.8-flash",
    "gemini-flash-lite-latest": "gemini-3.5-flash-lite",
}

# From that day on the Gemini API has another model answer, by that one's rules and at its price. The names alone: what
# begins with them (gemini-2.5-flash-lite, gemini-2.5-flash-image) is something else.
# https://dev.to/aideprecations/what-to-do-before-gemini-25-pro-and-25-flash-are-retired-on-december-1-2026-5gg9, which
# quotes https://ai.google.dev/gemini-api/docs/deprecations as of 2026-11-10, read 2026-11-30.
_ROUTED: Mapping[str, tuple[date, str]] = {
    "gemini-2.5-flash": (date(2026, 12, 1), "gemini-3.5-flash-lite"),
    "gemini-2.5-pro": (date(2026, 12, 1), "gemini-3.8-flash"),
}
_ROUTED_PAGE = (
    "https://dev.to/aideprecations/what-to-do-before-gemini-25-pro-and-25-flash-are-retired-on-december-1-2026-5gg9"
)

# Since these versions temperature, topP and topK do nothing (and are announced to become an error), and a conversation
# that ends with the model's own words is answered 400 "Requests ending with a model turn are not supported."
# https://ai.google.dev/gemini-api/docs/whats-new-gemini-3.6, read 2026-11-23.
_FIXED_SAMPLING_SINCE = (3, 6)
_FIXED_SAMPLING_BESIDES = ("gemini-3.5-flash-lite",)
_FIXED_SAMPLING_PAGE = "https://ai.google.dev/gemini-api/docs/whats-new-gemini-3.6"

# From this version up to those above, a model goes on from its own words at the end: "Prefilling model turns is no
# longer supported" from those above on. https://ai.google.dev/gemini-api/docs/latest-model, read 2026-11-23.
_PREFILL_SINCE = (2, 0)

# Since this version the first tool call of a model's turn must carry its signature, or 400. google-generativeai has no
# place for it, so such a model cannot be given the results of its calls.
# https://ai.google.dev/gemini-api/docs/thought-signatures, read 2026-11-23.
_SIGNED_CALLS_SINCE = (3, 0)
_SIGNED_CALLS_PAGE = "https://ai.google.dev/gemini-api/docs/thought-signatures"

# Beginning of the name: the day it ends or ended, and what to ask instead. The longest beginning that fits counts.
# https://ai.google.dev/gemini-api/docs/deprecations, read 2026-11-23.
_ENDINGS: Mapping[str, tuple[date, str]] = {
    "gemini-pro-vision": (date(2025, 2, 15), "gemini-3.8-flash"),
    "gemini-1.0": (date(2025, 2, 15), "gemini-3.8-flash"),
    "gemini-1.5": (date(2025, 9, 24), "gemini-3.8-flash"),
    "gemini-2.0-flash-lite": (date(2026, 6, 1), "gemini-3.5-flash-lite"),
    "gemini-2.0": (date(2026, 6, 1), "gemini-3.8-flash"),
    "gemini-3-pro-preview": (date(2026, 3, 9), "gemini-3.1-pro-preview"),
}
_ENDINGS_EXACT: Mapping[str, tuple[date, str]] = {
    "gemini-pro": (date(2025, 2, 15), "gemini-3.8-flash"),
    "gemini-3.1-flash-lite-preview": (date(2026, 5, 25), "gemini-3.5-flash-lite"),
    "gemini-3.1-flash-lite": (date(2027, 5, 7), "gemini-3.5-flash-lite"),
}
_ENDINGS_PAGE = "https://ai.google.dev/gemini-api/docs/deprecations"

# How much a model thinks by default, as a level of understudy_toolkit.thinking.ROOM, by the beginning of its name; the
# longest that fits counts. google-generativeai has no place for a thinkingConfig, so nothing else can be asked of them.
# https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/thinking, and for gemini-4-argon
# https://ai.google.dev/gemini-api/docs/latest-model, read 2026-11-30.
_THINKING: Mapping[str, str] = {
    "gemini-2.5-flash-lite": "none",
    "gemini-2.5-flash": "medium",
    "gemini-2.5-pro": "high",
    "gemini-3-": "high",
    "gemini-3.1-pro": "high",
    "gemini-3.1-flash-lite": "minimal",
    "gemini-3.5-flash-lite": "minimal",
    "gemini-3.5-flash": "medium",
    "gemini-3.6-flash": "medium",
    "gemini-3.7-flash": "medium",
    "gemini-3.8-flash": "medium",
    "gemini-4-argon": "medium",
    "gemini-pro-latest": "high",
}
_THINKING_PAGE = "https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/thinking"
_THINKS_SINCE = (3, 0)  # later models that are not named above think too, nobody knows how much
_MOST, _MOST_OF_4 = 65_536, 32_768  # tokens of thinking and answer together; for more, 4 needs a call of another kind


class Room(NamedTuple):
    """What is done for one request about thinking, which counts within Google's limit.

    Args:
        level: how much the model will think: a key of ROOM; "none" where it does not, or is not known to.
        tokens: to ask for besides those of the answer.
        adaptation: how the answer may come after all where thinking used up the tokens; None where nothing helps.
    """

    level: str = "none"
    tokens: int = 0
    adaptation: str | None = None


def answering_model(model: str, today: date) -> str:
    """Return the model that answers where this one is asked: its rules are those that count."""
    name = _bare(model)
    day, successor = _ROUTED.get(name, (date.max, name))
    return successor if today >= day else _ALIASES.get(name, name)


def takes_sampling(model: str) -> bool:
    """Return whether temperature has an effect on a model."""
    return not _since(model, _FIXED_SAMPLING_SINCE) and not _bare(model).startswith(_FIXED_SAMPLING_BESIDES)


def takes_prefill(model: str) -> bool | None:
    """Return whether a model goes on from an assistant's message at the end; None where the name does not tell."""
    if not takes_sampling(model):
        return False
    return _since(model, _PREFILL_SINCE) or None


def wants_signed_calls(model: str) -> bool:
    """Return whether a tool call must go back with its signature, which google-generativeai cannot carry."""
    return _since(model, _SIGNED_CALLS_SINCE)


def room_for(request: Request, model: str, own: Mapping[str, Any], today: date) -> Room:
    """Return how many tokens to ask for besides those of the answer.

    Args:
        request: what is asked.
        model: the model that is asked.
        own: the part of the generationConfig that the request's options make: a limit in it stands as it is.
        today: the day, which decides who answers.
    """
    answering = answering_model(model, today)
    level = _level_of(answering)
    if "maxOutputTokens" in own:
        return Room(level)
    most = _MOST_OF_4 if _since(answering, (4, 0)) else _MOST
    tokens = room_to_think(level, request.max_tokens, most, request.adaptation)
    grows = room_to_think(level, request.max_tokens, most, MORE_ROOM) > tokens
    return Room(level, tokens, MORE_ROOM if grows else None)


def ending_warnings(model: str, today: date) -> tuple[ResponseWarning, ...]:
    """Return a warning that names the successor, for a model that has one: by a day that has come, or has been set."""
    name = _bare(model)
    if name in _ROUTED:
        day, successor = _ROUTED[name]
        when = f"since {day}" if today >= day else f"from {day} on"
        words = f"{model} is answered by {successor} {when}, by its rules and at its price: ask that by its name"
        return (ResponseWarning("model", words),)
    ending = _ENDINGS_EXACT.get(name)
    if ending is None:
        fitting = [start for start in _ENDINGS if name.startswith(start)]
        ending = _ENDINGS[max(fitting, key=len)] if fitting else None
    if ending is None:
        return ()
    day, successor = ending
    return (ResponseWarning("model", f"{model} ends on {day}, or has ended: ask {successor} instead"),)


def _level_of(name: str) -> str:
    if _OTHER_KIND.search(name):
        return "none"
    fitting = [start for start in _THINKING if name.startswith(start)]
    if fitting:
        return _THINKING[max(fitting, key=len)]
    return "high" if _since(name, _THINKS_SINCE) else "none"


def _since(model: str, version: tuple[int, int]) -> bool:
    found = _VERSION.match(_bare(model))
    return found is not None and (int(found[1]), int(found[2] or 0)) >= version


def _bare(model: str) -> str:
    """Cut the "models/" that may stand before a model's name."""
    return model.rpartition("/")[2]


# ---- The same for a page of the documentation ------------------------------------------------------------------------

# The fields of the default call, and what is left out on purpose.
WHY_SENT: Mapping[str, str] = {
    "generationConfig.maxOutputTokens": "max_tokens; this model does not think, so it needs no room besides",
    "generationConfig.temperature": "the temperature of the call, which this model takes",
    "not sent: generationConfig.thinkingConfig": "google-generativeai has no place for it",
}


def rules() -> tuple[ModelRule, ...]:
    """Return what is known of the models, as rows with their sources."""
    fixed = f"gemini-{_written(_FIXED_SAMPLING_SINCE)} and later, {', '.join(_FIXED_SAMPLING_BESIDES)}"
    signed = f"gemini-{_written(_SIGNED_CALLS_SINCE)} and later"
    rows = [
        ModelRule(
            *("default model", DEFAULT_MODEL),
            "the newest that google-generativeai can give results of tools to; only projects that used it before may "
            f"ask it, and a new one is told to set GEMINI_LEGACY_MODEL={NEWER_MODEL}",
            *(_DEFAULT_PAGE, _READ),
        ),
        ModelRule(
            *("price", DEFAULT_MODEL),
            f"${_PRICE[0]:.2f} for a million tokens in, ${_PRICE[1]:.2f} for a million out",
            *(_PRICE_PAGE, _READ),
        ),
        ModelRule(
            *("first answer", DEFAULT_MODEL),
            f"{_FIRST_ANSWER[0]} s until the first token, {_FIRST_ANSWER[1]} s for a short answer",
            *(_FIRST_ANSWER_PAGE, _READ),
        ),
    ]
    rows += [
        ModelRule("ending", model, f"answered by {successor} from {day} on, with a warning", _ROUTED_PAGE, _READ)
        for model, (day, successor) in _ROUTED.items()
    ]
    rows += [
        ModelRule("ending", model, f"{day}; ask {successor} instead", _ENDINGS_PAGE, "2026-11-23")
        for model, (day, successor) in {**_ENDINGS, **_ENDINGS_EXACT}.items()
    ]
    rows += [
        ModelRule(
            *("sampling", fixed),
            "temperature does nothing: left out, with a warning",
            *(_FIXED_SAMPLING_PAGE, "2026-11-23"),
        ),
        ModelRule(
            *("prefill", fixed),
            "a conversation that ends with the assistant's words is refused: the next provider is asked",
            *(_FIXED_SAMPLING_PAGE, "2026-11-23"),
        ),
        ModelRule(
            *("thinking", signed),
            "a tool call that comes back without its signature is refused, and the SDK cannot carry one: the next "
            "provider is asked once a tool has answered",
            *(_SIGNED_CALLS_PAGE, "2026-11-23"),
        ),
    ]
    rows += [
        ModelRule("room to think", f"{start}*" if start.endswith("-") else start, _said(level), _THINKING_PAGE, _READ)
        for start, level in _THINKING.items()
    ]
    return tuple(rows)


def _said(level: str) -> str:
    if level == "none":
        return "does not think: no room is asked for"
    return f"thinks at {level!r}, which cannot be chosen here: {ROOM[level]} tokens besides max_tokens"


def _written(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}" if version[1] else str(version[0])
