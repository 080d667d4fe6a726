"""How much a model should think: its setting, its effort, and the room for it beside the answer.

No SDK is imported and nothing is sent or read here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from understudy import Request, ResponseWarning
from understudy_claude.failures import PROVIDER, WITHOUT_SETTINGS
from understudy_claude.models import (
    DEFAULT_BUDGET,
    DEFAULT_MAX_TOKENS,
    EFFORTS,
    NEVER_OFF,
    Traits,
    traits_of,
)
from understudy_claude.refusals import NOTHING_KNOWN, Known
from understudy_toolkit.thinking import MORE_ROOM, SHORT_ANSWER, room_to_think

Warn = Callable[[str, str], None]

_OFF = ("disabled", "between_tools")  # some models know one word, some the other
_MORE = 4  # times a budget, for an answer that did not fit beside it


@dataclass(frozen=True, slots=True)
class Plan:
    """How a request makes a model think.

    Args:
        thinking: the field `thinking`; None to send none.
        effort: the level of effort; None to send none.
        level: how much the model will think, a key of understudy_toolkit.thinking.ROOM.
        room: tokens to ask for besides those of the answer.
        warnings: what was changed from what was asked for.
    """

    thinking: Any
    effort: Any
    level: str
    room: int
    warnings: tuple[ResponseWarning, ...] = ()

    @property
    def thinks(self) -> bool:
        """Whether the model may think before it answers."""
        return self.level != "none"


def plan(request: Request, model: str, known: Known = NOTHING_KNOWN, *, resumable: bool = True) -> Plan:
    """Return how a request makes a model think: as its options say, or as little as possible for a short answer.

    Args:
        request: what to ask.
        model: the model to ask.
        known: what the model is known to refuse.
        resumable: whether a turn whose tools have answered goes back with its thinking; where it does not, the API
            takes no budget.
    """
    options = request.options.get(PROVIDER, {})
    options = options if isinstance(options, Mapping) else {}
    traits = traits_of(model)
    asked, effort = options.get("thinking"), _effort_of(options)
    says_nothing = asked is None and effort is None
    warnings: list[ResponseWarning] = []

    def warn(setting: str, words: str) -> None:
        warnings.append(ResponseWarning(setting, words))

    thinking = asked
    if WITHOUT_SETTINGS in known.adapted(request):
        if not says_nothing:
            warn("thinking", "settings of thinking and effort were left out: Claude refused them")
        thinking = effort = None
    elif traits is not None:
        thinking = _taken(asked, traits, model, warn)
        effort = _taken_effort(effort, traits, model, warn)
        little = thinking is None and _type(asked) in _OFF
        most = options.get("max_tokens", request.max_tokens)
        short = says_nothing and isinstance(most, int) and most <= SHORT_ANSWER
        if traits.thinks and (little or short) and effort is None:
            effort = "low"
        if _type(thinking) in _OFF and traits.off_below and effort in NEVER_OFF:
            warn("effort", f"effort {effort} became high: above it, thinking of {model} cannot be turned off")
            effort = "high"
    if _type(thinking) == "enabled" and not resumable:
        warn("thinking", "thinking within a budget was left out: the turn that it continues began without it")
        thinking = None
    level = _level(thinking, effort, traits)
    return Plan(
        thinking,
        effort,
        level,
        _room(request, options, thinking, level, _most(request, traits, known)),
        tuple(warnings),
    )


def _effort_of(options: Mapping[str, Any]) -> Any:
    output = options.get("output_config")
    named = output.get("effort") if isinstance(output, Mapping) else None
    return options.get("effort", named)


def _type(thinking: Any) -> str | None:
    return thinking.get("type") if isinstance(thinking, Mapping) else None


def _taken(asked: Any, traits: Traits, model: str, warn: Warn) -> Any:
    """Return a setting of thinking that the model supports: the nearest to the one that was asked for."""
    kind = _type(asked)
    if kind is None or kind in traits.thinking:
        return asked
    if kind in _OFF:
        other = next((word for word in _OFF if word in traits.thinking), None)
        if other is not None:
            return {"type": other}  # the other word for the same
        if traits.thinks:
            warn("thinking", f"thinking {kind} was left out: {model} always thinks; it is asked for little effort")
        return None
    if kind == "enabled" and "adaptive" in traits.thinking:
        warn("thinking", f"the budget for thinking was left out: {model} decides by the effort how much to think")
        return {name: value for name, value in asked.items() if name != "budget_tokens"} | {"type": "adaptive"}
    if kind == "adaptive" and "enabled" in traits.thinking:
        warn("thinking", f"thinking became a budget of {DEFAULT_BUDGET} tokens: {model} supports nothing else")
        return {**asked, "type": "enabled", "budget_tokens": DEFAULT_BUDGET}
    if kind in ("enabled", "adaptive"):
        warn("thinking", f"thinking was left out: {model} does not think")
        return None
    return asked


def _taken_effort(effort: Any, traits: Traits, model: str, warn: Warn) -> Any:
    if effort is None or effort in traits.efforts or effort not in EFFORTS:
        return effort
    lower = [level for level in EFFORTS[: EFFORTS.index(effort)] if level in traits.efforts]
    if not lower:
        warn("effort", f"effort was left out: {model} takes none")
        return None
    warn("effort", f"effort {effort} became {lower[-1]}, the next lower one that {model} takes")
    return lower[-1]


def _level(thinking: Any, effort: Any, traits: Traits | None) -> str:
    match _type(thinking):
        case "disabled":
            return "none"
        case "between_tools":
            return "minimal"
        case None if traits is None or not traits.thinks:
            return "none"
        case _:
            return str(effort or (traits.effort if traits is not None else "high"))


def _most(request: Request, traits: Traits | None, known: Known) -> int | None:
    limits = (traits.most if traits is not None else None, known.most_of(request))
    return min((limit for limit in limits if limit is not None), default=None)


def _room(request: Request, options: Mapping[str, Any], thinking: Any, level: str, most: int | None) -> int:
    if "max_tokens" in options:
        return 0  # the caller's own setting for all of it
    answer = request.max_tokens or DEFAULT_MAX_TOKENS
    more = request.adaptation == MORE_ROOM
    budget = thinking.get("budget_tokens") if _type(thinking) == "enabled" else None
    if isinstance(budget, int):
        room = budget * (_MORE if more else 1)
        return room if most is None else max(min(room, most - answer), 0)
    if more and level == "none":
        level = "low"  # it thought although nothing was known of it
    return room_to_think(level, answer, most, request.adaptation)
