"""What is known of the models that are asked here, and their places on Vertex AI; of all models, the shared package."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from understudy import ResponseWarning
from understudy_gemini_wire import models as shared
from understudy_gemini_wire.models import THINKING, THINKING_PAGE, Thinking, bare, since, written
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

# Seconds until a whole short answer, on average: of 137 prompts, and of 487. Measured on 2026-09-03.
_FIRST_ANSWER = (0.58, 0.79)
_FIRST_ANSWER_PAGE = "https://github.com/opencues/opencues/pull/428"

# Since this version Vertex AI has a model in these places alone; a single region answers 404 "Publisher Model ... was
# not found or your project does not have access to it" (https://github.com/BerriAI/litellm/issues/37989). Google's page
# of the latest, gemini-4-argon, says the same, read 2026-11-30:
# https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/start/get-started-with-gemini-4
_LARGE_PLACES_SINCE = (3, 0)
LARGE_PLACES = ("global", "us", "eu")
_PLACES_PAGE = "https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/start/get-started-with-gemini-4"


def answering_model(model: str, today: date, provider: str) -> str:
    """Return the model that answers where this one is asked: its rules are those that count."""
    return shared.answering_model(model, today, on_vertex=provider == VERTEX)


def misplaced(model: str, location: str | None, variable: str) -> str | None:
    """Say that Vertex AI does not have a model in a place, and what to set.

    Args:
        model: the model that is to be asked.
        location: the place; None for Google AI Studio, which has none.
        variable: the setting that names the place.

    Returns:
        The words, or None where nothing speaks against it.
    """
    if location is None or location in LARGE_PLACES or not since(model, _LARGE_PLACES_SINCE):
        return None
    return (
        f"{variable} is {location}, and Vertex AI has {bare(model)} in {', '.join(LARGE_PLACES)} alone: set "
        "VERTEX_LOCATION to one of these (us and eu keep the data there), or ask a model of that region"
    )


def ending_warnings(model: str, today: date, provider: str) -> tuple[ResponseWarning, ...]:
    """Return a warning that names the successor, for a model that has one: by a date that has come, or is set."""
    return shared.ending_warnings(model, today, on_vertex=provider == VERTEX)


# ---- The same for a page of the documentation ------------------------------------------------------------------------

# The fields of the default call, and what is left out on purpose.
WHY_SENT: Mapping[str, str] = {
    "generationConfig.maxOutputTokens": (
        f"max_tokens, and room to think, which counts within it: {ROOM['minimal']} tokens, as it thinks minimally"
    ),
    "header x-server-timeout": (
        "the time that an answer may take, but never less than 10 s, which is refused: the client gives up by itself"
    ),
    "not sent: generationConfig.temperature": "this model ignores it; of one that the caller names, a warning says so",
    "not sent: generationConfig.thinkingConfig": "this model thinks minimally by default, which suits a short answer",
}


def rules() -> tuple[ModelRule, ...]:
    """Return what is known of the models, as rows with their sources."""
    return (
        ModelRule(
            *("default model", DEFAULT_MODEL),
            "made for classification, routing and extraction, thinks minimally by default; asked on Vertex AI too",
            *(_DEFAULT_PAGE, _READ),
        ),
        shared.price(DEFAULT_MODEL),
        ModelRule(
            *("first answer", DEFAULT_MODEL),
            f"{_FIRST_ANSWER[0]} to {_FIRST_ANSWER[1]} s on average for a short one",
            *(_FIRST_ANSWER_PAGE, _READ),
        ),
        *shared.rules(on_vertex=True),
        ModelRule(
            *("thinking", shared.SIGNED_CALLS),
            "a tool call that comes back without the signature of its thinking is refused: those of other vendors are "
            "marked as such, and signatures that are refused are left out once more",
            *(shared.SIGNED_CALLS_PAGE, "2026-11-23"),
        ),
        *(
            ModelRule("thinking", f"{start}*" if start.endswith("-") else start, _said(thinking), THINKING_PAGE, _READ)
            for start, thinking in THINKING.items()
        ),
        ModelRule(
            *("region", f"gemini-{written(_LARGE_PLACES_SINCE)} and later"),
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


def _said(thinking: Thinking) -> str:
    if thinking.usual == "none":
        return "does not think unless it is asked to: no room is asked for"
    words = f"thinks at {thinking.usual!r} by default: {ROOM[thinking.usual]} tokens of room"
    if thinking.little is not None:
        ((name, value),) = thinking.little.items()
        words += f"; asked for {name} {value} where max_tokens is at most {SHORT_ANSWER} and no thinkingConfig is given"
    return f"{words}; {thinking.most} at most with the answer"
