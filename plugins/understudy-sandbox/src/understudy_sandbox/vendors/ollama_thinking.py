"""Which of Ollama's models think, how much, and what that leaves of a limit: they think unless told not to.

As the server does it (ollama v0.33.0-rc2, server/routes.go and api/types.go, read 2026-11-30): a request that leaves
``think`` out thinks where the model can; tokens of thinking count within ``num_predict``; with ``shift: false`` the
context window ends an answer too.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle, islice
from typing import Any

from understudy_sandbox.text import THOUGHT, pieces

#: Beginnings of the names of models that can think, and what is in the names of those among them that cannot.
_ABLE = ("gemma4", "qwen3", "gpt-oss", "deepseek-r1", "magistral")
_UNABLE = ("-coder", "-instruct")
#: These take a level, and think whatever else they are told.
_LEVELLED = ("gpt-oss",)
#: Tokens of thinking by the level; "medium" is what models without levels think. More than the default limit of most
#: programs, 1,024, as real ones are seen to.
TOKENS: Mapping[str, int] = {"low": 40, "medium": 1_400, "high": 2_800, "max": 5_600}
_WORDS = 50  # in a line of a stream: a real one has a token a line, which only takes longer here


def can_think(model: str) -> bool:
    """Whether a model is one that thinks."""
    name = model.rpartition("/")[2]
    return name.startswith(_ABLE) and not any(part in name for part in _UNABLE)


def refusal(body: Mapping[str, Any]) -> str | None:
    """What the server says to a ``think`` that it cannot honour; None where it can."""
    think = body.get("think")
    if think is not None and not isinstance(think, bool | str):
        return 'think must be a boolean or string ("high", "medium", "low", "max", true, or false)'
    if isinstance(think, str) and think not in TOKENS:
        return f'invalid think value: "{think}" (must be "high", "medium", "low", "max", true, or false)'
    if think and not can_think(str(body.get("model"))):
        return f'"{body.get("model")}" does not support thinking'
    return None


def thought(body: Mapping[str, Any]) -> str:
    """What the model thinks before it answers: nothing, where it cannot or is told not to."""
    model, think = str(body.get("model")), body.get("think")
    levelled = model.startswith(_LEVELLED)
    if not can_think(model) or (think is False and not levelled):
        return ""
    level = think if levelled and isinstance(think, str) else "medium"
    return "".join(islice(cycle(pieces(f" {THOUGHT}")), TOKENS[level])).strip()


def lines(thinking: str) -> list[str]:
    """Cut what was thought into the lines of a stream."""
    words = pieces(thinking)
    return ["".join(words[start : start + _WORDS]) for start in range(0, len(words), _WORDS)]


def limit(options: Mapping[str, Any], prompt: int) -> int | None:
    """Tokens that thinking and answer may have together: the limit, or what the prompt leaves of a window."""
    asked, window = options.get("num_predict"), options.get("num_ctx")
    limits = [asked] if isinstance(asked, int) and asked >= 0 else []  # less than none means no limit
    limits += [max(window - prompt, 0)] if isinstance(window, int) else []
    return min(limits, default=None)
