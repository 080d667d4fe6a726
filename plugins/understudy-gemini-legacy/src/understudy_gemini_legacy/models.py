"""Which model is asked by default, and how much room the models get to think; the rest is in the shared package."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, NamedTuple

from understudy import Request
from understudy_gemini_wire import models as shared
from understudy_gemini_wire.models import THINKING, THINKING_PAGE, answering_model, thinking_of
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

# Seconds until the first token of an answer, and until the last of one of 159 tokens. Measured on 2026-05-24.
_FIRST_ANSWER = (2.0, 2.4)
_FIRST_ANSWER_PAGE = (
    "https://dev.to/jangwook_kim_e31e7291ad98/"
    "gemini-api-model-selection-guide-2026-speed-cost-and-quality-trade-offs-measured-directly-from-36ap"
)


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


def room_for(request: Request, model: str, own: Mapping[str, Any], today: date) -> Room:
    """Return how many tokens to request in addition to those of the answer.

    Args:
        request: what is asked.
        model: the model that is asked.
        own: the part of the generationConfig that the request's options make: a limit in it stands as it is.
        today: the day, which decides who answers.
    """
    thinking = thinking_of(answering_model(model, today))
    if thinking is None:
        return Room()
    if "maxOutputTokens" in own:
        return Room(thinking.usual)
    tokens = room_to_think(thinking.usual, request.max_tokens, thinking.most, request.adaptation)
    grows = room_to_think(thinking.usual, request.max_tokens, thinking.most, MORE_ROOM) > tokens
    return Room(thinking.usual, tokens, MORE_ROOM if grows else None)


# ---- The same for a page of the documentation ------------------------------------------------------------------------

# The fields of the default call, and what is left out on purpose.
WHY_SENT: Mapping[str, str] = {
    "generationConfig.maxOutputTokens": "max_tokens; this model does not think, so it needs no room besides",
    "generationConfig.temperature": "the temperature of the call, which this model takes",
    "not sent: generationConfig.thinkingConfig": "google-generativeai has no place for it",
}


def rules() -> tuple[ModelRule, ...]:
    """Return what is known of the models, as rows with their sources."""
    return (
        ModelRule(
            *("default model", DEFAULT_MODEL),
            "the newest that google-generativeai can give results of tools to; only projects that used it before may "
            f"ask it, and a new one is told to set GEMINI_LEGACY_MODEL={NEWER_MODEL}",
            *(_DEFAULT_PAGE, _READ),
        ),
        shared.price(DEFAULT_MODEL),
        ModelRule(
            *("first answer", DEFAULT_MODEL),
            f"{_FIRST_ANSWER[0]} s until the first token, {_FIRST_ANSWER[1]} s for a short answer",
            *(_FIRST_ANSWER_PAGE, _READ),
        ),
        *shared.rules(),
        ModelRule(
            *("thinking", shared.SIGNED_CALLS),
            "a tool call that comes back without its signature is refused, and the SDK cannot carry one: the next "
            "provider is asked once a tool has answered",
            *(shared.SIGNED_CALLS_PAGE, "2026-11-23"),
        ),
        *(
            ModelRule(
                *("room to think", f"{start}*" if start.endswith("-") else start, _said(thinking.usual)),
                *(THINKING_PAGE, _READ),
            )
            for start, thinking in THINKING.items()
        ),
    )


def _said(level: str) -> str:
    if level == "none":
        return "does not think: no room is asked for"
    return f"thinks at {level!r}, which cannot be chosen here: {ROOM[level]} tokens besides max_tokens"
