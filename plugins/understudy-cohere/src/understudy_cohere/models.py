"""Which model is asked by default, what models refuse, how they think, and which are on their way out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from understudy import Request, ResponseWarning
from understudy_toolkit.model_rules import ModelRule
from understudy_toolkit.thinking import MORE_ROOM, ROOM, SHORT_ANSWER, room_to_think

Warnings = tuple[ResponseWarning, ...]

_READ = "2026-11-30"
_PAGES = "https://docs.cohere.com/docs/"

# Live, and on no list of endings (Cohere's models and deprecations pages, read 2026-11-30). Not its newer sibling
# command-a-plus-05-2026, which also sees pictures and thinks: Cohere's rate limits page allows that one 1,000 calls a
# month even to a production key, and it refuses tool_choice, while a fallback has to be able to do all that is asked.
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


class Thinker(NamedTuple):
    """A model that thinks unless it is told not to; its thoughts count within its limit.

    Args:
        model: the name begins so.
        takes_budget: whether it takes a budget for its thoughts, after which it goes on with its answer.
    """

    model: str
    takes_budget: bool


# Cohere's reasoning page, and the pages of the models, read 2026-11-30: a budget is told of the first two alone.
_THINKERS = (Thinker("command-a-plus", True), Thinker("command-a-reasoning", True), Thinker("north-mini-code", False))
# Names that begin so, and the most tokens that they write, thoughts included: the column Maximum Output Tokens of
# Cohere's models page, and the page of North Mini Code, read 2026-11-30.
_MOST_TOKENS: Mapping[str, int] = {
    "c4ai-aya": 4_000,
    "command-a-03-2025": 8_000,
    "command-a-plus": 64_000,
    "command-a-reasoning": 32_000,
    "command-a-translate": 8_000,
    "command-a-vision": 8_000,
    "command-light": 4_000,
    "command-r": 4_000,
    "north-mini-code": 64_000,
    "tiny-aya": 8_000,
}
_OF_A_SHORT_ANSWER = "minimal"  # thinking, as a budget: the example on Cohere's reasoning page has 500
_USUAL = "high"  # thinking where nothing is said: as long as it takes

# Model: what to ask instead. All of the announcement of 2025-09-15 (Cohere's deprecations page), which sets no day.
_DEPRECATED = {
    "command": DEFAULT_MODEL,
    "command-light": "command-r7b-12-2024",
    "command-r": "command-r-08-2024",
    "command-r-03-2024": "command-r-08-2024",
    "command-r-plus": "command-r-plus-08-2024",
    "command-r-plus-04-2024": "command-r-plus-08-2024",
}
# Model: what to ask instead. All of the announcement of 2026-04-04 (Cohere's deprecations page), which retired them.
_RETIRED = {"c4ai-aya-expanse-8b": "command-r7b-12-2024", "c4ai-aya-vision-8b": "command-a-vision-07-2025"}


def takes_images(model: str) -> bool:
    """Return whether a model takes images; names that are not known are let through."""
    return not model.startswith(_WITHOUT_IMAGES)


def takes_thinking(model: str) -> bool:
    """Return whether a model takes the setting `thinking`, and its own thoughts back; unknown names are let through."""
    return not model.startswith(_WITHOUT_THINKING)


def takes_tool_choice(model: str) -> bool:
    """Return whether a model can be made to call a tool; names that are not known are let through."""
    return model != "command-r" and not model.startswith(_WITHOUT_TOOL_CHOICE)


# ---- thinking ----


def level_of(request: Request, model: str, options: Mapping[str, Any]) -> str:
    """Return how much a model will think: a level of `understudy_toolkit.thinking.ROOM`."""
    thinker = _thinker(model)
    if thinker is None or _is_off(options.get("thinking")):
        return "none"
    is_short = request.max_tokens is not None and request.max_tokens <= SHORT_ANSWER
    return _OF_A_SHORT_ANSWER if is_short and thinker.takes_budget and "thinking" not in options else _USUAL


def room(request: Request, model: str, options: Mapping[str, Any]) -> int:
    """Return how many tokens are requested in addition to those of the answer.

    Args:
        request: what is asked.
        model: the model's name; one that is not known gets room only once its reply has shown that it thinks.
        options: options["cohere"]: a limit in them is the caller's own, and stays as it is.
    """
    if "max_tokens" in options or request.max_tokens is None:
        return 0
    most, budget = most_tokens(model), _budget(options.get("thinking"))
    if _thinker(model) is None:
        may_think = request.adaptation == MORE_ROOM and takes_thinking(model)
        return room_to_think("low", request.max_tokens, most, MORE_ROOM) if may_think else 0
    if budget is not None:
        return budget if most is None else max(min(budget, most - request.max_tokens), 0)
    return room_to_think(level_of(request, model, options), request.max_tokens, most, request.adaptation)


def most_tokens(model: str) -> int | None:
    """Return the most tokens that a model writes, thoughts included; None where that is not known."""
    return next((most for name, most in _MOST_TOKENS.items() if model.startswith(name)), None)


def limits(request: Request, model: str, options: Mapping[str, Any]) -> tuple[dict[str, Any], Warnings]:
    """Return the settings that bound an answer and its thoughts, and what was done with them.

    Where the model takes a budget, its thoughts get just the room that is asked for, so that they cannot use up the
    answer's.
    """
    if request.max_tokens is None:
        return {}, ()
    most, space = most_tokens(model), room(request, model, options)
    if most is not None and request.max_tokens > most:
        lowered = f"max_tokens {request.max_tokens} became {most}, the most that {model} writes"
        return {"max_tokens": most}, (ResponseWarning("max_tokens", lowered),)
    bounds: dict[str, Any] = {"max_tokens": request.max_tokens + space}
    thinker = _thinker(model)
    if space and thinker is not None and thinker.takes_budget and "thinking" not in options:
        bounds["thinking"] = {"type": "enabled", "token_budget": space}
    return bounds, ()


def _thinker(model: str) -> Thinker | None:
    return next((thinker for thinker in _THINKERS if model.startswith(thinker.model)), None)


def _is_off(thinking: Any) -> bool:
    return isinstance(thinking, Mapping) and thinking.get("type") == "disabled"


def _budget(thinking: Any) -> int | None:
    """Return the budget that the caller sets; None where there is none."""
    budget = thinking.get("token_budget") if isinstance(thinking, Mapping) and not _is_off(thinking) else None
    return budget if isinstance(budget, int) and not isinstance(budget, bool) else None


# ---- what is left out, and what is told ----


def leave_out_refused(body: dict[str, Any], model: str) -> Warnings:
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
        surplus = len(stop) - MOST_STOP_SEQUENCES
        lost = f"{surplus} stop sequences were left out: Cohere takes {MOST_STOP_SEQUENCES} at most"
        warnings.append(ResponseWarning("stop", lost))
    return tuple(warnings)


def ending_warnings(model: str) -> Warnings:
    """Return a warning that names the successor, for a model that is retired or may be any day."""
    if model in _RETIRED:
        return (ResponseWarning("model", f"{model} was retired on 2026-04-04: ask {_RETIRED[model]} instead"),)
    if model not in _DEPRECATED:
        return ()
    notice = f"{model} is deprecated since September 2025 and closed to new customers: ask {_DEPRECATED[model]} instead"
    return (ResponseWarning("model", notice),)


def rules() -> tuple[ModelRule, ...]:
    """Return what is known of Cohere's models, made from the tables that requests are worded by."""
    budgeted = ", ".join(f"{thinker.model}*" for thinker in _THINKERS if thinker.takes_budget)
    thinking = ", ".join(f"{thinker.model}*" for thinker in _THINKERS)
    ends = {model: f"retired on 2026-04-04: {other}" for model, other in _RETIRED.items()}
    ends |= {model: f"deprecated since 2025-09-15, without a day: {other}" for model, other in _DEPRECATED.items()}
    return (
        ModelRule(
            "default model",
            DEFAULT_MODEL,
            "the newest that a production key may ask without a limit by the month; it can be made to call a tool",
            f"{_PAGES}rate-limits",
            _READ,
        ),
        ModelRule("price", DEFAULT_MODEL, "$2.50 in and $10 out for a million tokens", f"{_PAGES}command-a", _READ),
        ModelRule(
            "thinking",
            thinking,
            "they think unless thinking is disabled, and their thoughts count within the limit",
            f"{_PAGES}reasoning",
            _READ,
        ),
        ModelRule(
            "thinking",
            budgeted,
            f"for an answer of at most {SHORT_ANSWER} tokens the budget is {ROOM[_OF_A_SHORT_ANSWER]:,} tokens, else "
            "all of the room, unless the options say otherwise",
            f"{_PAGES}reasoning",
            _READ,
        ),
        ModelRule(
            "room to think",
            thinking,
            f"besides max_tokens {ROOM[_OF_A_SHORT_ANSWER]:,} tokens are asked for where that is the budget, else "
            f"{ROOM[_USUAL]:,}",
            f"{_PAGES}reasoning",
            _READ,
        ),
        *(
            ModelRule(
                "limit",
                f"{name}*",
                f"writes {most:,} tokens at most; a higher limit is lowered",
                f"{_PAGES}models",
                _READ,
            )
            for name, most in _MOST_TOKENS.items()
        ),
        ModelRule(
            "sampling",
            "all",
            f"a temperature above {HIGHEST_TEMPERATURE:g} becomes that, with a warning",
            "https://docs.cohere.com/reference/errors",
            "2026-11-23",
        ),
        ModelRule(
            "stop",
            "all",
            f"of more than {MOST_STOP_SEQUENCES} stop sequences the first are sent, with a warning",
            "cohere 7.3.1, v2/client.py",
            "2026-11-23",
        ),
        ModelRule(
            "forced tools",
            ", ".join(f"{name}*" for name in _WITHOUT_TOOL_CHOICE),
            "tool_choice is left out, with a warning",
            "cohere 7.3.1, v2/client.py",
            "2026-11-23",
        ),
        *(ModelRule("ending", model, rule, f"{_PAGES}deprecations", _READ) for model, rule in ends.items()),
    )


# What a default call sends to the default model, and why.
WHY_SENT: Mapping[str, str] = {
    "max_tokens": "as asked for: this model does not think, so all of it is the answer's",
    "temperature": "as asked for; left out, it would be 0.3",
    "stream": "the SDK's call for streams is used for plain answers too, because it hands out the reply as it is",
    "not sent: thinking": "this model takes none",
}
