"""How Cohere's models think: which do, their budgets and limits, and the tokens that go before the answer.

As Cohere's pages of models and of reasoning had it in November 2026. Tokens are words here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from understudy_sandbox.text import THOUGHT, Answer, Asked, compose

#: What a model thinks where no budget stops it: more than 1,024, so that such a limit holds no answer.
TOKENS = 1_500
_THINKERS = ("command-a-plus", "command-a-reasoning", "north-mini-code")
_TAKE_NO_THINKING = (
    "c4ai-aya",
    "command-a-03-2025",
    "command-a-translate",
    "command-a-vision",
    "command-light",
    "command-r",
    "tiny-aya",
)
#: The most tokens that a model writes; a request for more gets as many.
_MOST = {
    "command-a-plus": 64_000,
    "command-a-reasoning": 32_000,
    "north-mini-code": 64_000,
    "command-a-": 8_000,
    "command-r": 4_000,
}


def thinks(body: Mapping[str, Any]) -> bool:
    """Whether the model that a request asks is one that thinks, if it is not told otherwise."""
    return str(body.get("model")).startswith(_THINKERS)


def limit(body: Mapping[str, Any]) -> int | None:
    """The most tokens that the answer gets, thoughts included."""
    model, asked = str(body.get("model")), body.get("max_tokens")
    most = next((most for name, most in _MOST.items() if model.startswith(name)), None)
    return asked if most is None or asked is None else min(asked, most)


def wrong_thinking(body: Mapping[str, Any]) -> tuple[int, str] | None:
    """What the vendor has against the setting ``thinking``: a status and a message."""
    thinking = body.get("thinking")
    if thinking is None:
        return None
    if str(body["model"]).startswith(_TAKE_NO_THINKING):
        return 422, f"thinking is not supported for model '{body['model']}'"
    if not isinstance(thinking, Mapping) or thinking.get("type", "enabled") not in ("enabled", "disabled"):
        return 400, "invalid request: thinking.type must be 'enabled' or 'disabled'"
    budget = thinking.get("token_budget")
    if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int) or budget < 1):
        return 400, "invalid request: thinking.token_budget must be a positive integer"
    return None


def answer_after_thinking(asked: Asked, body: Mapping[str, Any], scripted: str | None) -> Answer:
    """Answer what was asked with what the thoughts leave of the limit."""
    thinking = body.get("thinking") or {}
    if not (thinks(body) or thinking) or thinking.get("type") == "disabled":
        return compose(asked, scripted)
    tokens = min(TOKENS, thinking.get("token_budget") or TOKENS)
    if asked.max_tokens is not None and asked.max_tokens <= tokens:
        return Answer("", THOUGHT, (), "length", None, 0, asked.max_tokens)
    left = None if asked.max_tokens is None else asked.max_tokens - tokens
    return replace(compose(replace(asked, max_tokens=left), scripted), thought=THOUGHT, thought_tokens=tokens)
