"""Room for thinking: tokens requested besides `max_tokens` if the vendor counts thoughts within the limit.

Vendors do: of a limit of 1,500 tokens, Gemini was publicly measured to think 1,232, and 478 of 500. A limit that the
caller gave for the answer would be used up before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from understudy.errors import AnswerCutShort
from understudy.messages import Request
from understudy.response import FinishReason, ResponseWarning
from understudy.usage import Usage

__all__ = ["MORE_ROOM", "ROOM", "SHORT_ANSWER", "can_have_more_room", "check_room", "room_to_think"]

# An answer of at most so many tokens is a short one: the documented default of `max_tokens`. For it a model is asked to
# think little, if that can be chosen and the caller says nothing about thinking.
SHORT_ANSWER = 1024

# Tokens by the level of thinking. OpenAI's guide to reasoning advises to reserve at least 25,000 for reasoning and the
# answer; the lower ones are several times what such levels were publicly measured to take. Only what is used is paid.
ROOM: Mapping[str, int] = {
    "none": 0,
    "minimal": 1024,
    "low": 4096,
    "medium": 16_384,
    "high": 32_768,
    "xhigh": 65_536,
    "max": 65_536,
}
MORE_ROOM = "with more room to think"  # the adaptation of an answer that thinking cut short
_MORE = 4  # times the room, for that attempt


def room_to_think(level: str, max_tokens: int | None, most: int | None, adaptation: str | None = None) -> int:
    """Return how many tokens to request in addition to those of the answer.

    Args:
        level: how much the model will think: a key of ROOM; one that is not known counts as "high".
        max_tokens: most tokens of answer; None where the caller sets no limit: then none is needed.
        most: the model's own limit for both together; None where it is not known.
        adaptation: of the request: MORE_ROOM asks for four times as much.
    """
    if max_tokens is None:
        return 0
    room = ROOM.get(level, ROOM["high"]) * (_MORE if adaptation == MORE_ROOM else 1)
    return room if most is None else max(min(room, most - max_tokens), 0)


def can_have_more_room(request: Request, room_of: Callable[[Request], int]) -> bool:
    """Return whether the same request, sent once more with more room, would get any.

    Args:
        request: what was asked.
        room_of: returns the tokens that are asked for besides those of the answer.
    """
    if request.adaptation is not None:
        return False
    return room_of(replace(request, adaptation=MORE_ROOM)) > room_of(request)


def check_room(
    request: Request, finish_reason: FinishReason, usage: Usage | None, *, thought: bool, given: bool = False
) -> tuple[ResponseWarning, ...]:
    """Check whether an answer with some text ended early because thinking used up its tokens.

    An answer without any text is EmptyResponse, raised by the provider with MORE_ROOM as its `adaptation`.

    Args:
        request: what was asked.
        finish_reason: why the model stopped.
        usage: what the vendor counted; None where it did not.
        thought: whether the model is known to have thought, also where the vendor does not count thoughts apart.
        given: whether the caller of a stream already holds the text, so that it cannot be requested again.

    Returns:
        A warning, if it did and nothing can be done about it; nothing if it did not.

    Raises:
        AnswerCutShort: it did, and more room may help.
    """
    most = request.max_tokens
    if finish_reason is not FinishReason.LENGTH or most is None or usage is None:
        return ()
    written = usage.output_tokens - usage.thinking_tokens
    if written >= most or not (thought or usage.thinking_tokens):
        return ()
    words = f"thinking used up the limit: the answer was cut after {written} of {most} tokens"
    if request.adaptation is None and not given:
        raise AnswerCutShort(words, adaptation=MORE_ROOM, usage=usage)
    return (ResponseWarning("max_tokens", words),)
