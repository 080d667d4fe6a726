"""How OpenAI's models reason: the efforts that each takes, how much it is asked for, and the room that it gets.

Reasoning counts within the limit of a request (openai 3.57.0, types/responses/response_create_params.py), while
`max_tokens` is the answer's. Names that are not OpenAI's own are let through: nothing is known of how they reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from understudy import Request, ResponseWarning
from understudy_toolkit.thinking import MORE_ROOM, SHORT_ANSWER, room_to_think

# openai 3.57.0, types/shared/reasoning_effort.py
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs")
FIRST_REASONING = (5, 0)
# What an answer's tokens are limited by, under the names of both APIs.
LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")

# OpenAI's own names: gpt-4o, gpt-5.6-luna, o3, and the same behind a gateway's prefix or in a fine-tuned model's name.
_NAME = re.compile(r"(?:^|[/:])((?:gpt-(\d)(?:\.(\d+))?(?![\d])|(o)\d(?![a-z]))(.*))")


class Family(NamedTuple):
    """How the models of one family reason.

    Args:
        models: their names, as people write them.
        pattern: what a whole name matches.
        efforts: those that they take, the least first; none where that is not known.
        usual: the effort that they are asked for where nothing is said, or one above it where sources differ.
        most: most tokens of reasoning and answer together.
        source: where it is said.
        read: the day on which it was read there.
    """

    models: str
    pattern: str
    efforts: tuple[str, ...]
    usual: str
    most: int
    source: str
    read: str = "2026-11-30"


_ALL_BUT_MINIMAL = ("none", "low", "medium", "high", "xhigh", "max")
_TO_XHIGH = ("low", "medium", "high", "xhigh")
_TO_HIGH = ("low", "medium", "high")
_MODELS_DEV = "https://github.com/anomalyco/models.dev"  # a catalogue: providers/openai/models
_COMFY = "https://docs.comfy.org/zh/built-in-nodes/OpenAIChatNodeV2"  # a client's list, by model
# The first that matches counts.
FAMILIES = (
    Family(
        "o3-deep-research, o4-mini-deep-research",
        r"o\d(-mini)?-deep-research.*",
        ("medium",),
        "medium",
        100_000,
        _MODELS_DEV,
    ),
    Family("the other o models", r"o\d.*", _TO_HIGH, "medium", 100_000, _MODELS_DEV),
    Family("gpt-5-pro", r"gpt-5-pro.*", ("high",), "high", 272_000, _MODELS_DEV),
    Family(
        "gpt-5-codex, gpt-5.1-codex, gpt-5.1-codex-mini",
        r"gpt-5(\.1)?-codex(?!-max).*",
        _TO_HIGH,
        "medium",
        128_000,
        _MODELS_DEV,
    ),
    Family(
        "gpt-5.1-codex-max, gpt-5.2-codex, gpt-5.3-codex",
        r"gpt-5\.\d-codex.*",
        _TO_XHIGH,
        "medium",
        128_000,
        _MODELS_DEV,
    ),
    Family("gpt-5.2-pro, gpt-5.4-pro, gpt-5.5-pro", r"gpt-5\.\d-pro.*", _TO_XHIGH[1:], "high", 128_000, _MODELS_DEV),
    Family("gpt-5, gpt-5-mini, gpt-5-nano", r"gpt-5(?!\.).*", ("minimal", *_TO_HIGH), "medium", 128_000, _MODELS_DEV),
    Family("gpt-5.1", r"gpt-5\.1.*", ("none", *_TO_HIGH), "none", 128_000, _MODELS_DEV),
    Family(
        "gpt-5.2, gpt-5.4, gpt-5.5, and their -mini and -nano",
        r"gpt-5\.[2-5].*",
        ("none", *_TO_XHIGH),
        "medium",
        128_000,
        _MODELS_DEV,
    ),
    Family(
        "gpt-5.6-sol, gpt-5.6-terra, gpt-5.6-luna",
        r"gpt-5\.6(-sol|-terra|-luna)?(-\d.*)?",
        _ALL_BUT_MINIMAL,
        "medium",
        128_000,
        _COMFY,
    ),
    Family(
        "gpt-6-luna",
        r"gpt-6-luna(-\d.*)?",
        _ALL_BUT_MINIMAL,
        "medium",
        128_000,
        "https://developers.openai.com/ja-JP/api/docs/models/gpt-6-luna",
    ),
    Family(
        "gpt-6.1-terra",
        r"gpt-6\.1-terra(-\d.*)?",
        _ALL_BUT_MINIMAL,
        "medium",
        128_000,
        "https://developers.openai.com/zh-Hans/api/docs/models/gpt-6.1-terra",
    ),
    Family("gpt-6-sol", r"gpt-6-sol(-\d.*)?", _ALL_BUT_MINIMAL, "medium", 128_000, _COMFY),
    Family("gpt-6.1-sol, gpt-6.2-sol", r"gpt-6\.[12]-sol(-\d.*)?", _ALL_BUT_MINIMAL[1:], "medium", 128_000, _COMFY),
    Family(
        "gpt-6-astra, gpt-6.2-astra",
        r"gpt-6(\.2)?-astra(-\d.*)?",
        _ALL_BUT_MINIMAL[1:],
        "medium",
        128_000,
        "https://github.com/BerriAI/litellm-docs/pull/1173",
    ),
)
# Of OpenAI's own that reason, and in no row: most of those from gpt-5 on write so much, and which efforts they take is
# left to them.
_OTHER = Family("others of OpenAI's that reason", ".*", (), "medium", 128_000, _MODELS_DEV)
# Chat Completions takes "max" from no model: BerriAI/litellm-docs#1173 and mnfst/modelparams.dev#236, both live.
ONLY_IN_RESPONSES = "max"
# Short answers are asked for without reasoning where OpenAI makes the model for many small tasks, else with little: on
# 600 cases gpt-6-luna was right in 96.85 of 100 with none and 97.22 with low (warc0s/opencode-permission-reviewer,
# benchmarks/permission-reviewer/RESULTS.md, read 2026-11-30), its first word takes 0.74 s with none, and only then is a
# temperature taken: docs/decisions/0041-short-answers-without-reasoning.md.
FOR_MANY_SMALL_TASKS = ("-luna", "-mini", "-nano")
_SHORT = ("none", "low", "medium", "high")  # the first of them that a model takes


@lru_cache(maxsize=256)  # each is asked for several times in a call
def version_of(model: str) -> tuple[tuple[int, int] | None, str]:
    """Return a model's version and the rest of its name; the o models count as 5.0, which reasons as they do."""
    found = _NAME.search(model)
    if found is None:
        return None, ""
    _, major, minor, is_o, kind = found.groups()
    return (FIRST_REASONING if is_o else (int(major), int(minor or 0))), kind


@lru_cache(maxsize=256)
def family_of(model: str) -> Family | None:
    """Return how a model reasons; None where it does not, or where its name is not OpenAI's own."""
    version, kind = version_of(model)
    if version is None or version < FIRST_REASONING or kind.startswith("-chat"):
        return None
    found = _NAME.search(model)
    assert found is not None  # it has a version
    return next((family for family in FAMILIES if re.fullmatch(family.pattern, found[1])), _OTHER)


def effort_of(request: Request, model: str, options: Mapping[str, Any]) -> str | None:
    """Return the effort that a model is asked for; None where nothing is asked and the model decides.

    Args:
        request: what is asked.
        model: the model's name.
        options: the request's options for this endpoint: an effort in them stands above everything else.
    """
    family = family_of(model)
    said = _effort_in(options)
    if family is None or said is not None:
        return said if family is None else _nearest(said, family.efforts)
    if not any(name in options for name in ("effort", "reasoning_effort", "reasoning")):
        return _effort_of_a_short_answer(request, model, family)
    return None


def level_of(request: Request, model: str, options: Mapping[str, Any]) -> str:
    """Return how much a model will reason: a level of `understudy_toolkit.thinking.ROOM`."""
    family = family_of(model)
    return "none" if family is None else effort_of(request, model, options) or family.usual


def room(request: Request, model: str, options: Mapping[str, Any]) -> int:
    """Return how many tokens are requested in addition to those of the answer.

    Another server's model gets room only once its reply has shown that it reasons; a limit in the options is the
    caller's own, as the API has it, and stays as it is.
    """
    if any(name in options for name in LIMITS):
        return 0
    family = family_of(model)
    if family is None:
        return room_to_think("low", request.max_tokens, None, MORE_ROOM) if request.adaptation == MORE_ROOM else 0
    return room_to_think(level_of(request, model, options), request.max_tokens, family.most, request.adaptation)


def limit_of(
    request: Request, model: str, options: Mapping[str, Any]
) -> tuple[int | None, tuple[ResponseWarning, ...]]:
    """Return the limit to send, and a warning where it is less than was asked for; None where none was asked for."""
    if request.max_tokens is None:
        return None, ()
    family = family_of(model)
    if family is not None and request.max_tokens > family.most:
        lowered = f"max_tokens {request.max_tokens} became {family.most}, the most that {model} writes"
        return family.most, (ResponseWarning("max_tokens", lowered),)
    return request.max_tokens + room(request, model, options), ()


def set_effort(
    body: dict[str, Any], request: Request, model: str, options: Mapping[str, Any], *, in_chat: bool
) -> tuple[ResponseWarning, ...]:
    """Put the effort into a request's body, where one is asked for, and return what it took the place of."""
    effort = effort_of(request, model, options)
    if family_of(model) is None or effort is None:
        return ()
    if in_chat and effort == ONLY_IN_RESPONSES:
        effort = "xhigh"
    given = body.get("reasoning")
    reasoning = dict(given) if isinstance(given, Mapping) else {}
    if in_chat and "effort" not in reasoning:
        body["reasoning_effort"] = effort
    else:
        body["reasoning"] = {**reasoning, "effort": effort}
    said = _effort_in(options)
    if said in (None, effort):
        return ()
    where = " in Chat Completions" if said == ONLY_IN_RESPONSES and in_chat else ""
    return (ResponseWarning("effort", f"effort {said} became {effort}: {model} takes no {said}{where}"),)


def leave_out_refused(body: dict[str, Any], model: str) -> tuple[ResponseWarning, ...]:
    """Take out of a request's body the settings that it would be refused for, and return what was done.

    With effort none a model that has one takes sampling settings, and none while it reasons (OpenAI's checklist for
    deployments, https://developers.openai.com/api/docs/guides/deployment-checklist, read 2026-11-30).
    """
    family = family_of(model)
    if family is None:
        return ()
    warnings: list[ResponseWarning] = []
    has_none = "none" in family.efforts or not family.efforts
    if _effort_in(body) != "none" or not has_none:
        for name in SAMPLING:
            value = body.pop(name, None)
            is_default = name in ("temperature", "top_p") and value == 1
            if value is not None and not is_default:
                warnings.append(ResponseWarning(name, f"{name} was left out: {model} takes none while it reasons"))
    if body.pop("stop", None) is not None:
        warnings.append(ResponseWarning("stop", f"stop was left out: {model} takes none"))
    return tuple(warnings)


def _effort_in(settings: Mapping[str, Any]) -> Any:
    reasoning = settings.get("reasoning")
    inner = reasoning.get("effort") if isinstance(reasoning, Mapping) else None
    return inner or settings.get("reasoning_effort") or settings.get("effort")


def _effort_of_a_short_answer(request: Request, model: str, family: Family) -> str | None:
    if request.max_tokens is None or request.max_tokens > SHORT_ANSWER:
        return None
    if not family.efforts:
        return "low"
    _, kind = version_of(model)
    wanted = _SHORT if any(word in kind for word in FOR_MANY_SMALL_TASKS) else _SHORT[1:]
    return next(effort for effort in wanted if effort in family.efforts)


def _nearest(effort: str, taken: tuple[str, ...]) -> str:
    """Return the effort that comes nearest to one, of two the higher; one of tomorrow's is left to the model."""
    if effort not in EFFORTS or not taken:
        return effort
    place = EFFORTS.index
    return min(taken, key=lambda one: (abs(place(one) - place(effort)), -place(one)))
