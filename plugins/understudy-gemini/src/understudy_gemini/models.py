"""What is known of Gemini's models: which is asked by default, who answers for whom, what each takes, when it ends."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Any, NamedTuple

from understudy import ResponseWarning
from understudy_toolkit.model_rules import ModelRule
from understudy_toolkit.thinking import ROOM, SHORT_ANSWER

VERTEX = "vertex"  # the provider that asks Vertex AI, where names, endings and places are others
_READ = "2026-11-30"

# Made for classification, routing and extraction, and thinks minimally unless told otherwise: an answer to a short
# prompt took 0.6 s on average where gemini-3.8-flash took 1.5 s, at a third to a half of its price, with 1 to 3 of 100
# answers fewer right. docs/decisions/0040 has the reasons. It is on Vertex AI too.
# https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/gemini/3-5-flash-lite, read 2026-11-30.
DEFAULT_MODEL = "gemini-3.5-flash-lite"
_DEFAULT_PAGE = "https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/gemini/3-5-flash-lite"

# US dollars for a million tokens in and out. https://ai.google.dev/gemini-api/docs/pricing as in genai-prices 0.2.3.
_PRICE = (0.30, 2.50)
_PRICE_PAGE = "https://ai.google.dev/gemini-api/docs/pricing"

# Seconds until a whole short answer, on average: of 137 prompts, and of 487. Measured on 2026-09-03.
_FIRST_ANSWER = (0.58, 0.79)
_FIRST_ANSWER_PAGE = "https://github.com/opencues/opencues/pull/428"

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
# begins with them (gemini-2.5-flash-lite, gemini-2.5-flash-image) is something else, and Vertex AI does none of this.
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

# Since this version the first tool call of a model's turn must carry its signature, or 400.
# https://ai.google.dev/gemini-api/docs/thought-signatures, read 2026-11-23.
_SIGNED_CALLS_SINCE = (3, 0)
_SIGNED_CALLS_PAGE = "https://ai.google.dev/gemini-api/docs/thought-signatures"

# Since this version Vertex AI has a model in these places alone; a single region answers 404 "Publisher Model ... was
# not found or your project does not have access to it" (https://github.com/BerriAI/litellm/issues/37989). Google's page
# of the latest, gemini-4-argon, says the same, read 2026-11-30:
# https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/start/get-started-with-gemini-4
_LARGE_PLACES_SINCE = (3, 0)
LARGE_PLACES = ("global", "us", "eu")
_PLACES_PAGE = "https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/start/get-started-with-gemini-4"

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

# On Vertex AI these have ended, and answer those who used them before, at a higher price from 2027-01-28 on.
# Google's notice, as quoted at https://github.com/dimagi/open-chat-studio/issues/4008, read 2026-11-30.
_ENDINGS_ON_VERTEX: Mapping[str, tuple[date, str]] = {
    "gemini-2.5-pro": (date(2026, 10, 20), "gemini-3.8-flash"),
    "gemini-2.5-flash": (date(2026, 10, 20), "gemini-3.5-flash-lite"),
    "gemini-2.5-flash-lite": (date(2026, 10, 20), "gemini-3.5-flash-lite"),
}
_ENDINGS_ON_VERTEX_PAGE = "https://github.com/dimagi/open-chat-studio/issues/4008"


class Thinking(NamedTuple):
    """How a model thinks.

    Args:
        usual: how much, unless it is told otherwise: a level of understudy_toolkit.thinking.ROOM.
        little: the thinkingConfig by which it thinks little; None where it does so by itself, or cannot be told.
        stops: whether a budget of 0 keeps it from thinking.
        most: most tokens of thinking and answer together.
    """

    usual: str
    little: Mapping[str, Any] | None = None
    stops: bool = False
    most: int = 65_536


_LOW = MappingProxyType({"thinkingLevel": "LOW"})
# What Google itself makes of the effort "low" for these. https://ai.google.dev/gemini-api/docs/openai, read 2026-11-30.
_SMALL_BUDGET = MappingProxyType({"thinkingBudget": 1024})

# By the beginning of the name; the longest that fits counts. LOW is taken by all that have levels; MINIMAL is 400 for
# 3.7, 3.8, 4 and every pro (with the replies: https://github.com/theJayTea/WritingTools/issues/282). Models of 2.5 have
# budgets instead, and answer 400 to a level (https://github.com/RooCodeInc/Roo-Code/issues/10700).
# https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/thinking, and for gemini-4-argon
# https://ai.google.dev/gemini-api/docs/latest-model, all read 2026-11-30.
_THINKING: Mapping[str, Thinking] = {
    "gemini-2.5-flash-lite": Thinking("none", stops=True),
    "gemini-2.5-flash": Thinking("medium", _SMALL_BUDGET, stops=True),
    "gemini-2.5-pro": Thinking("high", _SMALL_BUDGET),
    "gemini-3-": Thinking("high", _LOW),
    "gemini-3.1-pro": Thinking("high", _LOW),
    "gemini-3.1-flash-lite": Thinking("minimal"),
    "gemini-3.5-flash-lite": Thinking("minimal"),
    "gemini-3.5-flash": Thinking("medium", _LOW),
    "gemini-3.6-flash": Thinking("medium", _LOW),
    "gemini-3.7-flash": Thinking("medium", _LOW),
    "gemini-3.8-flash": Thinking("medium", _LOW),
    "gemini-4-argon": Thinking("medium", _LOW, most=32_768),  # more needs a call of another kind
    "gemini-pro-latest": Thinking("high", _LOW),
}
_THINKING_PAGE = "https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/thinking"
_THINKS_SINCE = (3, 0)  # later models that are not named above think too, nobody knows how: they get room, and no level


def answering_model(model: str, today: date, provider: str) -> str:
    """Return the model that answers where this one is asked: its rules are those that count."""
    name = _bare(model)
    if provider == VERTEX:
        return name
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
    """Return whether a tool call in the conversation must carry a signature."""
    return _since(model, _SIGNED_CALLS_SINCE)


def thinking_of(model: str) -> Thinking | None:
    """Return how a model thinks; None where it is not known to."""
    name = _bare(model)
    if _OTHER_KIND.search(name):
        return None
    fitting = [start for start in _THINKING if name.startswith(start)]
    if fitting:
        return _THINKING[max(fitting, key=len)]
    return Thinking("high") if _since(name, _THINKS_SINCE) else None


def misplaced(model: str, location: str | None, variable: str) -> str | None:
    """Say that Vertex AI does not have a model in a place, and what to set.

    Args:
        model: the model that is to be asked.
        location: the place; None for Google AI Studio, which has none.
        variable: the setting that names the place.

    Returns:
        The words, or None where nothing speaks against it.
    """
    if location is None or location in LARGE_PLACES or not _since(model, _LARGE_PLACES_SINCE):
        return None
    return (
        f"{variable} is {location}, and Vertex AI has {_bare(model)} in {', '.join(LARGE_PLACES)} alone: set "
        "VERTEX_LOCATION to one of these (us and eu keep the data there), or ask a model of that region"
    )


def ending_warnings(model: str, today: date, provider: str) -> tuple[ResponseWarning, ...]:
    """Return a warning that names the successor, for a model that has one: by a day that has come, or has been set."""
    name = _bare(model)
    if provider != VERTEX and name in _ROUTED:
        day, successor = _ROUTED[name]
        when = f"since {day}" if today >= day else f"from {day} on"
        words = f"{model} is answered by {successor} {when}, by its rules and at its price: ask that by its name"
        return (ResponseWarning("model", words),)
    ending = _ENDINGS_EXACT.get(name) or (_ENDINGS_ON_VERTEX.get(name) if provider == VERTEX else None)
    if ending is None:
        fitting = [start for start in _ENDINGS if name.startswith(start)]
        ending = _ENDINGS[max(fitting, key=len)] if fitting else None
    if ending is None:
        return ()
    day, successor = ending
    return (ResponseWarning("model", f"{model} ends on {day}, or has ended: ask {successor} instead"),)


def _since(model: str, version: tuple[int, int]) -> bool:
    found = _VERSION.match(_bare(model))
    return found is not None and (int(found[1]), int(found[2] or 0)) >= version


def _bare(model: str) -> str:
    """Cut what may stand before a model's name: "models/", or a project and a publisher on Vertex AI."""
    return model.rpartition("/")[2]


# ---- The same for a page of the documentation ------------------------------------------------------------------------

# The fields of the default call, and what is left out on purpose.
WHY_SENT: Mapping[str, str] = {
    "generationConfig.maxOutputTokens": (
        f"max_tokens, and room to think, which counts within it: {ROOM['minimal']} tokens, as it thinks minimally"
    ),
    "header x-server-timeout": (
        "the time that an answer may take, but never less than 10 s, which is refused: the client gives up by itself"
    ),
    "not sent: generationConfig.temperature": "this model ignores it; a warning on the answer says so",
    "not sent: generationConfig.thinkingConfig": "this model thinks minimally by default, which suits a short answer",
}


def rules() -> tuple[ModelRule, ...]:
    """Return what is known of the models, as rows with their sources."""
    fixed = f"gemini-{_written(_FIXED_SAMPLING_SINCE)} and later, {', '.join(_FIXED_SAMPLING_BESIDES)}"
    signed = f"gemini-{_written(_SIGNED_CALLS_SINCE)} and later"
    large = f"gemini-{_written(_LARGE_PLACES_SINCE)} and later"
    return (
        ModelRule(
            *("default model", DEFAULT_MODEL),
            "made for classification, routing and extraction, thinks minimally by default; asked on Vertex AI too",
            *(_DEFAULT_PAGE, _READ),
        ),
        ModelRule(
            *("price", DEFAULT_MODEL),
            f"${_PRICE[0]:.2f} for a million tokens in, ${_PRICE[1]:.2f} for a million out",
            *(_PRICE_PAGE, _READ),
        ),
        ModelRule(
            *("first answer", DEFAULT_MODEL),
            f"{_FIRST_ANSWER[0]} to {_FIRST_ANSWER[1]} s on average for a short one",
            *(_FIRST_ANSWER_PAGE, _READ),
        ),
        *_ending_rules(),
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
            "a tool call that comes back without the signature of its thinking is refused: those of other vendors are "
            "marked as such, and signatures that are refused are left out once more",
            *(_SIGNED_CALLS_PAGE, "2026-11-23"),
        ),
        *_thinking_rules(),
        ModelRule(
            *("region", large),
            f"on Vertex AI in {', '.join(LARGE_PLACES)} alone; with another location nothing is sent, and the reason "
            "says what to set",
            *(_PLACES_PAGE, _READ),
        ),
        ModelRule(
            *("limit", "all"),
            "X-Server-Timeout below 10 s is refused: at least 10 is sent, and the client keeps the shorter time itself",
            *("https://github.com/livekit/agents/issues/3723", _READ),
        ),
    )


def _ending_rules() -> tuple[ModelRule, ...]:
    rows = [
        ModelRule("ending", model, f"answered by {successor} from {day} on, with a warning", _ROUTED_PAGE, _READ)
        for model, (day, successor) in _ROUTED.items()
    ]
    rows += [
        ModelRule("ending", model, f"{day}; ask {successor} instead", _ENDINGS_PAGE, "2026-11-23")
        for model, (day, successor) in {**_ENDINGS, **_ENDINGS_EXACT}.items()
    ]
    rows += [
        ModelRule("ending", f"{model} on Vertex AI", f"{day}; ask {new} instead", _ENDINGS_ON_VERTEX_PAGE, _READ)
        for model, (day, new) in _ENDINGS_ON_VERTEX.items()
    ]
    return tuple(rows)


def _thinking_rules() -> tuple[ModelRule, ...]:
    return tuple(
        ModelRule("thinking", f"{start}*" if start.endswith("-") else start, _said(thinking), _THINKING_PAGE, _READ)
        for start, thinking in _THINKING.items()
    )


def _said(thinking: Thinking) -> str:
    if thinking.usual == "none":
        return "does not think unless it is asked to: no room is asked for"
    words = f"thinks at {thinking.usual!r} by default: {ROOM[thinking.usual]} tokens of room"
    if thinking.little is not None:
        ((name, value),) = thinking.little.items()
        words += f"; asked for {name} {value} where max_tokens is at most {SHORT_ANSWER} and no thinkingConfig is given"
    return f"{words}; {thinking.most} at most with the answer"


def _written(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}" if version[1] else str(version[0])
