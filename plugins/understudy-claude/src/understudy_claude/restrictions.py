"""Fits a request's body to what its model and its version of the API take, and says what was left out.

No SDK is imported and nothing is sent or read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy import ResponseWarning
from understudy_claude.failures import WITHOUT_FORCING, WITHOUT_SAMPLING
from understudy_claude.models import NEWEST_VERSION, SAMPLING, SAMPLING_VERSION, takes_sampling, traits_of

Json = dict[str, Any]


def api_version(body: Mapping[str, Any], asked: str | None) -> str:
    """Return the version of the API to send a body with: the newest, or the last that takes what is in it.

    Args:
        body: the request, after `fit`.
        asked: the version that the caller asks for; None for whichever fits.
    """
    if asked is not None:
        return asked
    return SAMPLING_VERSION if any(name in body for name in SAMPLING) else NEWEST_VERSION


def fit(body: Json, model: str, asked: str | None = None, adaptation: str | None = None) -> tuple[ResponseWarning, ...]:
    """Change a body to one that the API does not refuse, and return what was changed.

    Args:
        body: the request as it was asked for.
        model: the model to ask.
        asked: the version of the API that the caller asks for; None for whichever fits.
        adaptation: what an attempt before this one was refused for.
    """
    return _fit_sampling(body, model, asked, adaptation) + _fit_tools(body, model, adaptation)


def thinks_by_request(body: Mapping[str, Any]) -> bool:
    """Return whether a body asks the model to think."""
    return _thinking(body) in ("enabled", "adaptive")


def _thinking(body: Mapping[str, Any]) -> Any:
    thinking = body.get("thinking")
    return thinking.get("type") if isinstance(thinking, Mapping) else None


def _fit_sampling(body: Json, model: str, asked: str | None, adaptation: str | None) -> tuple[ResponseWarning, ...]:
    refused = ""
    if adaptation == WITHOUT_SAMPLING:
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


def _fit_tools(body: Json, model: str, adaptation: str | None) -> tuple[ResponseWarning, ...]:
    """Leave it to the model whether it calls a tool where it takes no tool that must be called.

    Of one tool by name all others are left out, so that the call, if it comes, is of that one.
    """
    choice = body.get("tool_choice")
    if not isinstance(choice, Mapping) or choice.get("type") not in ("any", "tool"):
        return ()
    traits = traits_of(model)
    if adaptation == WITHOUT_FORCING or (traits is not None and not traits.forced):
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
