"""Which model is asked by default, what a model refuses, and which are on their way out."""

from __future__ import annotations

from typing import Any

from understudy import ResponseWarning

# Live, and on no list of endings (Cohere's models and deprecations pages, read 2026-11-23). Not its newer sibling
# command-a-plus-05-2026, which also sees pictures and thinks: Cohere's rate limits page allows that one 1,000 calls a
# month even to a production key, and it refuses tool_choice. An understudy has to be able to take the whole part.
DEFAULT_MODEL = "command-a-03-2025"

MOST_STOP_SEQUENCES = 5  # "up to 5 strings" (cohere 7.3.1, v2/client.py)
HIGHEST_TEMPERATURE = 1.0  # "temperature must be between 0 and 1.0 inclusive" (Cohere's errors page, 2026-11-23)

# Names that begin so; other names are let through. From the column Modality of Cohere's models page, 2026-11-23.
_WITHOUT_IMAGES = (
    "c4ai-aya-expanse",
    "command-a-03-2025",
    "command-a-reasoning",
    "command-a-translate",
    "command-light",
    "command-r",
    "north-",
    "tiny-aya",
)
# Cohere's reasoning page names command-a-plus and command-a-reasoning; north-mini-code thinks too. The rest answer a
# request with `thinking` with status 422.
_WITHOUT_THINKING = (
    "c4ai-aya",
    "command-a-03-2025",
    "command-a-translate",
    "command-a-vision",
    "command-light",
    "command-r",
    "tiny-aya",
)
# "Only compatible with models Command-r7b and newer" (cohere 7.3.1, v2/client.py); and those that think answer
# "tool_choice is not supported for this model".
_WITHOUT_TOOL_CHOICE = ("command-a-plus", "command-a-reasoning", "command-light", "command-r-", "north-mini-code")

# Model: what to ask instead. All of the announcement of 2025-09-15 (Cohere's deprecations page), which sets no day.
_DEPRECATED = {
    "command": DEFAULT_MODEL,
    "command-light": "command-r7b-12-2024",
    "command-r": "command-r-08-2024",
    "command-r-03-2024": "command-r-08-2024",
    "command-r-plus": "command-r-plus-08-2024",
    "command-r-plus-04-2024": "command-r-plus-08-2024",
}


def takes_images(model: str) -> bool:
    """Return whether a model takes images; names that are not known are let through."""
    return not model.startswith(_WITHOUT_IMAGES)


def takes_thinking(model: str) -> bool:
    """Return whether a model takes the setting `thinking`, and its own thoughts back; unknown names are let through."""
    return not model.startswith(_WITHOUT_THINKING)


def takes_tool_choice(model: str) -> bool:
    """Return whether a model can be made to call a tool; names that are not known are let through."""
    return model != "command-r" and not model.startswith(_WITHOUT_TOOL_CHOICE)


def leave_out_refused(body: dict[str, Any], model: str) -> tuple[ResponseWarning, ...]:
    """Take out of a request's body the settings that it would be refused for, and return what was done."""
    warnings: list[ResponseWarning] = []
    if "thinking" in body and not takes_thinking(model):
        del body["thinking"]
        warnings.append(ResponseWarning("thinking", f"thinking was left out: {model} takes none"))
    if "tool_choice" in body and not takes_tool_choice(model):
        if body.pop("tool_choice") == "NONE":
            body.pop("tools", None)  # which comes to the same
        else:
            lost = f"tool_choice was left out: {model} takes none, so it may answer without a tool"
            warnings.append(ResponseWarning("tool_choice", lost))
    temperature = body.get("temperature")
    if isinstance(temperature, int | float) and temperature > HIGHEST_TEMPERATURE:
        body["temperature"] = HIGHEST_TEMPERATURE
        warnings.append(ResponseWarning("temperature", f"temperature {temperature:g} became 1.0, Cohere's highest"))
    stop = body.get("stop_sequences", ())
    if len(stop) > MOST_STOP_SEQUENCES:
        body["stop_sequences"] = list(stop)[:MOST_STOP_SEQUENCES]
        lost = f"{len(stop) - MOST_STOP_SEQUENCES} stop texts were left out: Cohere takes {MOST_STOP_SEQUENCES} at most"
        warnings.append(ResponseWarning("stop", lost))
    return tuple(warnings)


def ending_warnings(model: str) -> tuple[ResponseWarning, ...]:
    """Return a warning that names the successor, for a model that may end any day."""
    if model not in _DEPRECATED:
        return ()
    notice = f"{model} is deprecated since September 2025 and closed to new customers: ask {_DEPRECATED[model]} instead"
    return (ResponseWarning("model", notice),)
