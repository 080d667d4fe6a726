"""Who is asked and through which API, which model by default, what a model refuses, and when models end."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal
from urllib.parse import urlsplit

from understudy import Request, ResponseWarning

FAMILY = "openai"
Api = Literal["chat", "responses"]

# Current, on no list of endings, and the successor that OpenAI names for gpt-4o and gpt-4.1: openai 3.54.0,
# types/shared/chat_model.py, and OpenAI's page of deprecations, read 2026-11-23.
DEFAULT_MODEL = "gpt-6-luna"

# OpenAI's own names: gpt-4o, gpt-5.6-luna, o3, and the same behind a gateway's prefix or in a fine-tuned model's name.
_NAME = re.compile(r"(?:^|[/:])(?:gpt-(\d)(?:\.(\d+))?(?![\d])|(o)\d(?![a-z]))(.*)")
_SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs")
_FIRST_REASONING = (5, 0)
# From here on sampling settings are taken with effort none; before, not at all (OpenAI's model guide, 2026-11-23).
_FIRST_WITH_EFFORT_NONE = (5, 1)
# From here on Chat Completions refuses function tools to a model that reasons ("use /v1/responses or set
# reasoning_effort to 'none'"); reported of gpt-5.4 and later, and on the pages of gpt-5.6 and gpt-6, 2026-11-23.
_FIRST_ON_RESPONSES = (5, 4)
# From here on Chat Completions takes stop texts again; Responses takes none from any model (reported, 2026-11-23).
_FIRST_WITH_STOP = (5, 5)
# Chat Completions: "Up to 4 sequences where the API will stop" (openai 3.54.0, types/chat/completion_create_params.py).
MOST_STOPS = 4
# Kinds of older models that only the Responses API has (openai 3.54.0, types/shared/responses_model.py).
_ONLY_RESPONSES = ("-pro", "-codex", "-deep-research")
_ONLY_CHAT = ("gpt-audio", "chatgpt-4o")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Who is asked: OpenAI itself, or a server that speaks its API.

    Args:
        name: the provider's name; failures, responses and data bound to this server carry it.
        is_openai: whether it is a host of OpenAI's own.
        short_ids: whether ids of tool calls must be nine letters or digits, as Mistral wants them.
    """

    name: str = FAMILY
    is_openai: bool = False
    short_ids: bool = False

    @classmethod
    def at(cls, base_url: str, name: str | None) -> Endpoint:
        """Return who is asked at this address."""
        host = urlsplit(base_url).hostname or ""
        return cls(
            name or FAMILY,
            is_openai=_is_under("api.openai.com", host),  # eu.api.openai.com and its like, too
            short_ids=_is_under("mistral.ai", host),
        )


def _is_under(domain: str, host: str) -> bool:
    return host == domain or host.endswith(f".{domain}")


def choose_api(request: Request, model: str, endpoint: Endpoint, options: Mapping[str, Any]) -> Api:
    """Return which API a model is asked through.

    Args:
        request: what is asked.
        model: the model's name.
        endpoint: who is asked.
        options: the request's options for this endpoint; with "api" as "chat" or "responses" the caller decides.

    Returns:
        On a host of OpenAI's own: Responses, which every model there has, but for older models, and for stop texts
        where only Chat Completions takes them. Elsewhere: Chat Completions, which every server has, but for newer
        models under OpenAI's own names where they refuse it: with tools, while they reason.
    """
    if "api" in options:
        return "chat" if options["api"] == "chat" else "responses"
    version, kind = _version(model)
    if not endpoint.is_openai:
        refused = version is not None and version >= _FIRST_ON_RESPONSES and "/" not in model and bool(request.tools)
        return "responses" if refused and _effort(options) != "none" else "chat"
    if any(only in kind for only in _ONLY_RESPONSES):
        return "responses"
    if version is None or version < _FIRST_ON_RESPONSES:
        return "chat" if version is not None or model.startswith(_ONLY_CHAT) else "responses"
    return "chat" if request.stop and not request.tools and version >= _FIRST_WITH_STOP else "responses"


def reasons(model: str) -> bool:
    """Return whether a model is one of OpenAI's that reason; names that are not OpenAI's own are let through."""
    version, kind = _version(model)
    return version is not None and version >= _FIRST_REASONING and not kind.startswith("-chat")


def _version(model: str) -> tuple[tuple[int, int] | None, str]:
    """Return a model's version and the rest of its name; the o models count as 5.0, which reasons as they do."""
    found = _NAME.search(model)
    if found is None:
        return None, ""
    major, minor, is_o, kind = found.groups()
    return (_FIRST_REASONING if is_o else (int(major), int(minor or 0))), kind


def leave_out_refused(body: dict[str, Any], model: str) -> tuple[ResponseWarning, ...]:
    """Take out of a request's body the settings that it would be refused for, and return what was done."""
    if not reasons(model):
        return ()
    version, _ = _version(model)
    version = version or _FIRST_REASONING
    warnings: list[ResponseWarning] = []
    if version < _FIRST_WITH_EFFORT_NONE or _effort(body) != "none":
        for name in _SAMPLING:
            value = body.pop(name, None)
            is_default = name in ("temperature", "top_p") and value == 1
            if value is not None and not is_default:
                warnings.append(ResponseWarning(name, f"{name} was left out: {model} takes none while it reasons"))
    if version < _FIRST_WITH_STOP and body.pop("stop", None) is not None:
        warnings.append(ResponseWarning("stop", f"stop was left out: {model} takes none"))
    return tuple(warnings)


def _effort(settings: Mapping[str, Any]) -> Any:
    reasoning = settings.get("reasoning")
    inner = reasoning.get("effort") if isinstance(reasoning, Mapping) else None
    return inner or settings.get("reasoning_effort") or settings.get("effort")


# The day a model ends, what to ask instead, and the models. The days are those of openai 3.54.0,
# types/shared/chat_model.py; the successors are those that OpenAI's page of deprecations gives to the models that end
# from December 2026 on, and the same by size for older ones; both read 2026-11-23.
_ENDINGS: Mapping[str, tuple[date, str]] = {
    model: (day, successor)
    for day, successor, models in (
        (date(2024, 9, 13), "gpt-6-luna", "gpt-3.5-turbo-16k gpt-3.5-turbo-0301 gpt-3.5-turbo-0613"),
        (date(2024, 9, 13), "gpt-6-luna", "gpt-3.5-turbo-16k-0613"),
        (date(2024, 12, 6), "gpt-6.1-sol", "gpt-4-vision-preview"),
        (date(2025, 6, 6), "gpt-6.1-sol", "gpt-4-32k gpt-4-32k-0314 gpt-4-32k-0613"),
        (date(2025, 7, 28), "gpt-6.1-sol", "o1-preview o1-preview-2024-09-12"),
        (date(2025, 10, 27), "gpt-6.1-terra", "o1-mini o1-mini-2024-09-12"),
        (date(2026, 2, 12), "gpt-6.1-terra", "codex-mini-latest"),
        (date(2026, 2, 17), "gpt-6-luna", "chatgpt-4o-latest"),
        (date(2026, 3, 26), "gpt-6.1-sol", "gpt-4-0125-preview gpt-4-turbo-preview gpt-4-0314"),
        (date(2026, 7, 23), "gpt-6.1-sol", "gpt-5.1-codex gpt-5.1-chat-latest gpt-5-chat-latest"),
        (date(2026, 7, 23), "gpt-6-luna", "gpt-4o-search-preview gpt-4o-search-preview-2025-03-11"),
        (date(2026, 7, 23), "gpt-6-luna", "gpt-4o-mini-search-preview gpt-4o-mini-search-preview-2025-03-11"),
        (date(2026, 8, 10), "gpt-6.1-sol", "gpt-5.3-chat-latest gpt-5.2-chat-latest"),
        (date(2026, 9, 28), "gpt-6-luna", "gpt-3.5-turbo-1106"),
        (date(2026, 10, 23), "gpt-6.1-sol", "gpt-4 gpt-4-0613 gpt-4-1106-preview gpt-4-turbo gpt-4-turbo-2024-04-09"),
        (date(2026, 10, 23), "gpt-6.1-sol", "gpt-4o-2024-05-13 o1 o1-2024-12-17 o3-mini o3-mini-2025-01-31"),
        (date(2026, 10, 23), "gpt-6.1-terra", "o4-mini o4-mini-2025-04-16"),
        (date(2026, 10, 23), "gpt-6-luna", "gpt-3.5-turbo gpt-3.5-turbo-0125 gpt-4.1-nano gpt-4.1-nano-2025-04-14"),
        (date(2026, 12, 11), "gpt-6.1-sol", "gpt-5 gpt-5-2025-08-07 o3 o3-2025-04-16"),
        (date(2026, 12, 11), "gpt-6.1-terra", "gpt-5-mini gpt-5-mini-2025-08-07"),
        (date(2026, 12, 11), "gpt-6-luna", "gpt-5-nano gpt-5-nano-2025-08-07"),
        (date(2027, 1, 14), "gpt-6-luna", "gpt-4o gpt-4o-2024-08-06 gpt-4o-2024-11-20 gpt-4o-mini"),
        (date(2027, 1, 14), "gpt-6-luna", "gpt-4o-mini-2024-07-18 gpt-4.1 gpt-4.1-2025-04-14 gpt-4.1-mini"),
        (date(2027, 1, 14), "gpt-6-luna", "gpt-4.1-mini-2025-04-14"),
        (date(2027, 4, 1), "gpt-6.1-sol", "gpt-5.1 gpt-5.1-2025-11-13"),
        (date(2027, 4, 1), "gpt-6-luna", "gpt-5.4-nano gpt-5.4-nano-2026-03-17"),
    )
    for model in models.split()
}


def ending_warnings(model: str, endpoint: Endpoint) -> tuple[ResponseWarning, ...]:
    """Return a warning that names the successor, for a model of OpenAI's that has ended or has a day set for it."""
    if not endpoint.is_openai or model not in _ENDINGS:  # elsewhere the same name may live longer
        return ()
    day, successor = _ENDINGS[model]
    return (ResponseWarning("model", f"{model} ends on {day}, or has ended: ask {successor} instead"),)
