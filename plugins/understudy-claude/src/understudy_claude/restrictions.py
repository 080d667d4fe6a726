"""Fits a request's body to what its model and its version of the API accept, and says what was left out.

No SDK is imported and nothing is sent or read here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from understudy import Request, ResponseWarning
from understudy_claude.failures import OLDER_VERSION, WITHOUT_FORCING, WITHOUT_SAMPLING, WITHOUT_TOP_P
from understudy_claude.models import (
    LEAST_BUDGET,
    NEWEST_VERSION,
    SAMPLING,
    SAMPLING_VERSION,
    takes_sampling,
    traits_of,
)
from understudy_claude.refusals import Known

Json = dict[str, Any]


def api_version(body: Mapping[str, Any], asked: str | None, adapted: Collection[str] = ()) -> str:
    """Return the version of the API to send a body with: the newest, or the last that accepts its contents.

    Args:
        body: the request, after `fit`.
        asked: the version that the caller asks for; None for whichever fits.
        adapted: what the model, or an attempt before this one, was refused for.
    """
    if OLDER_VERSION in adapted:
        return SAMPLING_VERSION
    if asked is not None:
        return asked
    return SAMPLING_VERSION if any(name in body for name in SAMPLING) else NEWEST_VERSION


def fit(body: Json, model: str, asked: str | None = None, adapted: Collection[str] = ()) -> tuple[ResponseWarning, ...]:
    """Change a body to one that the API does not refuse, and return what was changed.

    Args:
        body: the request as it was asked for.
        model: the model to ask.
        asked: the version of the API that the caller asks for; None for whichever fits.
        adapted: what the model, or an attempt before this one, was refused for.
    """
    warnings = _fit_sampling(body, model, asked, adapted) + _fit_tools(body, model, adapted)
    if OLDER_VERSION in adapted and asked is not None:
        words = f"version {SAMPLING_VERSION} of the API took the place of {asked}, which the server does not know"
        warnings += (ResponseWarning("api_version", words),)
    return warnings


def fit_limit(
    body: Json, request: Request, model: str, known: Known, *, fixed: bool = False
) -> tuple[ResponseWarning, ...]:
    """Keep a body within the most tokens that a model writes, or that its window has left.

    Args:
        body: the request as it was asked for.
        request: what is asked.
        model: the model to ask.
        known: what the model is known to refuse.
        fixed: whether the caller set the API's own limit.
    """
    traits, told, limit = traits_of(model), known.most_of(request), body.get("max_tokens")
    most = min((one for one in (traits.most if traits is not None else None, told) if one is not None), default=None)
    if most is None or not isinstance(limit, int):
        return ()
    warnings: list[ResponseWarning] = []
    answer = limit if fixed or request.max_tokens is None else min(limit, request.max_tokens)
    if answer > most and (fixed or request.max_tokens is not None):
        words = f"max_tokens {answer:,} became {most:,}: {model} writes no more, or its window has no more room"
        warnings.append(ResponseWarning("max_tokens", words))
    most = body["max_tokens"] = min(limit, most)
    thinking = body.get("thinking")
    thinking = thinking if isinstance(thinking, Mapping) else {}
    budget = thinking.get("budget_tokens")
    if isinstance(budget, int) and budget >= most:
        if most // 2 < LEAST_BUDGET:
            del body["thinking"]
            words = "thinking was left out: the tokens that are left are fewer than the smallest budget"
        else:
            body["thinking"] = {**thinking, "budget_tokens": most // 2}
            words = f"the budget for thinking became {most // 2:,} tokens: it has to be less than max_tokens"
        warnings.append(ResponseWarning("thinking", words))
    return tuple(warnings)


def thinks_by_request(body: Mapping[str, Any]) -> bool:
    """Return whether a body asks the model to think."""
    return _thinking(body) in ("enabled", "adaptive")


def _thinking(body: Mapping[str, Any]) -> Any:
    thinking = body.get("thinking")
    return thinking.get("type") if isinstance(thinking, Mapping) else None


def _fit_sampling(body: Json, model: str, asked: str | None, adapted: Collection[str]) -> tuple[ResponseWarning, ...]:
    refused = ""
    if WITHOUT_SAMPLING in adapted:
        refused = "Claude refused it"
    elif not takes_sampling(model):
        refused = f"{model} takes none"
    elif asked not in (None, SAMPLING_VERSION):
        refused = f"version {asked} of the API takes none"
    warnings: list[ResponseWarning] = []
    if refused:
        for name in SAMPLING:
            if body.pop(name, None) is not None:
                warnings.append(ResponseWarning(name, f"{name} was left out: {refused}"))
    temperature = body.get("temperature")
    if WITHOUT_TOP_P in adapted and temperature is not None and body.pop("top_p", None) is not None:
        warnings.append(ResponseWarning("top_p", "top_p was left out: Claude refused it beside a temperature"))
    if temperature is None:
        body.pop("temperature", None)
        return tuple(warnings)
    if thinks_by_request(body) and temperature != 1:
        del body["temperature"]
        warnings.append(ResponseWarning("temperature", "temperature was left out: Claude takes none while it thinks"))
    elif temperature > 1:
        body["temperature"] = 1.0
        warnings.append(ResponseWarning("temperature", f"temperature {temperature:g} became 1.0, Claude's highest"))
    return tuple(warnings)


def _fit_tools(body: Json, model: str, adapted: Collection[str]) -> tuple[ResponseWarning, ...]:
    """Leave it to the model whether it calls a tool, if it accepts no tool that must be called.

    If one tool is named, all others are left out, so that the call, if it comes, is of that one.
    """
    choice = body.get("tool_choice")
    if not isinstance(choice, Mapping) or choice.get("type") not in ("any", "tool"):
        return ()
    traits = traits_of(model)
    if WITHOUT_FORCING in adapted or (traits is not None and not traits.forced):
        who = model
    elif _thinking(body) == "enabled":
        who = "Claude, while it thinks within a budget,"
    else:
        return ()
    words = f"{who} takes no tool that must be called: the answer may come without a call"
    if choice["type"] == "tool":
        name = choice.get("name")
        named = [tool for tool in body.get("tools", ()) if isinstance(tool, Mapping) and tool.get("name") == name]
        body["tools"] = named or body.get("tools", [])
        words += f"; of all tools only {name} was sent"
    rest = {field: value for field, value in choice.items() if field != "name"}
    body["tool_choice"] = {**rest, "type": "auto"}
    return (ResponseWarning("tool_choice", words),)
