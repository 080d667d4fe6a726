"""What is known of Gemini's models, for all providers: which answers for which, what each supports, when it ends."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from types import MappingProxyType
from typing import Any, NamedTuple

from understudy import ResponseWarning
from understudy_toolkit.model_rules import ModelRule

__all__ = [
    "FIXED_SAMPLING",
    "SIGNED_CALLS",
    "SIGNED_CALLS_PAGE",
    "THINKING",
    "THINKING_PAGE",
    "Thinking",
    "answering_model",
    "bare",
    "ending_warnings",
    "price",
    "rules",
    "since",
    "takes_prefill",
    "takes_sampling",
    "thinking_of",
    "wants_signed_calls",
    "written",
]

_READ = "2026-11-30"

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
SIGNED_CALLS_PAGE = "https://ai.google.dev/gemini-api/docs/thought-signatures"

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


_MOST_OF_4 = 32_768  # tokens of thinking and answer together, of models from 4 on: more needs a call of another kind
_LOW = MappingProxyType({"thinkingLevel": "LOW"})
# What Google itself makes of the effort "low" for these. https://ai.google.dev/gemini-api/docs/openai, read 2026-11-30.
_SMALL_BUDGET = MappingProxyType({"thinkingBudget": 1024})

# By the beginning of the name; the longest that fits counts. LOW is taken by all that have levels; MINIMAL is 400 for
# 3.7, 3.8, 4 and every pro (with the replies: https://github.com/theJayTea/WritingTools/issues/282). Models of 2.5 have
# budgets instead, and answer 400 to a level (https://github.com/RooCodeInc/Roo-Code/issues/10700).
# https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/thinking, and for gemini-4-argon
# https://ai.google.dev/gemini-api/docs/latest-model, all read 2026-11-30.
THINKING: Mapping[str, Thinking] = {
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
    "gemini-4-argon": Thinking("medium", _LOW, most=_MOST_OF_4),
    "gemini-pro-latest": Thinking("high", _LOW),
}
THINKING_PAGE = "https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/thinking"
_THINKS_SINCE = (3, 0)  # later models that are not named above think too, nobody knows how: they get room, and no level


def answering_model(model: str, today: date, *, on_vertex: bool = False) -> str:
    """Return the model that answers where this one is asked: its rules are those that count."""
    name = bare(model)
    if on_vertex:
        return name
    day, successor = _ROUTED.get(name, (date.max, name))
    return successor if today >= day else _ALIASES.get(name, name)


def takes_sampling(model: str) -> bool:
    """Return whether temperature has an effect on a model."""
    return not since(model, _FIXED_SAMPLING_SINCE) and not bare(model).startswith(_FIXED_SAMPLING_BESIDES)


def takes_prefill(model: str) -> bool | None:
    """Return whether a model continues an assistant's message at the end; None if the name does not show it."""
    if not takes_sampling(model):
        return False
    return since(model, _PREFILL_SINCE) or None


def wants_signed_calls(model: str) -> bool:
    """Return whether a tool call in the conversation must carry a signature."""
    return since(model, _SIGNED_CALLS_SINCE)


def thinking_of(model: str) -> Thinking | None:
    """Return how a model thinks; None where it is not known to."""
    name = bare(model)
    if _OTHER_KIND.search(name):
        return None
    fitting = [start for start in THINKING if name.startswith(start)]
    if fitting:
        return THINKING[max(fitting, key=len)]
    if not since(name, _THINKS_SINCE):
        return None
    return Thinking("high", most=_MOST_OF_4) if since(name, (4, 0)) else Thinking("high")


def ending_warnings(model: str, today: date, *, on_vertex: bool = False) -> tuple[ResponseWarning, ...]:
    """Return a warning that names the successor, for a model that has one: by a date that has come, or is set."""
    name = bare(model)
    if not on_vertex and name in _ROUTED:
        day, successor = _ROUTED[name]
        when = f"since {day}" if today >= day else f"from {day} on"
        words = f"{model} is answered by {successor} {when}, by its rules and at its price: ask that by its name"
        return (ResponseWarning("model", words),)
    ending = _ENDINGS_EXACT.get(name) or (_ENDINGS_ON_VERTEX.get(name) if on_vertex else None)
    if ending is None:
        fitting = [start for start in _ENDINGS if name.startswith(start)]
        ending = _ENDINGS[max(fitting, key=len)] if fitting else None
    if ending is None:
        return ()
    day, successor = ending
    return (ResponseWarning("model", f"{model} retires on {day}, or has retired: ask {successor} instead"),)


def since(model: str, version: tuple[int, int]) -> bool:
    """Return whether a model is of this version or a later one, as far as its name tells."""
    found = _VERSION.match(bare(model))
    return found is not None and (int(found[1]), int(found[2] or 0)) >= version


def bare(model: str) -> str:
    """Cut what may stand before a model's name: "models/", or a project and a publisher on Vertex AI."""
    return model.rpartition("/")[2]


# ---- The same for a page of the documentation ------------------------------------------------------------------------


def written(version: tuple[int, int]) -> str:
    """Return a version as it stands in a model's name."""
    return f"{version[0]}.{version[1]}" if version[1] else str(version[0])


# The models for which something holds, in words.
FIXED_SAMPLING = f"gemini-{written(_FIXED_SAMPLING_SINCE)} and later, {', '.join(_FIXED_SAMPLING_BESIDES)}"
SIGNED_CALLS = f"gemini-{written(_SIGNED_CALLS_SINCE)} and later"

# US dollars for a million tokens in and out. https://ai.google.dev/gemini-api/docs/pricing as in genai-prices 0.2.3.
_PRICES: Mapping[str, tuple[float, float]] = {
    "gemini-2.5-flash-lite": (0.10, 0.40),
    "gemini-3.5-flash-lite": (0.30, 2.50),
}
_PRICE_PAGE = "https://ai.google.dev/gemini-api/docs/pricing"


def price(model: str) -> ModelRule:
    """Return the row that says what a model costs."""
    into, out = _PRICES[model]
    return ModelRule(
        "price", model, f"${into:.2f} for a million tokens in, ${out:.2f} for a million out", _PRICE_PAGE, _READ
    )


def rules(*, on_vertex: bool = False) -> Iterator[ModelRule]:
    """Yield what is known of the models, as rows with their sources.

    Args:
        on_vertex: whether the rows of Vertex AI shall be among them.
    """
    for model, (day, successor) in _ROUTED.items():
        yield ModelRule("ending", model, f"answered by {successor} from {day} on, with a warning", _ROUTED_PAGE, _READ)
    for model, (day, successor) in {**_ENDINGS, **_ENDINGS_EXACT}.items():
        yield ModelRule("ending", model, f"{day}; ask {successor} instead", _ENDINGS_PAGE, "2026-11-23")
    for model, (day, successor) in _ENDINGS_ON_VERTEX.items() if on_vertex else ():
        told = f"{day}; ask {successor} instead"
        yield ModelRule("ending", f"{model} on Vertex AI", told, _ENDINGS_ON_VERTEX_PAGE, _READ)
    yield ModelRule(
        *("sampling", FIXED_SAMPLING),
        "temperature does nothing: left out, with a warning",
        *(_FIXED_SAMPLING_PAGE, "2026-11-23"),
    )
    yield ModelRule(
        *("prefill", FIXED_SAMPLING),
        "a conversation that ends with the assistant's words is refused: the next provider is asked",
        *(_FIXED_SAMPLING_PAGE, "2026-11-23"),
    )
