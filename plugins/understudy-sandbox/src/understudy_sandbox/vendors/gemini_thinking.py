"""How Google's models think: how many tokens before the answer, and which settings they refuse.

Thoughts count within ``maxOutputTokens``, as publicly measured (1,232 of 1,500 tokens).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Tokens that are thought at each level: always the same, a few where little is thought.
TOKENS: Mapping[str, int] = {"none": 0, "minimal": 2, "low": 14, "medium": 1_232, "high": 4_096}
#: Where a budget of 0 is refused or does not stop it from thinking, this much is thought.
_LEAST = "low"


@dataclass(frozen=True, slots=True)
class Habit:
    """How a model thinks: its levels (none for one that has budgets), what it does by default, whether it can stop."""

    usual: str
    levels: tuple[str, ...] = ()
    stops: bool = False


_FOUR = ("minimal", "low", "medium", "high")
_THREE = _FOUR[1:]
#: By the beginning of the name, the first that fits. Google's page of thinking, and replies quoted in public issues.
_HABITS: tuple[tuple[str, Habit], ...] = (
    ("gemini-2.5-flash-lite", Habit("none", stops=True)),
    ("gemini-2.5-flash", Habit("medium", stops=True)),
    ("gemini-2.5-pro", Habit("high")),
    ("gemini-3-flash", Habit("high", _FOUR)),
    ("gemini-3.1-flash-lite", Habit("minimal", _FOUR)),
    ("gemini-3.5-flash-lite", Habit("minimal", _FOUR)),
    ("gemini-flash-lite-latest", Habit("minimal", _FOUR)),
    ("gemini-3.5-flash", Habit("medium", _FOUR)),
    ("gemini-3.6-flash", Habit("medium", _FOUR)),
    ("gemini-3.7-flash", Habit("medium", _THREE)),
    ("gemini-3.8-flash", Habit("medium", _THREE)),
    ("gemini-flash-latest", Habit("medium", _THREE)),
    ("gemini-3-pro", Habit("high", _THREE)),
    ("gemini-3.1-pro", Habit("high", _THREE)),
    ("gemini-4", Habit("medium", _THREE)),
)
_OF_3 = re.compile(r"gemini-(?:[3-9]|flash-latest|flash-lite-latest)")


def is_of_3(model: str) -> bool:
    """Whether a model is of the third generation or later: those sign their calls, and live in large regions alone."""
    return _OF_3.match(model) is not None


def thought(model: str, config: Mapping[str, Any]) -> int:
    """How many tokens a model thinks by this ``thinkingConfig``, before any limit."""
    habit = _habit(model)
    if habit is None:
        return 0
    level, budget = config.get("thinkingLevel"), config.get("thinkingBudget")
    if isinstance(level, str):
        return TOKENS[level.lower()]
    if not isinstance(budget, int):
        return TOKENS[habit.usual]
    if budget < 0:
        return TOKENS["medium"]
    if budget == 0:
        return 0 if habit.stops else TOKENS[_LEAST]
    return min(budget, TOKENS["medium"])


def complaint(model: str, config: Mapping[str, Any]) -> str | None:
    """What a model has against this ``thinkingConfig``; None where it takes it."""
    habit = _habit(model)
    if habit is None:
        return None
    level, budget = config.get("thinkingLevel"), config.get("thinkingBudget")
    if level is not None and budget is not None:
        return "You can only set only one of thinking budget and thinking level."
    if level is not None and not habit.levels:
        return "Thinking level is not supported for this model."
    if level is not None and str(level).lower() not in habit.levels:
        name = str(level).upper()
        return f"Thinking level {name} is not supported for this model. Please retry with other thinking level."
    if budget == 0 and not habit.stops and not habit.levels:
        return "Budget 0 is invalid. This model only works in thinking mode."
    return None


def _habit(model: str) -> Habit | None:
    return next((habit for beginning, habit in _HABITS if model.startswith(beginning)), None)
