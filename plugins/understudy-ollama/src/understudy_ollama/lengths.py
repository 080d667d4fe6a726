"""Why an answer ended by its length: its limit, thinking that used the limit up, or a context window that is full.

Ollama counts thinking within `num_predict`, and does not tell the two apart. Nothing is sent or read here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from understudy import FinishReason, Request, ResponseWarning, Usage
from understudy.errors import AnswerCutShort, EmptyResponse
from understudy_ollama.models import LEAST, STEADY, full_name, room_for
from understudy_toolkit.thinking import MORE_ROOM, check_room

_WINDOW = "options={'ollama': {'num_ctx': 16384}}"  # an example: four times what most machines have


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known of how an answer ended.

    Args:
        request: what was asked.
        options: what the caller wanted of Ollama alone, the model's settings among them.
        sent: the request's JSON, as it was sent.
        reply: the reply's JSON.
        usage: what it cost.
        given: whether the caller of a stream already has some of the answer.
    """

    request: Request
    options: Mapping[str, Any]
    sent: Mapping[str, Any]
    reply: Mapping[str, Any]
    usage: Usage
    given: bool = False

    @property
    def limit(self) -> int | None:
        """Tokens that thinking and answer might have together; None where that was left to the model."""
        limit = self.sent.get("options", {}).get("num_predict")
        return limit if isinstance(limit, int) and limit > 0 else None

    @property
    def window_is_full(self) -> bool:
        """Whether the context window ended the answer: with `shift: false` that happens before the limit is reached.

        The server counts exactly as many tokens as the limit has where that is what ends an answer (v0.12.6,
        runner/ollamarunner/runner.go; v0.33.0-rc2, llm/llama_server.go).
        """
        by_length = self.reply.get("done_reason") == "length"
        return by_length and self.limit is not None and 0 < self.usage.output_tokens < self.limit

    @property
    def thinking(self) -> str:
        """What was thought."""
        return str(self.reply["message"].get("thinking") or "")

    @property
    def thought(self) -> bool:
        """Whether the model is known to have thought, or was expected to."""
        most = self.request.max_tokens
        return bool(self.thinking) or (most is not None and self.limit is not None and self.limit > most)

    @property
    def may_grow(self) -> bool:
        """Whether another attempt would be given more room to think."""
        most, limit, model = self.request.max_tokens, self.limit, str(self.sent.get("model"))
        if most is None or limit is None or self.own_limit or self.window_is_full:
            return False
        more = room_for(self.request, model, self.options, adaptation=MORE_ROOM)
        return self.request.adaptation is None and more > limit - most

    @property
    def own_limit(self) -> bool:
        """Whether the limit is the caller's own, of thinking and answer together."""
        return "num_predict" in self.options


def empty_response(ending: Ending) -> EmptyResponse:
    """Return the failure of a reply in which neither text nor a tool call came, with what to set."""
    reason = ending.reply.get("done_reason")
    words, adaptation = f"neither text nor a tool call came; the model stopped by {reason}", None
    if ending.window_is_full:
        filled = ending.usage.total_tokens
        words += f": the context window is full after {filled} tokens; set {_WINDOW} or more"
        words += f", or {_less_thinking(ending)}" if ending.thought and _less_thinking(ending) else ""
    elif reason == "length":
        ways = [_less_thinking(ending) if ending.thought else "", f"raise {_limit_of(ending)}"]
        used_up = f": thinking used up the limit of {ending.limit} tokens" if ending.thought and ending.limit else ""
        words += f"{used_up}; {', or '.join(filter(None, ways))}"
        adaptation = MORE_ROOM if ending.thought and ending.may_grow and not ending.given else None
    elif ending.sent.get("think") is False:  # https://github.com/ollama/ollama/issues/17823, read 2026-11-30
        words += "; it was told not to think, which some builds of models answer with nothing: leave `think` out"
    usage = ending.usage if ending.usage.total_tokens else None  # nothing was told
    return EmptyResponse(words, status=200, adaptation=adaptation, usage=usage)


def check_length(ending: Ending, text: str, finish_reason: FinishReason) -> tuple[ResponseWarning, ...]:
    """See whether thinking or a full context window cut an answer that has some text.

    Returns:
        A warning, if one did and nothing can be done about it; nothing if neither did.

    Raises:
        AnswerCutShort: thinking did, and more room may help.
    """
    if finish_reason is not FinishReason.LENGTH:
        return ()
    if ending.window_is_full:
        words = (
            f"the context window is full after {ending.usage.total_tokens} tokens: the answer was cut; set {_WINDOW}"
        )
        return (ResponseWarning("max_tokens", words),)
    if ending.own_limit:
        return ()
    calls = ending.reply["message"].get("tool_calls")
    said = text + (json.dumps(calls) if calls else "")
    counted = replace(ending.usage, thinking_tokens=_share(ending.usage.output_tokens, ending.thinking, said))
    given = ending.given or not ending.may_grow
    try:
        return check_room(ending.request, finish_reason, counted, thought=ending.thought, given=given)
    except AnswerCutShort as failure:
        failure.usage = ending.usage  # as the server counted: the share of thinking is an estimate
        raise


def _limit_of(ending: Ending) -> str:
    return "num_predict" if ending.own_limit else "max_tokens"


def _share(tokens: int, thinking: str, said: str) -> int:
    """Estimate how many tokens were thinking: its share of the characters."""
    return tokens * len(thinking) // (len(thinking) + len(said)) if thinking else 0


def _less_thinking(ending: Ending) -> str:
    """Say how the model would think less; nothing where it is told to already."""
    family, think = full_name(str(ending.sent.get("model"))).partition(":")[0], ending.sent.get("think")
    least = LEAST[family] if family in STEADY else False
    return "" if think == least and think is not None else f"set options={{'ollama': {{'think': {least!r}}}}}"
