"""How much a model may think for a request, and how many tokens it gets for that in addition to those of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, NamedTuple

from understudy import Request
from understudy_gemini.models import answering_model
from understudy_gemini.options import own_config
from understudy_gemini_wire.models import Thinking, thinking_of
from understudy_toolkit.thinking import MORE_ROOM, ROOM, SHORT_ANSWER, room_to_think


class Plan(NamedTuple):
    """What is done about thinking for one request.

    Args:
        level: how much the model will think: a key of ROOM; "none" where it does not, or is not known to.
        config: the thinkingConfig to send, where the request's options have none; None for none.
        room: tokens to ask for besides those of the answer.
        adaptation: how the answer may come after all where thinking used up the tokens; None where nothing helps.
    """

    level: str = "none"
    config: Mapping[str, Any] | None = None
    room: int = 0
    adaptation: str | None = None


def plan_thinking(request: Request, model: str, provider: str, today: date, *, refuses_config: bool = False) -> Plan:
    """Decide how much a model should think for a request.

    Thoughts are not asked to be shown, although they cost nothing then (https://ai.google.dev/gemini-api/docs/thinking
    prices all of them, shown or not): whoever holds the first of a stream holds a piece of it, and nobody can answer in
    its place any more without the caller noticing. As mere signs of life they would not do either: gemini-3.5 and 3.8
    were seen to show none (https://discuss.ai.google.dev/t/187725), and asking for them is refused where a model does
    not think (https://github.com/google-gemini/gemini-cli/issues/1953). Read 2026-11-30.

    Args:
        request: what is asked.
        model: the model that is asked.
        provider: "gemini" or "vertex", whose options count besides those of the family.
        today: the day, which decides who answers.
        refuses_config: whether the model is not to be told how much to think.
    """
    thinking = thinking_of(answering_model(model, today, provider))
    if thinking is None:
        return Plan()
    own = own_config(request.options, provider)
    asked = None if refuses_config else own.get("thinkingConfig")
    short = request.max_tokens is not None and request.max_tokens <= SHORT_ANSWER
    little = thinking.little if asked is None and short and not refuses_config else None
    level = _level(asked if little is None else little, thinking)
    if "maxOutputTokens" in own:  # the vendor's own limit, which the caller has set for both
        return Plan(level, little)
    room = room_to_think(level, request.max_tokens, thinking.most, request.adaptation)
    grows = room_to_think(level, request.max_tokens, thinking.most, MORE_ROOM) > room
    return Plan(level, little, room, MORE_ROOM if grows else None)


def _level(config: Any, thinking: Thinking) -> str:
    """Return the level that a thinkingConfig means."""
    if not isinstance(config, Mapping):
        return thinking.usual
    if isinstance(config.get("thinkingLevel"), str):
        return str(config["thinkingLevel"]).lower()
    budget = config.get("thinkingBudget")
    if not isinstance(budget, int):
        return thinking.usual
    if budget < 0:  # as the model likes
        return "high"
    if budget == 0:
        # Later models cannot be kept from thinking: 500 to 600 tokens for hard prompts.
        # https://github.com/opencues/opencues/pull/428, read 2026-11-30.
        return "none" if thinking.stops else "low"
    return next((level for level, tokens in ROOM.items() if tokens > budget), "xhigh")
